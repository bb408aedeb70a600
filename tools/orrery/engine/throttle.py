"""Throttles per user: invocations per calendar minute, and activations in flight."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from orrery.engine import messages
from orrery.engine.config import User
from orrery.engine.errors import ThrottledError


@dataclass
class _Counts:
    minute: int = -1
    requests: int = 0
    in_flight: int = 0


class Slot:
    """One activation in flight; releasing it a second time does nothing."""

    def __init__(self, counts: _Counts) -> None:
        self._counts: _Counts | None = counts
        counts.in_flight += 1

    def release(self) -> None:
        """The activation is over."""
        if self._counts is not None:
            self._counts.in_flight -= 1
            self._counts = None


class Throttle:
    """Counts of every user.

    The window is the minute of the clock, not the last sixty seconds, and requests above the
    limit count too: both as OpenWhisk does it.

    Args:
        clock: Unix time [s].
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: dict[str, _Counts] = {}

    def enter(self, user: User) -> Slot:
        """Count one invocation and take a slot for it.

        Raises:
            ThrottledError: This minute's invocations, or those in flight, are used up.
        """
        counts = self._counts.setdefault(user.uuid, _Counts())
        minute = int(self._clock() // 60)
        if minute != counts.minute:
            counts.minute, counts.requests = minute, 0
        counts.requests += 1
        allowed = user.invocations_per_minute
        if counts.requests > allowed:
            raise ThrottledError(messages.too_many_requests(counts.requests, allowed))
        allowed = user.concurrent_invocations
        if counts.in_flight >= allowed:
            raise ThrottledError(messages.too_many_in_flight(counts.in_flight, allowed))
        return Slot(counts)

    def in_flight(self) -> int:
        """Activations in flight of all users."""
        return sum(counts.in_flight for counts in self._counts.values())
