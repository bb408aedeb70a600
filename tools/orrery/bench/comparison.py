"""A whole suite: its groups one after the other, what came out, and the record of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orrery.bench.estimate import whole_s
from orrery.bench.subject import Bench, equal_offloads
from orrery.bench.suite import Group, Suite, SuiteScenario
from orrery.measure import journal as journals
from orrery.measure import record as records
from orrery.measure import runner
from orrery.measure.host import Host
from orrery.measure.journal import Journal
from orrery.measure.plan import Outcome, Plan
from orrery.measure.record import Ratio, Record, Row
from orrery.measure.runner import Step
from orrery.network import traffic
from orrery.network.scenario import NetScenario

Progress = Callable[["Where"], object]


@dataclass(frozen=True)
class Where:
    """How far a suite has come.

    Attributes:
        title: Of the group.
        scenario: That is next.
        done, total: Trials; what the noise guard may add does not count.
        left_s: Time that is left, as far as it can be told [s].
    """

    title: str
    scenario: NetScenario
    step: Step
    done: int
    total: int
    left_s: float


def plan(suite: Suite, group: Group) -> Plan[NetScenario]:
    """The plan of one group: what is compared grows together."""
    pairs = tuple((one.name, other.name) for one, other in group.ratios)
    return Plan(
        scenarios=group.scenarios,
        groups=pairs,
        primary={one.name: traffic.primary(one.traffic) for one in group.scenarios},
        trials=suite.trials,
        most_trials=suite.most_trials,
        spread_limit=suite.spread,
    )


def header(suite: Suite) -> dict[str, str]:
    """What a journal of this suite on this host begins with."""
    plans = [plan(suite, group).fingerprint() for group in suite.groups]
    fingerprint = hashlib.sha256(json.dumps(plans).encode()).hexdigest()[:16]
    return {"suite": suite.name, **journals.header(fingerprint)}


def measure(
    suite: Suite, bench: Bench, journal: Journal, progress: Progress
) -> list[Outcome[NetScenario]]:
    """Measure group by group; within a group scenarios take turns.

    Raises:
        MeasurementError: The journal cannot be written.
    """
    possible = [
        tuple(one for one in group.scenarios if not bench.missing(one)) for group in suite.groups
    ]
    clock = _Clock(possible, suite.trials)
    outcomes = []
    for number, group in enumerate(suite.groups):
        bench.keep(possible[number])
        names = {one.name: one for one in group.scenarios}

        def tell(
            step: Step,
            number: int = number,
            title: str = group.title,
            names: Mapping[str, NetScenario] = names,
        ) -> None:
            progress(clock.where(number, title, names[step.scenario], step))

        outcomes.append(runner.run(plan(suite, group), bench, journal, tell))
    return outcomes


class _Clock:
    """Adds up the groups of a suite: how far it has come, and what is left of it."""

    def __init__(self, groups: Sequence[Sequence[NetScenario]], trials: int) -> None:
        """Describe it.

        Args:
            groups: Scenarios that can run here.
            trials: Of each.
        """
        self._sizes = [len(one) * trials for one in groups]
        self._seconds = [whole_s(one, trials) for one in groups]

    def where(self, number: int, title: str, scenario: NetScenario, step: Step) -> Where:
        """Where a step of a group is in the whole."""
        before = sum(self._sizes[:number])
        inside = {"prepare": 0, "trial": step.done, "growth": self._sizes[number]}[step.phase]
        here_s = step.left_s if step.left_s is not None else self._seconds[number]
        left_s = here_s + sum(self._seconds[number + 1 :])
        return Where(title, scenario, step, before + inside, sum(self._sizes), left_s)


def record(
    suite: Suite,
    outcomes: list[Outcome[NetScenario]],
    *,
    started: str,
    host: Host,
    accel: str,
    versions: Mapping[str, str],
    resumed: bool = False,
    asked_as: str = "",
) -> Record:
    """The record of a suite.

    Args:
        suite: What was measured.
        outcomes: Of its groups.
        started: When, as `record.begin` says it.
        host: As it was before.
        accel: What ran the guests.
        versions: By program.
        resumed: Whether it was broken off in between; `started` is then when it went on.
        asked_as: Path of a suite of the user's own; empty for one that came along.

    Raises:
        MeasurementError: A figure is none.
    """
    rows: list[Row] = []
    ratios: list[Ratio] = []
    for group, outcome in zip(suite.groups, outcomes, strict=True):
        units = traffic.UNITS[group.scenarios[0].traffic]

        def listed(scenario: NetScenario, metric: str, group: Group = group) -> bool:
            return metric in metrics_of(group, scenario)

        rows += outcome.rows(units, listed)
        pairs = [
            (one.name, other.name, metric)
            for one, other in group.ratios
            for metric in metrics_of(group, one)
        ]
        ratios += outcome.ratios(pairs, equal_offloads)
    asked = SuiteScenario(suite.name, suite.trials, suite.most_trials, suite.spread)
    made = records.make(
        asked,
        rows,
        {},
        started=started,
        versions=versions,
        accel=accel,
        host=host,
        ratios=ratios,
        scenarios=suite.scenarios,
        conditions={name: one for found in outcomes for name, one in found.conditions.items()},
        skipped=[one for found in outcomes for one in found.skipped],
        dropped=[one for found in outcomes for one in found.dropped],
        failed=[one for found in outcomes for one in found.failed],
    )
    summary = {**_summary(made, suite, outcomes), "resumed": resumed}
    if asked_as:
        summary["asked_as"] = asked_as
    return dataclasses.replace(made, summary=summary)


def metrics_of(group: Group, scenario: NetScenario) -> tuple[str, ...]:
    """The metrics of a scenario that are listed."""
    return group.metrics or (traffic.primary(scenario.traffic),)


def listed(made: Record) -> dict[str, Any]:
    """Rows and ratios as `bench --json` has them."""
    rows = [row for row in made.rows if row.listed]
    return {
        "rows": [
            {key: value for key, value in row.as_mapping().items() if key != "listed"}
            for row in rows
        ],
        "ratios": [asdict(ratio) for ratio in made.ratios],
    }


def _summary(made: Record, suite: Suite, outcomes: list[Outcome[NetScenario]]) -> dict[str, Any]:
    rows = [row for row in made.rows if row.listed]
    seconds = sum(one.seconds for one in outcomes)
    growth_s = sum(one.growth_s for one in outcomes)
    return {
        "suite": suite.name,
        "about": suite.about,
        "row_count": len(rows),
        "unstable": sum(not row.stable for row in rows),
        "skipped": len(made.skipped),
        "dropped": len(made.dropped),
        "failed": len(made.failed),
        "seconds": round(seconds - growth_s, 1),
        "growth_trials": sum(one.growth_trials for one in outcomes),
        "growth_s": round(growth_s, 1),
    }
