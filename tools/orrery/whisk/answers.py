"""What an OpenWhisk answered, and the sentence for it where it refused. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orrery.errors import ConfigurationError, FunctionError

ERROR_TEXT_LENGTH = 600
_COUNTS = re.compile(r"count: (\d+), allowed: (\d+)")


@dataclass(frozen=True)
class Reply:
    """One answer.

    Attributes:
        body: The JSON value; text where it is none; None where it is empty.
    """

    status: int
    headers: Mapping[str, str]
    raw: bytes
    body: Any

    def header(self, name: str) -> str | None:
        """A header by its name, in any case."""
        wanted = name.lower()
        return next((v for k, v in self.headers.items() if k.lower() == wanted), None)

    @property
    def error(self) -> str:
        """The error text of the body, shortened; empty where there is none."""
        text = self.body.get("error") if isinstance(self.body, dict) else self.body
        return str(text or "").strip()[:ERROR_TEXT_LENGTH]


class WhiskError(FunctionError):
    """The host refused a request.

    Attributes:
        status: HTTP status.
        error: The host's own words.
    """

    def __init__(self, message: str, status: int, error: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error


class NotFoundError(WhiskError):
    """There is no such thing (404)."""


class ThrottledError(WhiskError):
    """A throttle refused the request (429)."""


class UnreachableError(FunctionError):
    """Nothing answers at the address."""


class CredentialsError(ConfigurationError):
    """The host does not accept the credentials (401)."""


def decode(raw: bytes) -> Any:
    """The JSON value of a body, its text where it is none, None where it is empty."""
    if not raw:
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", errors="replace")


def refusal(base: str, method: str, path: str, reply: Reply) -> FunctionError | ConfigurationError:
    """The error for an answer that is no success."""
    text = reply.error
    if reply.status == 401:
        return CredentialsError(
            f"{base} does not accept the credentials (401 {text}). "
            "Give those of a user it knows with --auth uuid:key."
        )
    if reply.status == 404:
        return NotFoundError(f"{base}: {path} does not exist (404 {text})", 404, text)
    if reply.status == 429:
        return ThrottledError(f"{base} throttles the user: {_throttle(text)}", 429, text)
    shown = text or "no reason given"
    return WhiskError(f"{base}: {method} {path} failed: {reply.status} {shown}", reply.status, text)


def unreachable(base: str, error: Exception) -> UnreachableError:
    """The error for a host that does not answer."""
    why = str(error).strip() or type(error).__name__
    return UnreachableError(
        f"{base} does not answer ({why}). "
        "See with ./lab status whether the functions engine runs, or give --apihost."
    )


def late(base: str, method: str, path: str, timeout_s: float) -> str:
    """The sentence for an answer that did not come in time."""
    return f"{base}: {method} {path} was not answered within {timeout_s:g} s"


def mapping(body: Any, base: str) -> dict[str, Any]:
    """A body that has to be a JSON object.

    Raises:
        FunctionError: It is something else: this is no OpenWhisk.
    """
    if not isinstance(body, dict):
        raise FunctionError(
            f"{base} answers, but not like OpenWhisk: a JSON object was expected, "
            f"{type(body).__name__} came"
        )
    return body


def items(body: Any) -> list[dict[str, Any]]:
    """A body that has to be a list of JSON objects.

    Raises:
        FunctionError: It is something else.
    """
    if not isinstance(body, list) or not all(isinstance(item, dict) for item in body):
        raise FunctionError("a list of JSON objects was expected, something else came")
    return body


def activation_id(body: Any) -> str | None:
    """The id in an activation record or in the body of a 202."""
    found = body.get("activationId") if isinstance(body, dict) else None
    return found if isinstance(found, str) else None


def _throttle(text: str) -> str:
    found = _COUNTS.search(text)
    if found is None:
        return text or "no limit named"
    if "concurrent" in text:
        return f"{found[1]} activations in flight, {found[2]} allowed. Use fewer connections."
    return (
        f"{found[1]} activations in this minute, {found[2]} allowed. "
        "Wait for the next minute, or raise the user's limit."
    )
