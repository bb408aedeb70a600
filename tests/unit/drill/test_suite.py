"""Drills are files that list scenarios; what is wrong in one is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.drill import felt, overview
from orrery.drill.scenario import DrillScenario, Fault, Help
from orrery.drill.states import Outcome
from orrery.drill.subject import missing
from orrery.drill.suite import Suite, load, names, parse, with_moves
from orrery.errors import ConfigurationError
from orrery.network.backends import Backend
from orrery.state import LabState

HEAD = "about: test\ngroups:\n  - title: one\n"


def made(rest: str) -> Suite:
    return parse(HEAD + rest, "mine")


def test_the_drills_of_the_issue_come_along_and_the_standard_one_is_first() -> None:
    assert names()[0] == "standard"
    assert {"convergence", "faults", "busy", "silent"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_every_drill_is_valid_and_says_what_it_asks(name: str) -> None:
    suite = load(name)
    assert suite.about.endswith((".", "?"))
    for group in suite.groups:
        assert set(group.metrics) <= set(felt.UNITS)


def test_the_standard_drill_is_ten_moves() -> None:
    suite = load("standard")
    assert suite.moves == 10
    assert with_moves(suite, 3).moves == 3
    assert len(suite.scenarios) == 1


def test_every_fault_is_in_the_drill_of_faults() -> None:
    assert {one.fault for one in load("faults").scenarios} == set(Fault)


def test_every_help_is_in_the_drill_of_convergence() -> None:
    assert {one.help for one in load("convergence").scenarios} == {None, *Help}


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("    with: {speed: 3}\n", "there is no parameter 'speed'. Known: backend"),
        ("    with: {help: magic}\n", "help is 'magic'; one of auto-converge"),
        ("    with: {memory_mb: much}\n", "memory_mb is 'much', which is of no kind"),
        ("    with: {backend: virtio-net}\n", "drills run on the lab's switch"),
        ("    with: {dirty_mbps: 3}\n", "dirty_mbps and pattern need dirty_mb"),
        ("    with: {dirty_mb: 500}\n", "the guest's system needs 96 of 512 MB"),
        ("    with: {fault: fewer-queues}\n", "needs queues: 2 or more"),
        ("    with: {fault: cancel, help: zstd}\n", "a fault goes without help"),
        ("    with: {limit_s: 0}\n", "limit_s is 0; 1 to 3600 are needed"),
        ("    with: {}\n    metrics: [speed]\n", "there is no metric 'speed'. Known: seconds"),
        ("    with: {}\n    variants: [{}, {}]\n", "is there twice"),
        ("    without: {}\n", r"drill mine: \$.groups\[0\]"),
    ],
)
def test_what_is_wrong_in_a_drill_is_said_with_its_place(rest: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match="mine|scenario") as caught:
        made(rest)
    assert text.replace("\\", "") in str(caught.value) or pytest.fail(str(caught.value))


def test_a_drill_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no drill 'x'.*standard, busy"):
        load("x")
    own = tmp_path / "own.yml"
    own.write_text(HEAD + "    with: {downtime_ms: 20}\n")
    assert load(str(own)).name == "own"


def test_values_are_crossed_and_each_variant_is_tried_with_each() -> None:
    rest = "    with: {}\n    each: {bandwidth_mbps: [10, 20]}\n"
    suite = made(rest + "    variants: [{downtime_ms: 1}, {downtime_ms: 2}]\n")
    found = [(one.bandwidth_mbps, one.downtime_ms) for one in suite.scenarios]
    assert found == [(10, 1), (10, 2), (20, 1), (20, 2)]


def test_scenarios_on_other_guests_do_not_take_turns() -> None:
    rest = (
        "    with: {}\n    variants: [{queues: 2}, {downtime_ms: 1}, {queues: 2, downtime_ms: 1}]\n"
    )
    groups = made(rest).groups
    assert [[one.queues for one in group.scenarios] for group in groups] == [[2, 2], [1]]


def test_how_a_scenario_has_to_end_follows_from_it() -> None:
    assert DrillScenario().outcomes == {Outcome.MOVED}
    assert DrillScenario(converges=False).outcomes == {Outcome.NOT_CONVERGING}
    assert DrillScenario(fault=Fault.CANCEL).outcomes == {Outcome.CANCELLED}
    assert not DrillScenario(help=Help.XBZRLE).outcomes


def test_postcopy_on_vhost_user_is_left_out_with_the_reason() -> None:
    state = LabState("lab", facts={"ovs": {}})
    assert "not capable" in missing(DrillScenario(help=Help.POSTCOPY), state)
    tap = DrillScenario(backend=Backend.VIRTIO_NET_OVS, help=Help.POSTCOPY)
    assert not missing(tap, state)
    assert "no Open vSwitch" in missing(tap, LabState("lab"))


def test_the_list_says_how_long_each_takes_and_what_cannot_run() -> None:
    offers = {one.name: one for one in overview.here(LabState("lab", facts={"ovs": {}}))}
    assert offers["standard"].possible == offers["standard"].scenarios == 1
    assert 1 < offers["standard"].minutes < 10
    assert offers["convergence"].possible == offers["convergence"].scenarios - 1
    assert sum(offers["convergence"].reasons.values()) == 1


def test_postcopy_without_the_return_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="needs the return path"):
        DrillScenario(help=Help.POSTCOPY, return_path=False).check()
    assert not DrillScenario(return_path=False).settings().switches()["return-path"]
