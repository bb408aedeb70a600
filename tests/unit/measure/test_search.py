"""The search for the throughput, with devices that only exist here."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from orrery.errors import MeasurementError
from orrery.measure.search import Counts, Throughput, search

LOW, HIGH = 1_000, 1_000_000
Measure = Callable[[float, int], Counts]


def device(rate: Callable[[float], float], sender: float = float("inf")) -> Measure:
    """A device that forwards `rate(offered)` packets/s of what a sender with a limit offers."""

    def measure(duration_s: float, load_pps: int) -> Counts:
        offered = min(load_pps, sender)
        received = min(offered, rate(offered))
        return Counts(sent=round(offered * duration_s), received=round(received * duration_s))

    return measure


def ideal(capacity: float, sender: float = float("inf")) -> Measure:
    return device(lambda offered: min(offered, capacity), sender)


def find(measure: Measure, *, loss: float = 0.0, most_steps: int = 24) -> Throughput:
    return search(measure, low_pps=LOW, high_pps=HIGH, loss=loss, most_steps=most_steps)


@pytest.mark.parametrize("capacity", [1_500, 12_345, 300_000, 990_000])
def test_the_capacity_of_a_steady_device_is_found(capacity: int) -> None:
    found = find(ideal(capacity))
    assert 0.98 * capacity <= found.load_pps <= capacity
    assert found.bounded
    assert len(found.steps) <= 8
    assert found.why.startswith(f"passes {found.load_pps} packets/s, fails at ")


def test_a_device_that_collapses_when_it_is_overloaded_is_found_too() -> None:
    found = find(device(lambda load: load if load <= 80_000 else 8_000.0))
    assert 0.98 * 80_000 <= found.load_pps <= 80_000
    assert found.bounded


def test_a_share_that_may_be_lost_gives_a_higher_load() -> None:
    leaky = device(lambda load: load * (1 - max(0.0, load - 100_000) / 1e8))
    assert 98_000 <= find(leaky).load_pps <= 100_100
    # 0.1 % are lost at 200,000.
    assert 196_000 <= find(leaky, loss=0.001).load_pps <= 200_000


def test_a_device_that_is_faster_than_the_highest_load_is_said_to_be() -> None:
    found = find(ideal(5e6))
    assert (found.load_pps, found.bounded, len(found.steps)) == (HIGH, False, 2)
    assert found.why == "the device passes the highest load that was allowed"


def test_what_a_sender_really_offers_counts() -> None:
    found = find(ideal(5e6, sender=250_000))
    assert (found.load_pps, found.bounded) == (250_000, False)
    assert found.why == "the sender offers no more than 250000 packets/s"


def test_a_slow_sender_before_a_slower_device_does_not_hide_the_device() -> None:
    found = find(ideal(100_000, sender=250_000))
    assert 98_000 <= found.load_pps <= 100_000
    assert found.bounded


def test_a_dead_device_has_no_throughput_and_takes_no_time() -> None:
    found = find(ideal(0))
    assert (found.load_pps, found.bounded, len(found.steps)) == (0, False, 2)
    assert found.why == "nothing arrived at any load"


def test_a_device_that_always_loses_says_how_much() -> None:
    found = find(device(lambda load: 0.7 * load))
    assert found.load_pps == 0
    assert found.why == "30.000% are lost at 1000 packets/s, the lowest load tried"


def test_a_sender_that_sends_nothing_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="sent nothing when asked for 1000000 packets/s"):
        find(ideal(1e6, sender=0))


def test_the_result_of_a_device_with_several_boundaries_passes_where_it_says() -> None:
    def measure(duration_s: float, load_pps: int) -> Counts:
        bad = 100_000 < load_pps < 200_000 or load_pps > 400_000
        sent = round(load_pps * duration_s)
        return Counts(sent, round(sent * (0.8 if bad else 1.0)))

    found = find(measure)
    assert found.bounded
    assert any(0.98 * top <= found.load_pps <= top for top in (100_000, 400_000))


def noisy(seed: int, capacity: float, mishaps: float) -> Measure:
    """The capacity of each trial differs by 3 %; in some trials a few packets are lost anyway."""
    source = random.Random(seed)

    def measure(duration_s: float, load_pps: int) -> Counts:
        sent = round(load_pps * duration_s)
        taken = round(capacity * source.gauss(1, 0.03) * duration_s)
        lost = 3 if source.random() < mishaps else 0
        return Counts(sent, max(0, min(sent, taken) - lost))

    return measure


@pytest.mark.parametrize("seed", range(40))
def test_a_noisy_device_never_gets_more_than_it_can(seed: int) -> None:
    found = find(noisy(seed, 100_000, mishaps=0.1))
    assert 0 < found.load_pps <= 108_000
    assert len(found.steps) <= 24
    last = found.steps[-1]
    assert last.passed or "not confirmed" in found.why


def test_most_noisy_searches_end_close_to_the_capacity() -> None:
    found = [find(noisy(seed, 100_000, mishaps=0.1)).load_pps for seed in range(200)]
    assert sum(88_000 <= load <= 104_000 for load in found) >= 180


def test_a_device_that_never_agrees_with_itself_ends_in_time() -> None:
    source = random.Random(1)

    def measure(duration_s: float, load_pps: int) -> Counts:
        sent = round(load_pps * duration_s)
        return Counts(sent, sent - source.randrange(2))

    for _ in range(50):
        found = find(measure, most_steps=12)
        assert len(found.steps) <= 12


def test_a_search_that_runs_out_of_steps_says_so() -> None:
    found = find(device(lambda load: load if load <= 80_000 else 2_000.0), most_steps=5)
    assert not found.bounded
    assert found.why.startswith("ended after 5 trials, with ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low_pps": 5, "high_pps": 4}, "loads go from 5 to 4: no range"),
        ({"loss": 1.0}, "loss is 1.0; 0 to 1 is needed"),
        ({"precision": 0.0}, "precision is 0.0; between 0 and 1 is needed"),
        ({"most_steps": 3}, "3 steps are too few"),
        ({"duration_s": 0.0}, "a trial of 0.0 s gives nothing"),
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    given = {"low_pps": LOW, "high_pps": HIGH, **options}
    with pytest.raises(MeasurementError, match=message):
        search(ideal(1e5), **given)  # type: ignore[arg-type]  # a mapping of mixed numbers
