"""Whether a host is quiet: the same work on all its processors between the trials of a run.

A load average knows nothing of other machines on the same hardware; how long work takes does.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from orrery.measure.quantities import figure

WORK_BYTES = 8 << 20
"""Hashed by each processor at a time: 5 to 40 ms, and no lock of Python's is held."""
QUIET = 0.1
"""The middle half of the times of a quiet host stays within this share of their median."""
SAMPLES_NEEDED = 10
"""Of one processor; fewer say nothing about spread."""


class Work:
    """Times of the same work, taken now and then.

    Args:
        work: What one processor does; hashing, if nothing else is given.
        cpus: How many do it at once; all of this process, if nothing else is given.
        clock: Gives seconds.
    """

    def __init__(
        self,
        work: Callable[[], object] | None = None,
        cpus: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._data = bytes(WORK_BYTES) if work is None else b""
        self._work = work or self._hash
        self._cpus = cpus or len(os.sched_getaffinity(0))
        self._clock = clock
        self._times_ms: list[float] = []

    def sample(self) -> None:
        """Let all processors do it once."""
        with ThreadPoolExecutor(self._cpus) as pool:
            self._times_ms += pool.map(lambda _: self._timed_ms(), range(self._cpus))

    def as_mapping(self) -> dict[str, Any]:
        """What a record holds: quartiles [ms], their distance as a share of the median, quiet."""
        samples = len(self._times_ms) // self._cpus
        if samples < SAMPLES_NEEDED:
            return {"samples": samples}
        low, median, high = statistics.quantiles(self._times_ms, n=4)
        spread = (high - low) / median
        return {
            "samples": samples,
            "low_ms": round(low, 3),
            "median_ms": round(median, 3),
            "high_ms": round(high, 3),
            "spread": round(spread, 3),
            "quiet": spread <= QUIET,
        }

    def _timed_ms(self) -> float:
        began = self._clock()
        self._work()
        return (self._clock() - began) * 1e3

    def _hash(self) -> None:
        hashlib.sha256(self._data)


def sentence(found: Mapping[str, Any]) -> str:
    """What `Work.as_mapping` found, for people; empty where it says nothing."""
    if "quiet" not in found:
        return ""
    times = f"{figure(found['low_ms'])} to {figure(found['high_ms'])} ms"
    head = f"the same work between trials took {times} (middle half, {found['samples']} samples)"
    if found["quiet"]:
        return f"{head}: the machine was quiet"
    return (
        f"{head}, which spreads over {found['spread']:.0%}: the machine was not quiet "
        f"({QUIET:.0%} allowed), so that figures of another run may differ"
    )
