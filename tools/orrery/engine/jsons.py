"""JSON in and out: strict where the standard library is lenient."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from orrery.engine import messages
from orrery.engine.errors import MalformedError

# Only these can make a float overflow to infinity; looking is cheaper than checking each number.
_MAY_OVERFLOW: Final = re.compile(rb"[eE]\+?\d{3}|\d{300}")

MAX_DEPTH: Final = 500
"""Nested lists and objects; far enough below Python's recursion limit for every later encoder."""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


_PLAIN = json.JSONDecoder(parse_constant=_refuse_constant)
_CAREFUL = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def decode(body: bytes) -> Any:
    """Parse a request's body.

    Raises:
        MalformedError: It is no JSON, not UTF-8, nested too deeply, or has NaN or infinity.
    """
    decoder = _CAREFUL if _MAY_OVERFLOW.search(body) else _PLAIN
    try:
        value = decoder.decode(body.decode("utf-8"))
    except RecursionError:
        raise MalformedError(messages.TOO_DEEP) from None
    except ValueError as error:
        raise MalformedError(_reason(error)) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, (list, dict)) else []
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, (list, dict))
        ]
        if not level:
            return
    raise MalformedError(messages.TOO_DEEP)


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"the body is not UTF-8 (byte {error.start})"
    return str(error)


def encode(value: Any) -> bytes:
    """Write compact JSON in UTF-8; lone surrogates are escaped.

    Raises:
        ValueError: The value holds NaN, infinity or is nested too deeply.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError(messages.TOO_DEEP) from None
