from __future__ import annotations

from collections.abc import Iterator

import pytest

from orrery.measure import quiet


def found(times_ms: list[float]) -> dict[str, object]:
    """What is found where the work of one processor takes these times."""

    def clock() -> Iterator[float]:
        now = 0.0
        for time_ms in times_ms:
            yield now
            now += time_ms / 1e3
            yield now

    ticks = clock()
    work = quiet.Work(lambda: None, cpus=1, clock=lambda: next(ticks))
    for _ in times_ms:
        work.sample()
    return work.as_mapping()


def test_work_that_always_takes_as_long_says_quiet() -> None:
    seen = found([10.0, 10.2] * 6)
    assert (seen["samples"], seen["quiet"]) == (12, True)
    assert seen["median_ms"] == pytest.approx(10.1)
    assert quiet.sentence(seen).endswith("the machine was quiet")


def test_work_that_others_slow_down_says_so_with_the_times() -> None:
    seen = found([10.0, 20.0] * 6)
    assert seen["quiet"] is False
    said = quiet.sentence(seen)
    assert "took 10.0 to 20.0 ms (middle half, 12 samples)" in said
    assert "spreads over 67%: the machine was not quiet (10% allowed)" in said


def test_one_disturbance_among_many_is_none() -> None:
    assert found([10.0] * 11 + [50.0])["quiet"] is True


def test_a_few_samples_say_nothing() -> None:
    seen = found([10.0, 50.0])
    assert seen == {"samples": 2}
    assert quiet.sentence(seen) == quiet.sentence({}) == ""


def test_all_processors_work_at_once() -> None:
    work = quiet.Work(cpus=2)
    for _ in range(quiet.SAMPLES_NEEDED):
        work.sample()
    assert work.as_mapping()["samples"] == quiet.SAMPLES_NEEDED
    assert work.as_mapping()["low_ms"] > 0
