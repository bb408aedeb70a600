"""What was felt of a move is what its probes have seen, with known gaps."""

from __future__ import annotations

import dataclasses

import pytest

from orrery.drill import felt
from orrery.drill.scenario import DrillScenario
from orrery.drill.timeline import timeline
from tests.unit.drill import felt_world as world


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    return felt.figures(world.moved(), world.logs(), world.announced(), 3.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qemu_downtime", 9),
        ("setup", 10),
        ("total", 1015),
        ("memory", 100),
        ("rounds", 3),
        ("dirty_rate", 5),
        ("paused", 10),
        # 70 ms less the 10 ms in which its own clock stood still.
        ("guest_gap", 61),
        ("clock_shift", 10),
        ("outward_gap", 71),
        ("inward_gap", 71),
        ("network_gap", 71),
        ("network_interruption", 70),
        ("lost_packets", 10),
        ("lost_else", 0),
        ("duplicated", 0),
        ("announced", 4),
        ("learned", 4),
        ("request_longest", 71),
        ("lost_bytes", 0),
        ("stream_dip", 100),
    ],
)
def test_a_figure_is_what_happened(figures: dict[str, float], name: str, value: float) -> None:
    assert figures[name] == pytest.approx(value, abs=1.1)


def test_every_figure_has_a_unit(figures: dict[str, float]) -> None:
    assert set(figures) <= set(felt.UNITS)


def test_a_stream_is_back_when_it_carries_what_it_carried(figures: dict[str, float]) -> None:
    assert 50 <= figures["stream_recovery"] <= 150


def test_requests_in_the_move_are_told_from_those_before_it(figures: dict[str, float]) -> None:
    assert figures["request_p99_before"] == pytest.approx(1, abs=0.01)
    assert figures["request_p99"] > 20


def test_a_move_after_which_all_is_well_has_no_problem() -> None:
    assert felt.problems(world.logs(), world.moved()) == []


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"dirty": {"damaged_pages": 3}}, "3 pages of the guest's memory do not hold"),
        ({"sent_requests": {"broken": True}}, "the connection of requests broke"),
        ({"sent_stream": {"lost_bytes": 8192}}, "8192 bytes of the stream were not answered"),
        ({"service": {"right": False}}, "got bytes that were not sent so"),
    ],
)
def test_what_is_lost_or_broken_is_a_problem(said: dict[str, dict[str, object]], text: str) -> None:
    found = {name.replace("_", " "): value for name, value in said.items()}
    (problem,) = felt.problems(world.logs(**found), world.moved())
    assert text in problem


def test_silence_after_a_move_is_a_problem_whatever_qemu_says() -> None:
    """The switch lost the port, or memory is not shared: no packet passes, and no error is said."""
    whole = world.logs()
    until = world.host(world.STOPPED)
    mute = dataclasses.replace(
        whole,
        inward=tuple(one for one in whole.inward if one.sent_ns < until),
        outward=tuple(one for one in whole.outward if one.arrived_ns < until),
    )
    found = felt.problems(mute, world.moved())
    assert found == [
        "0 packets reached the guest after it went on, 5 needed",
        "0 packets came from the guest after it went on, 5 needed",
    ]


def test_a_clock_that_goes_back_is_a_problem() -> None:
    whole = world.logs()
    beats = (*whole.beats, whole.beats[-2])
    (problem,) = felt.problems(dataclasses.replace(whole, beats=beats), world.moved())
    assert problem == "a clock of the guest went back 1 times"


def test_a_migration_in_which_the_guest_never_stopped_is_looked_at_as_a_whole() -> None:
    still = dataclasses.replace(world.moved(), stopped_s=None, resumed_s=None)
    window = felt.Window.of(still)
    assert window.start_ns == pytest.approx(world.host(world.BEGAN), abs=1000)
    assert window.end_ns == pytest.approx(world.host(world.ENDED), abs=1000)


def test_a_timeline_has_every_clock_on_one_base() -> None:
    found = timeline(world.moved(), world.logs(), world.announced(), "drill-a", "drill-b")
    assert [one["name"] for one in found["phases"]] == ["setup", "memory", "switch-over"]
    assert found["paused"] == pytest.approx([1000, 1010])
    assert found["announced"] == pytest.approx([1014, 1060])
    assert found["rounds"] == pytest.approx([500])
    for clock in found["clocks"]:
        longest = max(clock["gaps"], key=lambda gap: gap[1])
        assert longest[0] == pytest.approx(999, abs=12), clock["name"]
        assert longest[1] == pytest.approx(71, abs=10), clock["name"]
    assert max(found["stream"]["mbit_per_s"]) == pytest.approx(6.55, abs=0.1)


def test_a_scenario_says_what_it_wants_of_qemu() -> None:
    settings = DrillScenario(bandwidth_mbps=100, downtime_ms=10).settings()
    assert settings.parameters == {"max-bandwidth": 100 << 20, "downtime-limit": 10}


def test_a_probe_that_showed_nothing_before_the_move_has_a_gap_and_no_interruption() -> None:
    whole = world.logs()
    from_here = world.host(world.STOPPED - 50.5)
    late = dataclasses.replace(
        whole, beats=tuple(one for one in whole.beats if one.realtime_ns + world.BEHIND > from_here)
    )
    found = felt.figures(world.moved(), late, [], 0.02)
    assert found["guest_gap"] == pytest.approx(61, abs=1.1)
    assert found["network_interruption"] == pytest.approx(70, abs=1.1)
    assert "guest_interruption" not in found
