"""Strings from the command line become values here, or a sentence says why not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from orrery.errors import UsageError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def integer(name: str, text: str, *, low: int | None = None, high: int | None = None) -> int:
    """A whole number between `low` and `high`, both included.

    Raises:
        UsageError: It is none.
    """
    try:
        value = int(str(text).strip())
    except ValueError:
        raise UsageError(f"--{name} takes a whole number, not '{text}'") from None
    _check_range(name, value, low, high)
    return value


def number(name: str, text: str, *, low: float | None = None, high: float | None = None) -> float:
    """A number between `low` and `high`, both included.

    Raises:
        UsageError: It is none.
    """
    try:
        value = float(str(text).strip())
    except ValueError:
        raise UsageError(f"--{name} takes a number, not '{text}'") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise UsageError(f"--{name} takes a finite number, not '{text}'")
    _check_range(name, value, low, high)
    return value


def choice(name: str, text: str, allowed: Iterable[str]) -> str:
    """One of a few words.

    Raises:
        UsageError: It is another.
    """
    words = list(allowed)
    if text not in words:
        raise UsageError(f"--{name} takes one of {', '.join(words)}, not '{text}'")
    return text


def path(name: str, text: str, *, exists: bool = False) -> Path:
    """A path, made absolute.

    Raises:
        UsageError: It is empty, or has to exist and does not.
    """
    if not text.strip():
        raise UsageError(f"--{name} takes a path, and nothing was given")
    value = Path(text).expanduser().absolute()
    if exists and not value.exists():
        raise UsageError(f"--{name}: there is no {value}")
    return value


def duration_s(name: str, text: str) -> float:
    """A duration such as `250ms`, `10`, `10s`, `2m` [s].

    Raises:
        UsageError: It cannot be read, or is zero.
    """
    found = _DURATION.fullmatch(str(text).strip())
    if found is None:
        raise UsageError(f"--{name} takes a duration such as 250ms, 10s or 2m, not '{text}'")
    value = float(found[1]) * _SECONDS[found[2] or "s"]
    if value <= 0:
        raise UsageError(f"--{name} takes a duration above zero, not '{text}'")
    return value


def address(name: str, text: str) -> tuple[str, int]:
    """`host:port`.

    Raises:
        UsageError: It is none.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"--{name} takes host:port, not '{text}'")
    return host.strip("[]"), int(port)


def url(name: str, text: str, schemes: Iterable[str] = ("http", "https")) -> str:
    """An absolute URL with one of the schemes.

    Raises:
        UsageError: It is none.
    """
    allowed = list(schemes)
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in allowed or not host:
        wanted = " or ".join(f"{scheme}://" for scheme in allowed)
        raise UsageError(f"--{name} takes a URL that begins with {wanted}, not '{text}'")
    return text


def _check_range(name: str, value: float, low: float | None, high: float | None) -> None:
    if low is not None and value < low:
        raise UsageError(f"--{name} takes {low} or more, not {value}")
    if high is not None and value > high:
        raise UsageError(f"--{name} takes at most {high}, not {value}")
