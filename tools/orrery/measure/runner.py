"""Runs a plan: scenarios by turns, block after block, more blocks where a figure is restless.

Knows nothing of what is measured. The clock is handed in; the only file is the journal.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from orrery.errors import MeasurementError, OrreryError
from orrery.measure import stats
from orrery.measure.journal import CONDITIONS, DROP, TRIAL, Journal
from orrery.measure.plan import UNKNOWN, Outcome, Plan
from orrery.measure.rows import Drop, Left
from orrery.measure.scenario import Scenario

__all__ = ["Journal", "Outcome", "Plan", "Step", "Subject", "TrialError", "run"]

S = TypeVar("S", bound=Scenario)
S_contra = TypeVar("S_contra", bound=Scenario, contravariant=True)
Phase = Literal["prepare", "trial", "growth"]


class TrialError(MeasurementError):
    """A trial gave no figure: it is dropped, and said."""


class Subject(Protocol[S_contra]):
    """What is measured. Any `OrreryError` of `trial` drops the trial."""

    def missing(self, scenario: S_contra) -> str:
        """Why it cannot run here; empty where it can."""

    def prepare(self, scenario: S_contra) -> None:
        """Have everything for it, and warm up; called again after `mend`."""

    def trial(self, scenario: S_contra) -> Mapping[str, float]:
        """The value of each metric.

        Raises:
            TrialError: There is no figure.
        """

    def mend(self, scenario: S_contra, error: OrreryError) -> None:
        """Repair what died, also for the others."""

    def conditions(self, scenario: S_contra) -> Mapping[str, Any]:
        """Offloads and the like, as read back; asked after the first trial."""


@dataclass(frozen=True)
class Step:
    """What happens next.

    Attributes:
        scenario: Its name.
        block: From 1; 0 while preparing.
        done: Steps of the phase that are over; of trials, all that were tried.
        total: All of them, as far as known: blocks that are added later do not count.
        left_s: Time that these trials need [s]; None before the first one is finished.
    """

    phase: Phase
    scenario: str
    block: int
    done: int
    total: int
    left_s: float | None


def run(
    plan: Plan[S],
    subject: Subject[S],
    journal: Journal,
    progress: Callable[[Step], object],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome[S]:
    """Run a plan, or what the journal says is left of it.

    Within a block every scenario has one trial; every second block goes backwards, so that what
    drifts meets all alike. After `plan.trials` blocks those whose primary metric is not stable get
    more, together with what they are compared with, up to `plan.most_trials` blocks.

    Ctrl-C goes on up; the journal then has all finished trials.

    Raises:
        MeasurementError: The journal cannot be written.
    """
    return _Run(plan, subject, journal, progress, clock).go()


class _Run(Generic[S]):
    """State of one run."""

    def __init__(
        self,
        plan: Plan[S],
        subject: Subject[S],
        journal: Journal,
        progress: Callable[[Step], object],
        clock: Callable[[], float],
    ) -> None:
        self.plan, self.subject, self.journal = plan, subject, journal
        self.progress, self.clock = progress, clock
        self.trials: dict[str, dict[int, Mapping[str, float]]] = {}
        self.conditions: dict[str, Mapping[str, Any]] = {}
        self.skipped: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.dropped: list[Drop] = []
        self.seconds: dict[tuple[str, int], float] = {}
        self.ready: set[str] = set()
        self.read: set[str] = set()
        self.losses: Counter[str] = Counter()

    def go(self) -> Outcome[S]:
        began = self.clock()
        self._replay()
        before = sum(self.seconds.values())
        for scenario in self.plan.scenarios:
            reason = self.subject.missing(scenario)
            if reason:
                self.skipped[scenario.name] = reason
        base = range(1, self.plan.trials + 1)
        self._prepare([one for one in self._alive() if self._open([one], base)])
        for block in base:
            self._block("trial", block, self._alive(), base)
        for block in range(self.plan.trials + 1, self.plan.most_trials + 1):
            growing = self._growing(block)
            if not growing:
                break
            self._block("growth", block, growing, range(block, block + 1))
        return self._outcome(before + self.clock() - began)

    def _replay(self) -> None:
        """Take over what a run before this one has finished. What it gave up is tried again.

        A journal may hold several plans, one after the other: what is of others stays out.
        """
        own = {one.name for one in self.plan.scenarios}
        for entry in self.journal.entries:
            name = entry["scenario"]
            if name not in own:
                continue
            if entry["what"] == CONDITIONS:
                self.conditions[name] = entry["conditions"]
                continue
            self.seconds[name, entry["block"]] = entry["seconds"]
            if entry["what"] == TRIAL:
                self.trials.setdefault(name, {})[entry["block"]] = entry["values"]
            else:
                self.dropped.append(
                    Drop(scenario=name, block=entry["block"], reason=entry["reason"])
                )

    def _alive(self) -> list[S]:
        gone = self.skipped.keys() | self.failed.keys()
        return [one for one in self.plan.scenarios if one.name not in gone]

    def _open(self, scenarios: list[S], blocks: range) -> list[str]:
        """The name of a scenario for each trial of it that was not tried yet."""
        return [
            one.name
            for one in scenarios
            for block in blocks
            if (one.name, block) not in self.seconds and one.name not in self.failed
        ]

    def _prepare(self, scenarios: list[S]) -> None:
        for number, scenario in enumerate(scenarios):
            step = Step("prepare", scenario.name, 0, number, len(scenarios), self._left([]))
            self.progress(step)
            self.ready.add(scenario.name)
            try:
                self.subject.prepare(scenario)
            except OrreryError as error:
                self._mend(scenario, error)

    def _mend(self, scenario: S, error: OrreryError) -> None:
        try:
            self.subject.mend(scenario, error)
            if scenario.name not in self.failed:
                self.subject.prepare(scenario)
        except OrreryError as again:
            self.failed.setdefault(
                scenario.name, f"it could not be made ready again: {again} (before: {error})"
            )

    def _block(self, phase: Phase, block: int, scenarios: list[S], blocks: range) -> None:
        """One trial of each that has none in this block; `blocks` are those of the phase."""
        for scenario in scenarios if block % 2 else reversed(scenarios):
            name = scenario.name
            if name in self.failed or (name, block) in self.seconds:
                continue
            if name not in self.ready:
                self._prepare([scenario])
                if name in self.failed:
                    continue
            open_ = self._open(scenarios, blocks)
            done = len(self.seconds)
            total = done + len(open_)
            self.progress(Step(phase, name, block, done, total, self._left(open_)))
            self._trial(scenario, block)

    def _trial(self, scenario: S, block: int) -> None:
        began = self.clock()
        try:
            values = self._checked(scenario, self.subject.trial(scenario))
        except OrreryError as error:
            self._drop(scenario, block, self.clock() - began, error)
            return
        entry = {"what": TRIAL, "scenario": scenario.name, "block": block}
        seconds = self.clock() - began
        self.journal.append({**entry, "seconds": seconds, "values": values})
        self.seconds[scenario.name, block] = seconds
        self.trials.setdefault(scenario.name, {})[block] = values
        self.losses[scenario.name] = 0
        self._look(scenario)

    def _checked(self, scenario: S, values: Mapping[str, float]) -> dict[str, float]:
        primary = self.plan.primary[scenario.name]
        if primary not in values:
            raise TrialError(f"the trial gave no {primary}")
        for metric, value in values.items():
            if not math.isfinite(value):
                raise TrialError(f"the trial gave {value} as {metric}")
        return {metric: float(value) for metric, value in values.items()}

    def _drop(self, scenario: S, block: int, seconds: float, error: OrreryError) -> None:
        name, reason = scenario.name, str(error) or type(error).__name__
        entry = {"what": DROP, "scenario": name, "block": block}
        self.journal.append({**entry, "seconds": seconds, "reason": reason})
        self.seconds[name, block] = seconds
        self.dropped.append(Drop(scenario=name, block=block, reason=reason))
        self.losses[name] += 1
        if self.losses[name] >= self.plan.losses:
            self.failed[name] = f"given up after {self.losses[name]} lost trials in a row: {reason}"
        # Also where it is given up: what died may be what the others stand on.
        self._mend(scenario, error)

    def _look(self, scenario: S) -> None:
        """Read conditions back, once in a run; where that fails, again after the next trial."""
        name = scenario.name
        if name in self.read:
            return
        known = self.conditions.get(name)
        try:
            found = dict(self.subject.conditions(scenario))
        except OrreryError as error:
            self.conditions[name] = {UNKNOWN: str(error)}
            return
        self.read.add(name)
        if known is not None and UNKNOWN not in known and known != found:
            found = {UNKNOWN: f"before the run was resumed {dict(known)}, after it {found}"}
        self.journal.append({"what": CONDITIONS, "scenario": name, "conditions": found})
        self.conditions[name] = found

    def _growing(self, block: int) -> list[S]:
        """Who needs this block, judged by the blocks before it: so a resumed run judges alike."""
        restless = {one.name for one in self._alive() if not self._stable(one.name, block)}
        wanted = self.plan.together(restless)
        return [one for one in self._alive() if one.name in wanted]

    def _stable(self, name: str, block: int) -> bool:
        metric = self.plan.primary[name]
        before = [v[metric] for number, v in self.trials.get(name, {}).items() if number < block]
        return bool(before) and stats.stable(
            before, needed=self.plan.trials, tolerance=self.plan.spread_limit
        )

    def _left(self, names: list[str]) -> float | None:
        """What these trials will take [s], judged by those that are over."""
        if not self.seconds:
            return None
        known: dict[str, list[float]] = {}
        for (name, _), seconds in self.seconds.items():
            known.setdefault(name, []).append(seconds)
        usual = sum(self.seconds.values()) / len(self.seconds)
        means = {name: sum(found) / len(found) for name, found in known.items()}
        return sum(means.get(name, usual) for name in names)

    def _outcome(self, seconds: float) -> Outcome[S]:
        order = [one.name for one in self.plan.scenarios]
        grown = [place for place in self.seconds if place[1] > self.plan.trials]
        left = [
            tuple(Left(scenario=name, reason=found[name]) for name in order if name in found)
            for found in (self.skipped, self.failed)
        ]
        return Outcome(
            plan=self.plan,
            trials={name: dict(self.trials[name]) for name in order if name in self.trials},
            conditions=dict(self.conditions),
            skipped=left[0],
            dropped=tuple(self.dropped),
            failed=left[1],
            growth_trials=len(grown),
            growth_s=sum(self.seconds[place] for place in grown),
            seconds=seconds,
        )
