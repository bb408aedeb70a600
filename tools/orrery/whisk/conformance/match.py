"""Patterns for JSON values: what a fact says about an answer's body. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SHOWN = 160


@dataclass(frozen=True)
class Check:
    """A value that fits when `fits` says so; `what` is said where it does not."""

    what: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Exactly:
    """An object with these keys and no other."""

    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Having:
    """A list in which each of these patterns fits some item."""

    patterns: tuple[Any, ...]


@dataclass(frozen=True)
class Every:
    """A list, not empty, of which every item fits."""

    pattern: Any


class _Absent:
    """Stands for a key that must not be there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
ANYTHING = Check("anything", lambda _: True)
INTEGER = Check("a whole number", lambda value: type(value) is int)
POSITIVE = Check("a whole number above 0", lambda value: type(value) is int and value > 0)
BOOLEAN = Check("true or false", lambda value: type(value) is bool)
TEXT = Check("a text", lambda value: isinstance(value, str) and bool(value))
EMPTY = Check("an empty list", lambda value: value == [])
OBJECT = Check("an object", lambda value: isinstance(value, dict))


def like(expression: str) -> Check:
    """A text in which the regular expression is found."""
    compiled = re.compile(expression)
    return Check(
        f"a text like /{expression}/",
        lambda value: isinstance(value, str) and compiled.search(value) is not None,
    )


def length(count: int) -> Check:
    """A list of so many items."""
    return Check(f"{count} items", lambda value: isinstance(value, list) and len(value) == count)


def difference(pattern: Any, value: Any, where: str = "body") -> str:
    """Where and how a value differs from a pattern; an empty text where it fits.

    An object in a pattern names the keys that matter; others may be there.
    """
    if isinstance(pattern, Check):
        return "" if pattern.fits(value) else _wrong(where, value, pattern.what)
    if isinstance(pattern, Exactly):
        if not isinstance(value, dict) or set(value) != set(pattern.fields):
            return _wrong(where, value, f"an object of {', '.join(sorted(pattern.fields))}")
        return difference(pattern.fields, value, where)
    if isinstance(pattern, Having):
        return _having(pattern, value, where)
    if isinstance(pattern, Every):
        return _every(pattern, value, where)
    if isinstance(pattern, Mapping):
        return _object(pattern, value, where)
    if isinstance(pattern, list | tuple):
        return _items(list(pattern), value, where)
    if type(pattern) is not type(value) or pattern != value:
        return _wrong(where, value, _shown(pattern))
    return ""


def _object(pattern: Mapping[str, Any], value: Any, where: str) -> str:
    if not isinstance(value, dict):
        return _wrong(where, value, "an object")
    for key, expected in pattern.items():
        place = f"{where}.{key}"
        if expected is ABSENT:
            if key in value:
                return _wrong(place, value[key], "no such key")
        elif key not in value:
            return f"{place} is missing"
        elif found := difference(expected, value[key], place):
            return found
    return ""


def _items(pattern: list[Any], value: Any, where: str) -> str:
    if not isinstance(value, list) or len(value) != len(pattern):
        return _wrong(where, value, f"a list of {len(pattern)}")
    pairs = zip(pattern, value, strict=True)
    found = (difference(p, v, f"{where}[{n}]") for n, (p, v) in enumerate(pairs))
    return next((text for text in found if text), "")


def _having(pattern: Having, value: Any, where: str) -> str:
    if not isinstance(value, list):
        return _wrong(where, value, "a list")
    for wanted in pattern.patterns:
        if all(difference(wanted, item) for item in value):
            return _wrong(where, value, f"an item {_shown(wanted)}")
    return ""


def _every(pattern: Every, value: Any, where: str) -> str:
    if not isinstance(value, list) or not value:
        return _wrong(where, value, "a list with items")
    return _items([pattern.pattern] * len(value), value, where)


def _wrong(where: str, value: Any, needed: str) -> str:
    return f"{where} is {_shown(value)}, {needed} expected"


def _shown(value: Any) -> str:
    if isinstance(value, Check):
        return value.what
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
