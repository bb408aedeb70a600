"""What a run is to do, and what it has found. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from orrery.errors import ConfigurationError
from orrery.measure import stats
from orrery.measure.rows import Drop, Left, Ratio, Row
from orrery.measure.scenario import Scenario

UNKNOWN = "unknown"
"""Key of conditions that could not be read; its value is why."""

S_co = TypeVar("S_co", bound=Scenario, covariant=True)
Trials = Mapping[int, Mapping[str, float]]
"""By block, from 1: the value of each metric."""


@dataclass(frozen=True)
class Plan(Generic[S_co]):
    """Scenarios that are measured by turns.

    Attributes:
        groups: Names of scenarios that grow together, as they are compared.
        primary: The metric of each scenario whose spread counts.
        trials: Of each scenario.
        most_trials: Up to which a scenario grows that spreads too much.
        spread_limit: Distance of the quartiles that is too much, as a share of the median.
        losses: Dropped trials in a row after which a scenario is given up.
    """

    scenarios: tuple[S_co, ...]
    groups: tuple[tuple[str, ...], ...]
    primary: Mapping[str, str]
    trials: int = stats.TRIALS_NEEDED
    most_trials: int = 9
    spread_limit: float = stats.TOLERANCE
    losses: int = 3

    def __post_init__(self) -> None:
        names = [one.name for one in self.scenarios]
        strangers = {name for group in self.groups for name in group} - set(names)
        for wrong, why in (
            (len(set(names)) != len(names), "a scenario is there twice"),
            (strangers, f"groups name scenarios that are not there: {sorted(strangers)}"),
            (set(names) - set(self.primary), "a scenario has no primary metric"),
            (
                not 1 <= self.trials <= self.most_trials,
                f"trials is {self.trials}; 1 to {self.most_trials} are needed",
            ),
            (self.losses < 1, f"losses is {self.losses}; 1 or more are needed"),
        ):
            if wrong:
                raise ConfigurationError(f"plan: {why}")

    def fingerprint(self) -> str:
        """The same for equal plans and no others; a journal is bound to it."""
        content = [
            [one.name for one in self.scenarios],
            self.groups,
            dict(self.primary),
            [self.trials, self.most_trials, self.spread_limit, self.losses],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def together(self, names: set[str]) -> set[str]:
        """These scenarios, and all that any group joins with them."""
        found, before = set(names), set[str]()
        while found != before:
            before = set(found)
            found.update(*(group for group in self.groups if found.intersection(group)))
        return found


@dataclass(frozen=True)
class Outcome(Generic[S_co]):
    """What a run has found.

    Attributes:
        trials: By the name of the scenario.
        conditions: As read back, by the name of the scenario.
        skipped: Scenarios that cannot run here.
        dropped: Trials that gave no figure.
        failed: Scenarios that were given up; what they had finished is in `trials`.
        growth_trials: Trials that the noise guard added.
        growth_s: Their time [s].
        seconds: Time of the whole run, parts before an interruption included [s].
    """

    plan: Plan[S_co]
    trials: Mapping[str, Trials] = field(default_factory=dict)
    conditions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: tuple[Left, ...] = ()
    dropped: tuple[Drop, ...] = ()
    failed: tuple[Left, ...] = ()
    growth_trials: int = 0
    growth_s: float = 0.0
    seconds: float = 0.0

    def values(self, name: str, metric: str) -> dict[int, float]:
        """A metric of a scenario by block, in the order of the blocks."""
        blocks = self.trials.get(name, {})
        return {block: blocks[block][metric] for block in sorted(blocks) if metric in blocks[block]}

    def rows(
        self,
        units: Mapping[str, str],
        listed: Callable[[S_co, str], bool] | None = None,
    ) -> tuple[Row, ...]:
        """One row for each metric of each scenario that has a trial, in the order of the plan.

        Args:
            units: By metric.
            listed: Whether a table shows a scenario's metric; only the primary one where None.
        """
        given_up = {entry["scenario"]: entry["reason"] for entry in self.failed}
        found = []
        for scenario in self.plan.scenarios:
            name = scenario.name
            blocks = self.trials.get(name, {})
            for metric in dict.fromkeys(key for block in sorted(blocks) for key in blocks[block]):
                shown = listed(scenario, metric) if listed else metric == self.plan.primary[name]
                row = Row.of(
                    scenario,
                    metric,
                    units.get(metric, ""),
                    list(self.values(name, metric).values()),
                    tolerance=self.plan.spread_limit,
                    listed=shown,
                )
                if name in given_up:
                    row = dataclasses.replace(row, stable=False, reason=given_up[name])
                found.append(row)
        return tuple(found)

    def ratios(
        self,
        pairs: Sequence[tuple[str, str, str]],
        equal: Callable[[Mapping[str, Any], Mapping[str, Any]], bool | None],
    ) -> tuple[Ratio, ...]:
        """The ratio of each pair (name of a, name of its reference b, metric), paired by block.

        Blocks in which both have a trial count, and the reference is not zero. A pair without such
        a block has no ratio. `equal` says of the conditions of a and b whether their offloads are
        equal; it is not asked where conditions are not known.
        """
        found = []
        for a, b, metric in pairs:
            above, below = self.values(a, metric), self.values(b, metric)
            blocks = [block for block in above if below.get(block, 0.0) != 0.0]
            if not blocks:
                continue
            paired = stats.paired_ratio(
                [above[block] for block in blocks], [below[block] for block in blocks]
            )
            found.append(Ratio.of(a, b, metric, paired, self._equal(a, b, equal)))
        return tuple(found)

    def _equal(
        self,
        a: str,
        b: str,
        equal: Callable[[Mapping[str, Any], Mapping[str, Any]], bool | None],
    ) -> bool | None:
        one, other = self.conditions.get(a), self.conditions.get(b)
        if one is None or other is None or UNKNOWN in one or UNKNOWN in other:
            return None
        return equal(one, other)
