"""Clocks of a guest and of the host come onto one base, and gaps are what they are."""

from __future__ import annotations

import struct

import pytest

from orrery.drill import clocks, logs
from orrery.drill.clocks import NS, Gap, GuestClock, Packet
from orrery.errors import MeasurementError

MS = 1_000_000
START = 1_700_000_000 * NS
BEHIND = 250 * MS
"""By how much the guest's clock is behind at first."""
PAUSE = 40 * MS


def outward(first_ms: int, last_ms: int, behind: int, delay: int = MS // 10) -> list[Packet]:
    """A packet of the guest in each millisecond of the host's time."""
    return [
        Packet(n, START + n * MS - behind, START + n * MS + delay + n % 7 * 1000)
        for n in range(first_ms, last_ms)
    ]


def inward(first_ms: int, last_ms: int, behind: int, delay: int = MS // 10) -> list[Packet]:
    """A packet to the guest in each millisecond of the host's time."""
    return [
        Packet(n, START + n * MS, START + n * MS + delay + n % 7 * 1000 - behind)
        for n in range(first_ms, last_ms)
    ]


def at(ms: int) -> int:
    return START + ms * MS


def test_the_clock_of_a_guest_is_told_before_and_after_its_pause() -> None:
    packets = outward(0, 1000, BEHIND) + outward(1040, 2000, BEHIND + PAUSE)
    clock = clocks.guest_clock(packets, [], at(1000), at(1040))
    assert clock.before_ns == pytest.approx(BEHIND, abs=MS)
    assert clock.after_ns == pytest.approx(BEHIND + PAUSE, abs=MS)
    assert clock.shift_ms == pytest.approx(40, abs=0.1)


def test_a_moment_before_the_pause_and_one_after_it_come_onto_the_hosts_clock() -> None:
    clock = GuestClock(pause_ns=at(1000) - BEHIND, before_ns=BEHIND, after_ns=BEHIND + PAUSE)
    assert clock.host_ns(at(999) - BEHIND) == at(999)
    # The guest's own clock went on where it stood.
    assert clock.host_ns(at(1001) - BEHIND) == at(1041)


def test_packets_in_both_directions_take_each_others_delay_away() -> None:
    there = outward(0, 1000, BEHIND, delay=4 * MS) + outward(1040, 2000, BEHIND, delay=4 * MS)
    back = inward(0, 1000, BEHIND, delay=4 * MS) + inward(1040, 2000, BEHIND, delay=4 * MS)
    clock = clocks.guest_clock(there, back, at(1000), at(1040))
    assert clock.before_ns == pytest.approx(BEHIND, abs=MS // 10)


def test_packets_to_a_silent_guest_are_enough_to_tell_its_clock() -> None:
    packets = inward(0, 1000, BEHIND) + inward(1040, 2000, BEHIND + PAUSE)
    clock = clocks.guest_clock([], packets, at(1000), at(1040))
    assert clock.shift_ms == pytest.approx(40, abs=0.1)


@pytest.mark.parametrize(
    ("first", "last", "where"), [(0, 5, "before the pause"), (0, 1000, "after it")]
)
def test_too_few_packets_tell_no_clock(first: int, last: int, where: str) -> None:
    with pytest.raises(MeasurementError, match=f"fewer than 20 packets .* {where}"):
        clocks.guest_clock(outward(first, last, 0), [], at(1000), at(1040))


def test_gaps_are_those_that_are_long_enough() -> None:
    times = [at(0), at(1), at(50), at(51), at(151)]
    assert clocks.gaps(times, START, longer_than_s=0.01) == [Gap(0.001, 0.049), Gap(0.051, 0.1)]
    assert clocks.gaps(times, START)[1].end_s == pytest.approx(0.05)


def test_the_largest_gap_is_one_that_reaches_into_the_window() -> None:
    times = [at(0), at(90), at(100), at(130), at(140), at(900)]
    # From 90 ms before the window to 100; the one after the window does not count.
    assert clocks.largest(times, at(95), at(135)) == pytest.approx(0.03)
    assert clocks.largest(times, at(50), at(135)) == pytest.approx(0.09)
    assert clocks.largest(times, at(135), at(145)) == pytest.approx(0.76)


def test_a_silence_that_does_not_end_lasts_to_the_end_of_the_window() -> None:
    assert clocks.largest([at(0), at(10)], at(5), at(500)) == pytest.approx(0.49)


def test_a_window_before_which_nothing_came_has_no_gap() -> None:
    with pytest.raises(MeasurementError, match="nothing came before the move"):
        clocks.largest([at(10)], at(5), at(50))


def test_an_interruption_is_a_gap_less_what_the_probe_shows_anyway() -> None:
    times = [at(10 * n) for n in range(100)] + [at(1090), at(1100)]
    assert clocks.usual(times, at(990)) == pytest.approx(0.01)
    assert clocks.interruption(times, at(991), at(1100)) == pytest.approx(0.09)
    steady = [at(10 * n) for n in range(200)]
    assert clocks.interruption(steady, at(1000), at(1500)) == 0


def test_lost_duplicated_and_reordered_packets_are_counted() -> None:
    order = [3, 4, 7, 5, 5, 9]
    found = clocks.delivery([Packet(n, at(n), at(n)) for n in order], at(0), at(7))
    assert (found.received, found.duplicated, found.reordered) == (5, 1, 1)
    # 6 was sent in the window, 8 after it.
    assert (found.lost, found.lost_else) == (1, 1)
    assert clocks.delivery([], at(0), at(7)).lost == 0


def test_values_are_added_up_in_steps_of_time() -> None:
    values = [(at(-60), 1.0), (at(-40), 2.0), (at(10), 3.0), (at(40), 4.0), (at(120), 5.0)]
    assert clocks.binned(values, START, -0.05, 0.1, 0.05) == [2.0, 7.0, 0.0]


def test_logs_of_probes_are_read_without_a_part_that_was_cut_off() -> None:
    data = struct.pack("<IIqq", 7, 64, 10, 20) + struct.pack("<IIqq", 8, 64, 30, 40) + b"half"
    assert logs.packets(data) == [Packet(7, 10, 20), Packet(8, 30, 40)]
    beats = logs.beats(struct.pack("<qqqq", 1, 100, 2, 90))
    assert [one.monotonic_ns for one in beats] == [1, 2]
    assert logs.backwards(beats) == 1
