"""Errors that become answers: a status, a text, sometimes a header."""

from __future__ import annotations

from collections.abc import Mapping

from orrery.engine import messages


class ApiError(Exception):
    """A request that is answered with `{"error": ..., "code": <transaction id>}`."""

    status = 500

    def __init__(
        self, message: str, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})
        if status is not None:
            self.status = status


class BadRequestError(ApiError):
    """400 with a message of its own."""

    status = 400


class MalformedError(BadRequestError):
    """400: the body is not what this resource takes."""

    def __init__(self, reason: str) -> None:
        super().__init__(messages.malformed(reason))


class UnauthorizedError(ApiError):
    """401: no credentials, or wrong ones."""

    status = 401

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": messages.CHALLENGE})


class ForbiddenError(ApiError):
    """403: somebody else's."""

    status = 403


class NotFoundError(ApiError):
    """404: the resource does not exist."""

    status = 404

    def __init__(self, message: str = messages.RESOURCE_MISSING) -> None:
        super().__init__(message)


class ConflictError(ApiError):
    """409: it exists already, or changed in between."""

    status = 409


class TooLargeError(ApiError):
    """413: more bytes than allowed."""

    status = 413

    def __init__(self, field: str, found: int, allowed: int) -> None:
        super().__init__(messages.too_large(field, found, allowed))


class ThrottledError(ApiError):
    """429: a throttle of this user."""

    status = 429


class UnavailableError(ApiError):
    """503: the engine cannot do it now."""

    status = 503
