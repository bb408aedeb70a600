"""One move as a timeline: phases of the migration, and what each clock showed meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orrery.drill import clocks, felt
from orrery.drill.announce import Announcement
from orrery.drill.clocks import NS
from orrery.drill.counters import Counted
from orrery.drill.felt import Window
from orrery.drill.probes import Logs
from orrery.drill.states import Moved, Status

LEAD_S, TAIL_S = 1.0, 1.5
"""How much is shown before the migration, and after it [s]."""
STEP_S = 0.05
SHORTEST_S, LONGER_S = 0.01, 0.03
"""Shorter silences are not shown; of requests there are fewer [s]."""
MOST_GAPS = 60
PHASES = {
    Status.SETUP: "setup",
    Status.ACTIVE: "memory",
    Status.POSTCOPY_ACTIVE: "memory after the switch-over",
    Status.DEVICE: "switch-over",
    Status.CANCELLING: "cancelling",
}


def timeline(
    moved: Moved,
    logs: Logs,
    announced: Sequence[Announcement],
    source: str,
    target: str,
    counted: Sequence[Counted] = (),
) -> dict[str, Any]:
    """JSON of one move; times in milliseconds from the moment at which the source was told.

    Args:
        moved: What QEMU said.
        logs: What the probes saw.
        announced: Frames that announced the guest.
        source: Name of the side that it left.
        target: And of the one that it went to.
        counted: What the switch counted at their ports.

    Raises:
        MeasurementError: Too little came to put the clocks on one base.
    """
    window = Window.of(moved)
    clock = felt.clock_of(logs, window)
    came = felt.times(logs, clock)
    base = int(moved.began_s * NS)
    end_s = max(moved.ended_s, window.end_ns / NS) - moved.began_s + TAIL_S - felt.AFTER_RESUME_S
    lanes = [
        ("program in the guest", came.beats, SHORTEST_S),
        ("packets to the guest", came.inward, SHORTEST_S),
        ("packets from the guest", came.outward, SHORTEST_S),
        ("answers to requests", tuple(one.arrived_ns for one in logs.requests), LONGER_S),
    ]
    return {
        "source": source,
        "target": target,
        "outcome": str(moved.outcome),
        "why": moved.why,
        "start_ms": -LEAD_S * 1e3,
        "end_ms": end_s * 1e3,
        "phases": _phases(moved),
        "rounds": [
            _ms(event.at_s - moved.began_s)
            for side, event in moved.events
            if side == "source" and event.name == "MIGRATION_PASS"
        ],
        "announced": [_ms(one.at_ns / NS - moved.began_s) for one in announced if one.at_ns > base],
        "paused": _paused(moved),
        "clocks": [
            {"name": name, "gaps": _gaps(times, base, end_s, least)}
            for name, times, least in lanes
            if times
        ],
        "stream": _stream(logs, base, end_s),
        "samples": [
            {
                "at_ms": _ms(one.at_s - moved.began_s),
                "remaining_mb": round(one.remaining / 1e6, 3),
                "throttle_percent": one.throttle_percent,
            }
            for one in moved.samples
        ],
        "ports": [one.as_mapping() for one in counted],
    }


def _phases(moved: Moved) -> list[dict[str, Any]]:
    ends = [at_s for _, at_s in moved.source[1:]]
    return [
        {
            "name": PHASES[status],
            "start_ms": _ms(at_s - moved.began_s),
            "end_ms": _ms(end_s - moved.began_s),
        }
        for (status, at_s), end_s in zip(moved.source, ends, strict=False)
        if status in PHASES
    ]


def _paused(moved: Moved) -> list[float]:
    if moved.stopped_s is None or moved.resumed_s is None:
        return []
    return [_ms(moved.stopped_s - moved.began_s), _ms(moved.resumed_s - moved.began_s)]


def _gaps(times: Sequence[int], base: int, end_s: float, least_s: float) -> list[list[float]]:
    """Start and length of the longest gaps that are shown, in the order of time."""
    found = [
        one
        for one in clocks.gaps(times, base, longer_than_s=least_s)
        if one.end_s > -LEAD_S and one.start_s < end_s
    ]
    longest = sorted(found, key=lambda one: -one.seconds)[:MOST_GAPS]
    return [
        [_ms(one.start_s), _ms(one.seconds)] for one in sorted(longest, key=lambda one: one.start_s)
    ]


def _stream(logs: Logs, base: int, end_s: float) -> dict[str, Any]:
    """Throughput in steps [Mbit/s]."""
    if not logs.stream:
        return {}
    size = int(logs.said.get("sent stream", {}).get("size", 0))
    bits = ((one.arrived_ns, size * 8 / 1e6 / STEP_S) for one in logs.stream)
    values = clocks.binned(bits, base, -LEAD_S, end_s, STEP_S)
    return {"step_ms": STEP_S * 1e3, "mbit_per_s": [round(value, 3) for value in values]}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
