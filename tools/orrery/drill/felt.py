"""What was felt of a move: the figures of all clocks, from what the probes have seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orrery.drill import clocks
from orrery.drill.announce import Announcement
from orrery.drill.clocks import NS, GuestClock, Packet
from orrery.drill.logs import backwards
from orrery.drill.probes import Logs
from orrery.drill.states import Moved
from orrery.errors import MeasurementError
from orrery.measure import stats

BEFORE_STOP_S = 0.05
AFTER_RESUME_S = 1.5
"""The window of the switch-over: from a little before the guest stops until it is settled [s]."""
P99 = 0.99
STEP_S = 0.05
RECOVERED = 0.9
"""A stream is as it was when it carries so much of what it carried before."""
BACK = 5
"""So many packets in a row from the other side show that it is back."""

UNITS = {
    "seconds": "s",
    "qemu_downtime": "ms",
    "setup": "ms",
    "total": "ms",
    "memory": "MB",
    "rounds": "",
    "dirty_rate": "MB/s",
    "throttle": "%",
    "encoding": "",
    "compression": "",
    "paused": "ms",
    "guest_gap": "ms",
    "guest_interruption": "ms",
    "clock_shift": "ms",
    "network_gap": "ms",
    "network_interruption": "ms",
    "inward_gap": "ms",
    "outward_gap": "ms",
    "lost_packets": "",
    "lost_else": "",
    "duplicated": "",
    "reordered": "",
    "announced": "ms",
    "learned": "ms",
    "request_p99": "ms",
    "request_p99_before": "ms",
    "request_longest": "ms",
    "stream_dip": "%",
    "stream_recovery": "ms",
    "lost_bytes": "",
    "switch_dropped": "",
    "switch_errors": "",
    "damaged_pages": "",
    "converged": "",
}
_SCALE = {"memory": 1e-6, "dirty_rate": 1e-6}


@dataclass(frozen=True)
class Window:
    """The time in which the guest changed its place, or would have; host's clock [ns].

    Attributes:
        stopped_ns: When its processors stopped.
        resumed_ns: When they went on.
    """

    start_ns: int
    stopped_ns: int
    resumed_ns: int
    end_ns: int

    @classmethod
    def of(cls, moved: Moved) -> Window:
        """The window of a move; all of a migration in which the guest never stopped."""
        stopped, resumed = moved.stopped_s, moved.resumed_s
        if stopped is None or resumed is None:
            start, end = int(moved.began_s * NS), int(moved.ended_s * NS)
            return cls(start, start, end, end)
        return cls(
            int((stopped - BEFORE_STOP_S) * NS),
            int(stopped * NS),
            int(resumed * NS),
            int((resumed + AFTER_RESUME_S) * NS),
        )


@dataclass(frozen=True)
class Times:
    """When something came, all by the host's clock [ns]."""

    inward: tuple[int, ...]
    outward: tuple[int, ...]
    beats: tuple[int, ...]


def clock_of(logs: Logs, window: Window) -> GuestClock:
    """How the guest's clock goes.

    Raises:
        MeasurementError: Too few packets near the move.
    """
    return clocks.guest_clock(logs.outward, logs.inward, window.stopped_ns, window.resumed_ns)


def times(logs: Logs, clock: GuestClock) -> Times:
    """What came, on the host's clock."""
    return Times(
        inward=tuple(clock.host_ns(one.arrived_ns) for one in logs.inward),
        outward=tuple(one.arrived_ns for one in logs.outward),
        beats=tuple(clock.host_ns(one.realtime_ns) for one in logs.beats),
    )


def figures(
    moved: Moved, logs: Logs, announced: Sequence[Announcement], before_s: float
) -> dict[str, float]:
    """Every figure of one move, in the units of `UNITS`.

    Raises:
        MeasurementError: Too little came to tell.
    """
    window = Window.of(moved)
    clock = clock_of(logs, window)
    came = times(logs, clock)
    found = {name: value * _SCALE.get(name, 1.0) for name, value in moved.figures().items()}
    found["seconds"] = moved.ended_s - moved.began_s
    if moved.stopped_s is not None and moved.resumed_s is not None:
        found["paused"] = (moved.resumed_s - moved.stopped_s) * 1e3
    found |= _guest(logs, clock, window, before_s)
    found |= _network(logs, came, clock, window, before_s)
    found |= _learned(logs, announced, window)
    found |= _application(logs, window, moved)
    return found


def problems(logs: Logs, moved: Moved) -> list[str]:
    """What is not as it has to be after a move: lost data, broken connections, clocks, silence."""
    window = Window.of(moved)
    found = []
    for name, what in (("dirty", "memory"), ("disk", "disk")):
        damaged = int(logs.said.get(name, {}).get("damaged_pages", 0))
        if damaged:
            found.append(
                f"{damaged} pages of the guest's {what} do not hold what was written there"
            )
    for name, what in (("sent requests", "requests"), ("sent stream", "the stream")):
        said = logs.said.get(name, {})
        if said.get("broken"):
            found.append(f"the connection of {what} broke")
        if said.get("lost_bytes"):
            found.append(f"{said['lost_bytes']} bytes of {what} were not answered")
    service = logs.said.get("service", {})
    if service.get("right") is False:
        found.append("the service in the guest got bytes that were not sent so")
    back = backwards(logs.beats)
    if back:
        found.append(f"a clock of the guest went back {back} times")
    arrived = sum(one.sent_ns > window.resumed_ns for one in logs.inward)
    if arrived < BACK:
        found.append(f"{arrived} packets reached the guest after it went on, {BACK} needed")
    left = sum(one.arrived_ns > window.resumed_ns for one in logs.outward)
    if logs.outward and left < BACK:
        found.append(f"{left} packets came from the guest after it went on, {BACK} needed")
    return found


def _guest(logs: Logs, clock: GuestClock, window: Window, before_s: float) -> dict[str, float]:
    """Gaps of the heartbeat as the program in the guest counts them, by its monotonic clock."""
    # Guest's own time, on which the pause is one moment; both clocks of it advance alike.
    to_monotonic = logs.beats[0].monotonic_ns - logs.beats[0].realtime_ns if logs.beats else 0
    beats = [one.monotonic_ns for one in logs.beats]
    start = window.start_ns - clock.before_ns + to_monotonic
    end = window.end_ns - clock.after_ns + to_monotonic
    return {
        "guest_gap": clocks.largest(beats, start, end) * 1e3,
        **_interruption("guest", [beats], start, end, before_s),
        "clock_shift": clock.shift_ms,
    }


def _network(
    logs: Logs, came: Times, clock: GuestClock, window: Window, before_s: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    ways = {"inward": (came.inward, logs.inward), "outward": (came.outward, logs.outward)}
    gaps = []
    sent = {
        "inward": (window.start_ns, window.end_ns),
        "outward": (window.start_ns - clock.before_ns, window.end_ns - clock.after_ns),
    }
    lost = lost_else = duplicated = reordered = 0
    for name, (arrivals, packets) in ways.items():
        if not packets:
            continue
        gap = clocks.largest(arrivals, window.start_ns, window.end_ns) * 1e3
        found[f"{name}_gap"] = gap
        gaps.append(gap)
        one = clocks.delivery(packets, *sent[name])
        lost += one.lost
        lost_else += one.lost_else
        duplicated += one.duplicated
        reordered += one.reordered
    return {
        **found,
        "network_gap": max(gaps, default=0.0),
        **_interruption(
            "network",
            [arrivals for arrivals, packets in ways.values() if packets],
            window.start_ns,
            window.end_ns,
            before_s,
        ),
        "lost_packets": lost,
        "lost_else": lost_else,
        "duplicated": duplicated,
        "reordered": reordered,
    }


def _interruption(
    name: str, probes: Sequence[Sequence[int]], start_ns: int, end_ns: int, before_s: float
) -> dict[str, float]:
    """The worst interruption of some probes; none where one showed nothing before the move."""
    try:
        found = [clocks.interruption(one, start_ns, end_ns, before_s) for one in probes]
    except MeasurementError:
        return {}
    return {f"{name}_interruption": max(found) * 1e3} if found else {}


def _learned(logs: Logs, announced: Sequence[Announcement], window: Window) -> dict[str, float]:
    """When the switch could know where the guest is: by what announced it, or by any packet."""
    found = {}
    words = [one.at_ns for one in announced if one.at_ns >= window.stopped_ns]
    if words:
        found["announced"] = (min(words) - window.resumed_ns) / 1e6
    packets = [one.arrived_ns for one in logs.outward if one.arrived_ns >= window.resumed_ns]
    first = min([*words, *packets], default=None)
    if first is not None:
        found["learned"] = (first - window.resumed_ns) / 1e6
    return found


def _application(logs: Logs, window: Window, moved: Moved) -> dict[str, float]:
    if not logs.requests:
        return {}
    began = int(moved.began_s * NS)
    during = _latencies([one for one in logs.requests if began <= one.sent_ns <= window.end_ns])
    before = _latencies([one for one in logs.requests if one.sent_ns < began])
    lost = sum(float(said.get("lost_bytes", 0)) for said in logs.said.values())
    found = {"lost_bytes": lost}
    if during and before:
        found["request_p99"] = stats.quantile(during, P99)
        found["request_p99_before"] = stats.quantile(before, P99)
        found["request_longest"] = max(during)
    return {**found, **_stream(logs.stream, window, began)}


def _stream(stream: Sequence[Packet], window: Window, began_ns: int) -> dict[str, float]:
    """How deep the throughput fell in the switch-over, and how long it took to be back."""
    before = [one for one in stream if one.arrived_ns < began_ns]
    if len(before) < BACK:
        return {}
    span_s = (began_ns - before[0].arrived_ns) / NS
    usual = len(before) / span_s * STEP_S
    steps = clocks.binned(
        ((one.arrived_ns, 1.0) for one in stream),
        window.stopped_ns,
        0.0,
        (window.end_ns - window.stopped_ns) / NS,
        STEP_S,
    )
    lowest = min(steps)
    first = next((n for n, v in enumerate(steps) if v < RECOVERED * usual), None)
    recovery = 0.0
    if first is not None:
        total, place = 0.0, first
        # Back is when it carries as much as usual over three steps, so that a burst does not count.
        for place in range(first, len(steps)):
            total = sum(steps[place : place + 3]) / 3
            if total >= RECOVERED * usual:
                break
        recovery = place * STEP_S * 1e3
    return {"stream_dip": max(0.0, (1 - lowest / usual)) * 100, "stream_recovery": recovery}


def _latencies(answers: Sequence[Packet]) -> list[float]:
    return [(one.arrived_ns - one.sent_ns) / 1e6 for one in answers]
