"""Limits of an action: time, memory, log and concurrency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orrery.engine import messages
from orrery.engine.config import ActionLimitRange
from orrery.engine.errors import MalformedError


@dataclass(frozen=True)
class Limits:
    """Limits of one action.

    Attributes:
        timeout: Time of init and of run, each [ms].
        memory: Memory of its container [MB].
        logs: Stored log of one activation [MB].
        concurrency: Activations in one container; always 1 here.
        instances: Containers at most; stored where given.
    """

    timeout: int
    memory: int
    logs: int
    concurrency: int = 1
    instances: int | None = None

    def to_json(self) -> dict[str, int]:
        """The form that clients see."""
        plain = {
            "concurrency": self.concurrency,
            "logs": self.logs,
            "memory": self.memory,
            "timeout": self.timeout,
        }
        return plain if self.instances is None else {**plain, "instances": self.instances}


def standard(allowed: ActionLimitRange) -> Limits:
    """Limits of an action that names none."""
    return Limits(allowed.timeout_std_ms, allowed.memory_std_mb, allowed.logs_std_mb)


def merge(old: Limits, value: Any, allowed: ActionLimitRange) -> Limits:
    """Limits after a PUT: what it names is checked, the rest stays.

    Raises:
        MalformedError: It is no object, or a limit is no whole number or out of its range.
    """
    if not isinstance(value, Mapping):
        raise MalformedError("no valid json object passed for 'limits'")
    ranges = {
        "timeout": ("duration", "milliseconds", allowed.timeout_min_ms, allowed.timeout_max_ms),
        "memory": ("memory", "MB", allowed.memory_min_mb, allowed.memory_max_mb),
        "logs": ("logs", "MB", 0, allowed.logs_max_mb),
        "concurrency": ("concurrency", "", 1, 1),
        "instances": ("instances", "", 1, 10_000),
    }
    given: dict[str, int] = {}
    for key, (name, unit, low, high) in ranges.items():
        if value.get(key) is not None:
            given[key] = _check(key, value[key], name, unit, low, high)
    # The type of each value is checked above; replace() cannot know the keys.
    return replace(old, **given)


def from_json(value: Mapping[str, Any]) -> Limits:
    """Read what `to_json` wrote."""
    return Limits(**value)


def _check(key: str, value: Any, name: str, unit: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise MalformedError(f"{key} limit must be a whole number")
    if value < low:
        raise MalformedError(messages.below(name, int(value), unit, low))
    if value > high:
        raise MalformedError(messages.above(name, int(value), unit, high))
    return int(value)
