"""Runs of a subject that only exists here, with a clock that only moves when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orrery.errors import ConfigurationError, GuestError, MeasurementError, OrreryError
from orrery.measure.journal import Journal
from orrery.measure.runner import Outcome, Plan, Step, TrialError, run
from orrery.measure.scenario import Scenario


@dataclass(frozen=True)
class Side(Scenario):
    kind: ClassVar[str] = "side"

    of: str


A, B, C = Side("a"), Side("b"), Side("c")
Values = Callable[[int], float]


def steady(number: int) -> float:
    return 10.0


def restless(number: int) -> float:
    return 10.0 if number % 2 else 20.0


class Bench:
    """A subject whose trials last 2 s; `faults` says which call of `trial` fails, by scenario."""

    def __init__(self, **values: Values) -> None:
        self.values = {side: values.get(side, steady) for side in "abc"}
        self.now = 0.0
        self.calls: list[str] = []
        self.counts = dict.fromkeys("abc", 0)
        self.faults: dict[tuple[str, int], BaseException] = {}
        self.absent: dict[str, str] = {}
        self.unready: dict[str, list[OrreryError | None]] = {}
        self.mtu: Any = 1500

    def clock(self) -> float:
        return self.now

    def missing(self, scenario: Side) -> str:
        return self.absent.get(scenario.of, "")

    def prepare(self, scenario: Side) -> None:
        self.calls.append(f"prepare {scenario.of}")
        errors = self.unready.get(scenario.of, [])
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    def trial(self, scenario: Side) -> Mapping[str, float]:
        side = scenario.of
        self.counts[side] += 1
        self.calls.append(side)
        self.now += 2.0
        fault = self.faults.get((side, self.counts[side]))
        if fault is not None:
            raise fault
        return {"rate": self.values[side](self.counts[side]), "cpu": 1.0}

    def mend(self, scenario: Side, error: OrreryError) -> None:
        self.calls.append(f"mend {scenario.of}: {error}")

    def conditions(self, scenario: Side) -> Mapping[str, Any]:
        if isinstance(self.mtu, OrreryError):
            raise self.mtu
        return {"mtu": self.mtu}

    def trials(self) -> str:
        return "".join(call for call in self.calls if len(call) == 1)


def plan(*scenarios: Side, groups: tuple[tuple[str, ...], ...] = (), **options: Any) -> Plan[Side]:
    primary = {one.name: "rate" for one in scenarios}
    return Plan(scenarios, groups, primary, **options)


def measure(
    asked: Plan[Side], bench: Bench, path: Path, steps: list[Step] | None = None
) -> Outcome[Side]:
    seen: list[Step] = [] if steps is None else steps
    header = {"plan": asked.fingerprint()}
    opened = Journal.resume(path, header) if path.exists() else Journal.create(path, header)
    with opened as journal:
        return run(asked, bench, journal, seen.append, clock=bench.clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_scenarios_take_turns_and_every_second_block_goes_backwards(path: Path) -> None:
    bench = Bench()
    found = measure(plan(A, B, C), bench, path)
    assert bench.calls[:3] == ["prepare a", "prepare b", "prepare c"]
    assert bench.trials() == "abccbaabccbaabc"
    assert {name: sorted(trials) for name, trials in found.trials.items()} == {
        one.name: [1, 2, 3, 4, 5] for one in (A, B, C)
    }
    assert (found.seconds, found.growth_trials, found.growth_s) == (30.0, 0, 0.0)
    assert found.conditions == {one.name: {"mtu": 1500} for one in (A, B, C)}


def test_steps_say_what_comes_and_how_long_it_takes(path: Path) -> None:
    steps: list[Step] = []
    measure(plan(A, B), Bench(), path, steps)
    assert steps[0] == Step("prepare", A.name, 0, 0, 2, None)
    assert steps[2] == Step("trial", A.name, 1, 0, 10, None)
    assert steps[3] == Step("trial", B.name, 1, 1, 10, 18.0)
    assert steps[-1] == Step("trial", B.name, 5, 9, 10, 2.0)


def test_a_restless_scenario_grows_with_its_whole_group_up_to_the_bound(path: Path) -> None:
    bench = Bench(b=restless)
    steps: list[Step] = []
    asked = plan(A, B, C, groups=((A.name, B.name),), most_trials=8)
    found = measure(asked, bench, path, steps)
    assert bench.trials()[15:] == "baabba"
    assert [step.phase for step in steps][-6:] == ["growth"] * 6
    assert (steps[-2].done, steps[-2].total, steps[-2].left_s) == (19, 21, 4.0)
    assert (found.growth_trials, found.growth_s) == (6, 12.0)
    rows = {row.scenario: row for row in found.rows({"rate": "1/s"}) if row.metric == "rate"}
    assert (rows[A.name].stable, len(rows[A.name].trials), rows[A.name].unit) == (True, 8, "1/s")
    assert (rows[B.name].stable, len(rows[C.name].trials)) == (False, 5)


def test_growth_ends_where_the_figure_has_come_to_rest(path: Path) -> None:
    bench = Bench(a=lambda number: 20.0 if number in (1, 2) else 10.0)
    found = measure(plan(A, most_trials=20), bench, path)
    assert len(found.trials[A.name]) == 9
    assert found.rows({})[0].stable


def test_groups_that_share_a_scenario_grow_together() -> None:
    asked = plan(A, B, C, groups=((A.name, B.name), (B.name, C.name)))
    assert asked.together({A.name}) == {A.name, B.name, C.name}
    assert plan(A, B).together({A.name}) == {A.name}


def test_a_scenario_that_cannot_run_here_is_skipped_with_the_reason(path: Path) -> None:
    bench = Bench()
    bench.absent = {"b": "there is no /dev/vhost-net"}
    found = measure(plan(A, B), bench, path)
    assert found.skipped == ({"scenario": B.name, "reason": "there is no /dev/vhost-net"},)
    assert "b" not in bench.trials()
    assert "prepare b" not in bench.calls


@pytest.mark.parametrize("error", [TrialError("no packet arrived"), GuestError("guest a is gone")])
def test_a_lost_trial_is_dropped_and_said_and_made_up_for_later(
    path: Path, error: OrreryError
) -> None:
    bench = Bench()
    bench.faults = {("a", 2): error}
    found = measure(plan(A, B), bench, path)
    assert found.dropped == ({"scenario": A.name, "block": 2, "reason": str(error)},)
    assert f"mend a: {error}" in bench.calls
    assert bench.calls[bench.calls.index(f"mend a: {error}") + 1] == "prepare a"
    assert sorted(found.trials[A.name]) == [1, 3, 4, 5, 6]
    assert not found.failed


def test_a_scenario_that_loses_trials_in_a_row_is_given_up_and_the_rest_goes_on(path: Path) -> None:
    bench = Bench()
    bench.faults = {("a", number): TrialError(f"loss {number}") for number in (2, 4, 5, 6)}
    found = measure(plan(A, B, groups=((A.name, B.name),)), bench, path)
    assert len(found.dropped) == 4
    reason = "given up after 3 lost trials in a row: loss 6"
    assert found.failed == ({"scenario": A.name, "reason": reason},)
    assert bench.counts["a"] == 6
    rows = found.rows({})
    kept = next(row for row in rows if row.scenario == A.name)
    assert (len(kept.trials), kept.stable, kept.reason) == (2, False, reason)
    assert next(row for row in rows if row.scenario == B.name).stable
    assert "mend a: loss 6" in bench.calls


def test_what_cannot_be_prepared_even_after_mending_fails(path: Path) -> None:
    bench = Bench()
    bench.unready = {"a": [GuestError("no boot")], "b": [GuestError("x"), GuestError("no boot")]}
    found = measure(plan(A, B), bench, path)
    assert len(found.trials[A.name]) == 5
    assert found.failed == (
        {
            "scenario": B.name,
            "reason": "it could not be made ready again: no boot (before: x)",
        },
    )
    assert B.name not in found.trials


def test_what_dies_and_cannot_be_mended_keeps_its_trials(path: Path) -> None:
    bench = Bench()
    bench.faults = {("a", 3): TrialError("gone")}
    bench.unready = {"a": [None, GuestError("no boot")]}
    found = measure(plan(A, B), bench, path)
    assert sorted(found.trials[A.name]) == [1, 2]
    assert found.failed[0]["reason"] == "it could not be made ready again: no boot (before: gone)"
    assert len(found.trials[B.name]) == 5


@pytest.mark.parametrize(
    ("value", "metric", "message"),
    [(float("nan"), "rate", "the trial gave nan as rate"), (1.0, "x", "the trial gave no x")],
)
def test_a_trial_without_a_figure_is_no_trial(
    path: Path, value: float, metric: str, message: str
) -> None:
    asked = Plan((A,), (), {A.name: metric})
    found = measure(asked, Bench(a=lambda _: value), path)
    assert found.trials == {}
    assert found.dropped[0]["reason"] == message


def test_conditions_that_cannot_be_read_are_said_and_asked_for_again(path: Path) -> None:
    bench = Bench()
    bench.mtu = GuestError("no answer")
    found = measure(plan(A), bench, path)
    assert found.conditions == {A.name: {"unknown": "no answer"}}


def test_ctrl_c_keeps_what_is_finished_and_a_resumed_run_goes_on_there(path: Path) -> None:
    asked = plan(A, B, C, groups=((A.name, B.name, C.name),), most_trials=7)
    whole = measure(asked, Bench(b=restless), path.with_name("other"))
    bench = Bench(b=restless)
    for stop in ("c", 1), ("b", 5), ("a", 6):
        bench.faults = {stop: KeyboardInterrupt()}
        with pytest.raises(KeyboardInterrupt):
            measure(asked, bench, path)
        bench.counts[stop[0]] -= 1
        bench.calls.clear()
        bench.faults = {}
    found = measure(asked, bench, path)
    assert found.trials == whole.trials
    assert found.growth_trials == whole.growth_trials == 6
    assert found.seconds == whole.seconds == 42.0
    assert bench.trials() == "aabc"
    again = measure(asked, bench, path)
    assert again.trials == whole.trials
    assert bench.trials() == "aabc"


def test_a_resumed_run_prepares_only_what_is_left(path: Path) -> None:
    bench = Bench()
    bench.faults = {("b", 5): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        measure(plan(A, B), bench, path)
    bench.calls.clear()
    steps: list[Step] = []
    found = measure(plan(A, B), bench, path, steps)
    assert bench.calls == ["prepare b", "b"]
    assert (steps[-1].done, steps[-1].total, steps[-1].left_s) == (9, 10, 2.0)
    assert found.conditions[A.name] == {"mtu": 1500}


def test_dropped_trials_survive_a_resume_and_what_was_given_up_gets_another_chance(
    path: Path,
) -> None:
    bench = Bench()
    bench.faults = {("a", number): TrialError("x") for number in (1, 2, 3)}
    bench.faults["b", 5] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        measure(plan(A, B), bench, path)
    found = measure(plan(A, B), bench, path)
    assert [drop["block"] for drop in found.dropped] == [1, 2, 3]
    assert not found.failed
    assert sorted(found.trials[A.name]) == [4, 5, 6, 7, 8]


def test_several_plans_share_a_journal_and_keep_apart(path: Path) -> None:
    bench, steps = Bench(a=restless), list[Step]()
    bench.faults = {("a", 2): TrialError("x"), ("b", 3): KeyboardInterrupt()}
    header = {"suite": "s"}
    with Journal.create(path, header) as journal:
        first = run(plan(A), bench, journal, steps.append, clock=bench.clock)
        with pytest.raises(KeyboardInterrupt):
            run(plan(B), bench, journal, steps.append, clock=bench.clock)
    assert steps[-1] == Step("trial", B.name, 3, 2, 5, 6.0)
    with Journal.resume(path, header) as journal:
        again = run(plan(A), bench, journal, steps.append, clock=bench.clock)
        second = run(plan(B), bench, journal, steps.append, clock=bench.clock)
    assert (again.trials, again.dropped) == (first.trials, first.dropped)
    assert (list(second.trials), second.dropped, second.growth_trials) == ([B.name], (), 0)
    assert (second.seconds, list(second.conditions)) == (10.0, [B.name])


def test_conditions_that_changed_between_two_parts_are_not_known(path: Path) -> None:
    bench = Bench()
    bench.faults = {("b", 5): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        measure(plan(A, B), bench, path)
    bench.mtu = 9000
    found = measure(plan(A, B), bench, path)
    text = "before the run was resumed {'mtu': 1500}, after it {'mtu': 9000}"
    assert found.conditions[B.name] == {"unknown": text}
    (ratio,) = found.ratios([(A.name, B.name, "rate")], lambda one, other: one == other)
    assert ratio.equal_offloads is None


def test_ratios_pair_the_blocks_in_which_both_have_a_trial(path: Path) -> None:
    bench = Bench(a=lambda number: 20.0 * number, b=lambda number: 10.0 * number)
    bench.faults = {("a", 2): TrialError("x")}
    asked = plan(A, B, C, groups=((A.name, B.name),), spread_limit=9.0)
    bench.absent = {"c": "not here"}
    found = measure(asked, bench, path)
    pairs = [(A.name, B.name, "rate"), (A.name, C.name, "rate"), (A.name, B.name, "unheard")]
    (ratio,) = found.ratios(pairs, lambda one, other: one != other)
    assert (ratio.a, ratio.b, ratio.metric, ratio.pairs) == (A.name, B.name, "rate", 5)
    assert (ratio.ratio, ratio.shown) == (2.0, True)
    assert (ratio.equal_offloads, ratio.why) == (False, "offloads differ")


def test_rows_list_the_primary_metric_unless_told_otherwise(path: Path) -> None:
    found = measure(plan(A), Bench(), path)
    assert [(row.metric, row.listed) for row in found.rows({})] == [("rate", True), ("cpu", False)]
    rows = found.rows({}, lambda scenario, metric: metric == "cpu" and scenario is A)
    assert [row.listed for row in rows] == [False, True]
    assert rows[0].parameters == {"of": "a"}


def test_a_full_disk_stops_the_run_and_a_resume_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.faults = {("b", 3): MeasurementError("stand-in")}
    written: list[Any] = []
    real = Journal.append

    def full(journal: Journal, entry: Mapping[str, Any]) -> None:
        if len(written) == 4:
            raise MeasurementError("the disk is full")
        written.append(entry)
        real(journal, entry)

    monkeypatch.setattr(Journal, "append", full)
    with pytest.raises(MeasurementError, match="the disk is full"):
        measure(plan(A, B), bench, path)
    monkeypatch.setattr(Journal, "append", real)
    assert len(measure(plan(A, B), Bench(), path).trials[B.name]) == 5


@pytest.mark.parametrize(
    ("scenarios", "options", "message"),
    [
        ((A, A), {}, "a scenario is there twice"),
        ((A,), {"groups": (("x",),)}, "groups name scenarios that are not there: ['x']"),
        ((A,), {"trials": 10}, "trials is 10; 1 to 9 are needed"),
        ((A,), {"losses": 0}, "losses is 0; 1 or more are needed"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(
    scenarios: tuple[Side, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        plan(*scenarios, **options)
    assert str(error.value) == f"plan: {message}"


def test_equal_plans_have_equal_fingerprints_and_others_do_not() -> None:
    assert plan(A, B).fingerprint() == plan(A, B).fingerprint()
    others = [plan(B, A), plan(A), plan(A, B, trials=6), plan(A, B, groups=((A.name,),))]
    assert plan(A, B).fingerprint() not in {one.fingerprint() for one in others}
