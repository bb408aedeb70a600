"""Why a picture is not classified: a code that callers know from HTTP, and a sentence."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Codes of answers."""

    OK = 200
    BAD_REQUEST = 400
    NOT_FOUND = 404
    TOO_LARGE = 413
    NOT_AN_IMAGE = 415
    TIMEOUT = 504


class Refusal(Exception):  # noqa: N818 - it ends an activation well: the caller gets an answer
    """The input cannot be classified; what caused it is the caller's to mend."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
