"""A drill's record has every move, and the keys that scripts read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from orrery.drill import results
from orrery.drill.run import Timelines
from orrery.drill.scenario import DrillScenario
from orrery.drill.suite import Suite, parse
from orrery.drill.timeline import timeline
from orrery.errors import OrreryError
from orrery.measure import host, record, runner
from orrery.measure.journal import Journal
from orrery.measure.record import Record
from orrery.report import pages, timelines
from tests.unit.drill import felt_world as world

HEAD = "about: Does it move?\nmoves: 3\ngroups:\n  - title: one\n    with: {}\n"
VALUES = {
    "seconds": 1.0,
    "qemu_downtime": 5.0,
    "guest_gap": 40.0,
    "network_gap": 90.0,
    "lost_packets": 10.0,
    "lost_bytes": 0.0,
}


class Moves:
    """A subject whose moves are made up; the second one fails."""

    def __init__(self) -> None:
        self.count = 0

    def missing(self, scenario: DrillScenario) -> str:
        return ""

    def prepare(self, scenario: DrillScenario) -> None:
        return None

    def trial(self, scenario: DrillScenario) -> Mapping[str, float]:
        self.count += 1
        if self.count == 2:
            raise OrreryError("it ended as 'failed', 'moved' was to be")
        return {**VALUES, "network_gap": 90.0 * self.count}

    def mend(self, scenario: DrillScenario, error: OrreryError) -> None:
        return None

    def conditions(self, scenario: DrillScenario) -> Mapping[str, Any]:
        return {"machine": {"queues": 1}}


@pytest.fixture
def suite() -> Suite:
    return parse(HEAD, "mine")


def move() -> dict[str, Any]:
    return timeline(world.moved(), world.logs(), world.announced(), "drill-a", "drill-b")


@pytest.fixture
def made(suite: Suite, tmp_path: Path) -> Record:
    with Journal.create(tmp_path / "j.jsonl", results.header(suite)) as journal:
        plan = results.plan(suite, suite.groups[0])
        outcome = runner.run(plan, Moves(), journal, lambda _: None)
    name = suite.scenarios[0].name
    return results.record(
        suite,
        [outcome],
        started=record.begin(),
        host=host.describe(),
        accel="tcg",
        versions={},
        leaks=["port vh-drill-b"],
        timelines={name: [move(), {**move(), "clocks": []}]},
    )


def test_the_keys_for_scripts_are_those_of_the_issue(made: Record) -> None:
    summary = made.summary
    assert summary["moves"] == 3
    assert summary["failed"] == 1
    assert summary["leaks"] == 1
    assert summary["qemu_downtime_ms"] == {"median": 5.0, "max": 5.0}
    assert summary["guest_gap_ms"] == {"median": 40.0, "max": 40.0}
    assert summary["network_gap_ms"] == {"median": 180.0, "max": 270.0}
    assert summary["lost_packets"] == 20
    assert summary["lost_bytes"] == 0


def test_a_drill_without_any_move_has_no_medians() -> None:
    found = results.summed_up([], 2, [])
    assert found["moves"] == found["failed"] == 2
    assert found["network_gap_ms"] == {"median": None, "max": None}


def test_the_record_is_valid_and_has_its_timelines(made: Record, tmp_path: Path) -> None:
    path = record.save(made, tmp_path)
    again = record.load(path)
    assert again.kind == "drill"
    assert again.dropped[0]["reason"].startswith("it ended as 'failed'")
    assert [one["outcome"] for one in again.summary["timelines"]] == ["moved", "moved"]


def test_the_page_draws_the_middle_move_and_the_worst_one(made: Record, tmp_path: Path) -> None:
    drawn = timelines.drawn(made)
    assert [one.title for one in drawn] == [
        "the middle one of 2 moves (drill-a to drill-b, moved)",
        "the worst move (drill-a to drill-b, moved)",
    ]
    shown = {one.name: one.longest for one in drawn[1].clocks}
    assert shown["packets to the guest"] == "71 ms"
    path = record.save(made, tmp_path)
    text = pages.write(made, path, tmp_path).read_text(encoding="utf-8")
    assert '<h2 id="timelines">' in text
    assert "longest silence in the switch-over: program in the guest" in text
    assert text.count("</svg>") >= 4
    assert "./lab drill --suite mine --moves 3" in text


def test_a_move_that_never_stopped_the_guest_has_one_plot(made: Record) -> None:
    still = {**move(), "paused": [], "stream": {}, "scenario": "x"}
    (one,) = timelines.drawn(dataclasses.replace(made, summary={"timelines": [still]}))
    assert one.title.startswith("the move")
    assert not one.close


def test_a_record_of_something_else_has_no_timelines(made: Record) -> None:
    assert not timelines.drawn(dataclasses.replace(made, summary={}))


def test_timelines_of_a_drill_that_was_broken_off_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "j.timelines"
    first = Timelines(path)
    first.keep("one", {"outcome": "moved"})
    with path.open("a") as stream:
        stream.write(json.dumps({"scenario": "one"})[:-3])
    again = Timelines(path)
    again.read()
    assert again.found == {"one": [{"outcome": "moved"}]}
