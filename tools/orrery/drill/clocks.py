"""The clocks of a move on one time base: what the logs of probes say about an interruption. Pure.

The base is the host's CLOCK_REALTIME. A guest's clock stands still while the guest is paused, so
that its own gaps are too short; how far it is behind the host before and after the pause is read
from packets between the two: they carry the sender's time and get the receiver's. The fastest of
many packets is nearest to the truth.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orrery.errors import MeasurementError
from orrery.measure import stats

NS = 1_000_000_000
BEFORE_S = 10.0
"""How long a probe is compared with itself before the move [s]."""
USUAL = 0.999
SHIFT_WINDOW_S = 2.0
"""Packets so near to the pause tell how far the guest's clock is behind [s]."""
LEAST_PACKETS = 20
T = TypeVar("T")


@dataclass(frozen=True)
class Packet:
    """One numbered packet.

    Attributes:
        sent_ns: CLOCK_REALTIME of the sender [ns].
        arrived_ns: CLOCK_REALTIME of the receiver [ns].
    """

    number: int
    sent_ns: int
    arrived_ns: int


@dataclass(frozen=True)
class Gap:
    """A time in which nothing came.

    Attributes:
        start_s: Relative to what the caller counts from [s].
        seconds: How long [s].
    """

    start_s: float
    seconds: float

    @property
    def end_s(self) -> float:
        """When something came again [s]."""
        return self.start_s + self.seconds


@dataclass(frozen=True)
class GuestClock:
    """From a guest's CLOCK_REALTIME to the host's.

    Attributes:
        pause_ns: Guest's time at which it was paused [ns].
        before_ns: What is added before that [ns].
        after_ns: What is added after it [ns].
    """

    pause_ns: int
    before_ns: int
    after_ns: int

    def host_ns(self, guest_ns: int) -> int:
        """The host's time [ns]."""
        return guest_ns + (self.before_ns if guest_ns <= self.pause_ns else self.after_ns)

    @property
    def shift_ms(self) -> float:
        """By how much the guest's clock fell behind in the move; negative: it was put forward."""
        return (self.after_ns - self.before_ns) / 1e6


@dataclass(frozen=True)
class Delivery:
    """What became of one direction's packets.

    Attributes:
        lost: Numbers that never came and were sent in the window.
        lost_else: Numbers that never came and were sent before it or after it.
    """

    received: int
    lost: int
    lost_else: int
    duplicated: int
    reordered: int


def guest_clock(
    outward: Sequence[Packet], inward: Sequence[Packet], paused_ns: int, resumed_ns: int
) -> GuestClock:
    """How a guest's clock goes before and after a pause.

    A packet from the guest arrives later than it was sent, so that the least of its differences is
    still too large; one to the guest shows one that is too small. The truth lies between them.

    Args:
        outward: Packets that the guest has sent, by its clock.
        inward: Packets that it has received, by its clock.
        paused_ns: When its processors stopped, by the host's clock [ns].
        resumed_ns: When they went on [ns].

    Raises:
        MeasurementError: Too few packets on one side of the pause.
    """
    near = int(SHIFT_WINDOW_S * NS)
    before = _behind(outward, inward, paused_ns - near, paused_ns)
    after = _behind(outward, inward, resumed_ns, resumed_ns + near)
    if before is None or after is None:
        raise MeasurementError(
            f"the guest's clock cannot be told: fewer than {LEAST_PACKETS} packets within "
            f"{SHIFT_WINDOW_S:g} s {'before the pause' if before is None else 'after it'}"
        )
    return GuestClock(pause_ns=paused_ns - before, before_ns=before, after_ns=after)


def _behind(
    outward: Sequence[Packet], inward: Sequence[Packet], start_ns: int, end_ns: int
) -> int | None:
    """By how much a guest's clock is behind the host's in a window; None where too little came."""
    most = [one.arrived_ns - one.sent_ns for one in outward if start_ns < one.arrived_ns <= end_ns]
    least = [one.sent_ns - one.arrived_ns for one in inward if start_ns < one.sent_ns <= end_ns]
    found = [
        end
        for end, packets in ((min(most, default=0), most), (max(least, default=0), least))
        if len(packets) >= LEAST_PACKETS
    ]
    return sum(found) // len(found) if found else None


def gaps(times_ns: Sequence[int], base_ns: int, *, longer_than_s: float = 0.0) -> list[Gap]:
    """Times between arrivals, those that are longer than something.

    Args:
        times_ns: When something came [ns].
        base_ns: What `start_s` counts from [ns].
        longer_than_s: Shorter ones are left out [s].
    """
    ordered = sorted(times_ns)
    least = longer_than_s * NS
    return [
        Gap((one - base_ns) / NS, (other - one) / NS)
        for one, other in itertools.pairwise(ordered)
        if other - one > least
    ]


def largest(times_ns: Sequence[int], start_ns: int, end_ns: int) -> float:
    """The longest time without anything that reaches into a window [s].

    A window in which nothing comes any more is as long as the gap that swallows it.

    Raises:
        MeasurementError: Nothing came before it, so that no gap has a beginning.
    """
    ordered = sorted(times_ns)
    first = bisect_right(ordered, start_ns) - 1
    if first < 0:
        raise MeasurementError("nothing came before the move: there is nothing to be interrupted")
    last = bisect_left(ordered, end_ns)
    inside = ordered[first : last + 1]
    if last == len(ordered):
        inside.append(max(end_ns, ordered[-1]))
    return max((b - a for a, b in itertools.pairwise(inside)), default=0) / NS


def usual(times_ns: Sequence[int], end_ns: int, seconds: float = BEFORE_S) -> float:
    """The p99.9 of a probe's gaps in the time before a move [s].

    Raises:
        MeasurementError: Fewer than two came in that time.
    """
    start = end_ns - int(seconds * NS)
    inside = [one for one in sorted(times_ns) if start <= one <= end_ns]
    if len(inside) < 2:
        raise MeasurementError(f"nothing came in the {seconds:g} s before the move")
    found = [(b - a) / NS for a, b in itertools.pairwise(inside)]
    return stats.quantile(found, USUAL)


def interruption(
    times_ns: Sequence[int], start_ns: int, end_ns: int, before_s: float = BEFORE_S
) -> float:
    """Largest gap in a window minus the same probe's p99.9 before it [s]; not below zero.

    Raises:
        MeasurementError: Too little came.
    """
    found = largest(times_ns, start_ns, end_ns) - usual(times_ns, start_ns, before_s)
    return max(found, 0.0)


def delivery(packets: Sequence[Packet], start_ns: int, end_ns: int) -> Delivery:
    """Lost, duplicated and reordered packets of all that were received.

    When a lost packet was sent follows from those before and after it: they are sent evenly. What
    was sent before the first or after the last one that came is not counted: it was sent while
    nobody listened yet, or no longer.

    Args:
        packets: In order of arrival.
        start_ns: Of the window, by the sender's clock [ns].
        end_ns: Of the window, by the sender's clock [ns].
    """
    sent: dict[int, int] = {}
    duplicated = reordered = 0
    highest = -1
    for one in packets:
        if one.number in sent:
            duplicated += 1
            continue
        sent[one.number] = one.sent_ns
        if one.number < highest:
            reordered += 1
        highest = max(highest, one.number)
    inside = everywhere = 0
    for below, above in itertools.pairwise(sorted(sent)):
        missing = above - below - 1
        everywhere += missing
        step = (sent[above] - sent[below]) / (above - below)
        times = (sent[below] + step * number for number in range(1, missing + 1))
        inside += sum(start_ns <= at_ns <= end_ns for at_ns in times)
    return Delivery(len(sent), inside, everywhere - inside, duplicated, reordered)


def binned(
    values: Iterable[tuple[int, float]], base_ns: int, start_s: float, end_s: float, step_s: float
) -> list[float]:
    """Sums of values in equal steps of time."""
    # What is a little more than a whole number of steps is one of rounding.
    count = max(math.ceil((end_s - start_s) / step_s - 1e-6), 1)
    found = [0.0] * count
    for at_ns, value in values:
        place = math.floor(((at_ns - base_ns) / NS - start_s) / step_s)
        if 0 <= place < count:
            found[place] += value
    return found
