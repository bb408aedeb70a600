"""The executable part of an action: `exec`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from orrery.engine.entities import archive
from orrery.engine.entities.runtimes import BLACKBOX, SEQUENCE, Runtimes
from orrery.engine.errors import MalformedError, TooLargeError
from orrery.engine.invoker import Executable

MAX_CODE_BYTES: Final = 48 * 1024 * 1024

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d{1,5})?/)?"  # registry
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


@dataclass(frozen=True)
class Exec:
    """What an action runs.

    Attributes:
        kind: Resolved kind, or `blackbox`.
        code: Source text or base64; None for a blackbox without code, and where it was not read.
        binary: Whether `code` is base64.
        main: Name of the function; None where the default is meant.
        image: Docker image of a blackbox; None for managed kinds, whose image is configured.
    """

    kind: str
    code: str | None
    binary: bool
    main: str | None = None
    image: str | None = None

    def to_json(self, *, with_code: bool = True) -> dict[str, Any]:
        """The form that clients see."""
        out: dict[str, Any] = {"kind": self.kind, "binary": self.binary}
        if self.image is not None:
            out["image"] = self.image
        if with_code and self.code is not None:
            out["code"] = self.code
        if self.main is not None:
            out["main"] = self.main
        return out

    def executable(self, runtimes: Runtimes) -> Executable:
        """What the container side needs."""
        native = self.image is None
        return Executable(
            kind=self.kind,
            image=self.image if self.image is not None else runtimes.image(self.kind),
            code=self.code,
            binary=self.binary,
            main=self.main or "main",
            native=native,
        )


def parse_exec(value: Any, runtimes: Runtimes) -> Exec:
    """Read and check `exec` of a PUT.

    Raises:
        MalformedError: A field is missing or wrong, the kind is unknown, or the code is a bad zip.
        TooLargeError: The code is over `MAX_CODE_BYTES`.
    """
    if not isinstance(value, dict):
        raise MalformedError("no valid json object passed for 'exec'")
    kind = value.get("kind")
    if not isinstance(kind, str) or not kind.strip():
        raise MalformedError("'kind' must be a string defined in 'exec'")
    if kind == SEQUENCE:
        raise MalformedError("actions of kind 'sequence' are not supported by this platform yet")
    blackbox = kind == BLACKBOX
    resolved = kind if blackbox else runtimes.resolve(kind)
    code = _code(value, resolved, required=not blackbox)
    main = value.get("main")
    if main is not None and (not isinstance(main, str) or not main.strip() or not _is_text(main)):
        raise MalformedError(f"if defined, 'main' must be a string in 'exec' for '{kind}' actions")
    binary = code is not None and is_binary(code)
    if code is not None and binary and (not blackbox or archive.is_zip(code)):
        archive.check_zip(code)
    return Exec(resolved, code, binary, main, _image(value) if blackbox else None)


def is_binary(code: str) -> bool:
    """Whether code counts as base64: its length and its characters decide."""
    text = code.strip()
    return len(text) > 0 and len(text) % 4 == 0 and _BASE64.fullmatch(text) is not None


def _is_text(value: str) -> bool:
    """Whether a string can be stored: JSON may hold halves of surrogate pairs."""
    try:
        return value.isascii() or value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def _code(value: dict[str, Any], kind: str, *, required: bool) -> str | None:
    code = value.get("code")
    if code is None and not required:
        return None
    if not isinstance(code, str) or not code or not _is_text(code):
        raise MalformedError(f"'code' must be a string defined in 'exec' for '{kind}' actions")
    size = len(code) if code.isascii() else len(code.encode("utf-8"))
    if size > MAX_CODE_BYTES:
        raise TooLargeError("exec", size, MAX_CODE_BYTES)
    return code.strip() if is_binary(code) else code


def _image(value: dict[str, Any]) -> str:
    image = value.get("image")
    if not isinstance(image, str) or not image:
        raise MalformedError("'image' must be a string defined in 'exec' for 'blackbox' actions")
    if len(image) > 512 or not _IMAGE.fullmatch(image):
        raise MalformedError(f"'{image[:512]}' is not the name of a Docker image")
    return image
