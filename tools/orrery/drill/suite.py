"""Suites of drills: files that list scenarios by their parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orrery.drill import felt
from orrery.drill.scenario import DrillScenario
from orrery.errors import ConfigurationError
from orrery.measure import parameters
from orrery.measure.scenario import Scenario
from orrery.measure.shelf import Shelf

SHELF = Shelf("orrery.drill", "drill")
MOVES = 10
METRICS = ("qemu_downtime", "guest_gap", "network_gap", "lost_packets")
"""What a table shows where a group does not say."""


@dataclass(frozen=True)
class Group:
    """Scenarios on one guest, which take turns.

    Attributes:
        title: What they have in common, for people.
        metrics: That are listed.
    """

    title: str
    scenarios: tuple[DrillScenario, ...]
    metrics: tuple[str, ...] = METRICS


@dataclass(frozen=True)
class Suite:
    """A whole drill.

    Attributes:
        moves: Of each scenario.
    """

    name: str
    about: str
    groups: tuple[Group, ...]
    moves: int = MOVES

    @property
    def scenarios(self) -> tuple[DrillScenario, ...]:
        """All scenarios, in the order of the file."""
        return tuple(one for group in self.groups for one in group.scenarios)


@dataclass(frozen=True)
class SuiteScenario(Scenario):
    """What a record of a whole suite says that was asked for."""

    kind: ClassVar[str] = "drill"

    suite: str
    moves: int


def with_moves(suite: Suite, moves: int) -> Suite:
    """The same with another number of moves."""
    return dataclasses.replace(suite, moves=moves)


def names() -> list[str]:
    """Suites that come along, the standard one first."""
    return SHELF.names()


def load(name: str) -> Suite:
    """A suite by its name, or from a file.

    Raises:
        ConfigurationError: There is none, or something in it is wrong.
    """
    return parse(*SHELF.find(name))


def parse(text: str, name: str) -> Suite:
    """Read the text of a suite.

    Raises:
        ConfigurationError: The place that is wrong, and why.
    """
    data = SHELF.read(text, name)
    suite = Suite(
        name=name,
        about=" ".join(data["about"].split()),
        groups=tuple(part for entry in data["groups"] for part in _parts(_group(name, entry))),
        moves=data.get("moves", MOVES),
    )
    known: set[str] = set()
    for scenario in suite.scenarios:
        if scenario.name in known:
            raise ConfigurationError(f"drill {name}: '{scenario.name}' is there twice")
        known.add(scenario.name)
    return suite


def _group(suite: str, entry: Mapping[str, Any]) -> Group:
    where = f"drill {suite}, group '{entry['title']}'"
    scenarios = tuple(
        _scenario({**entry["with"], **crossed, **variant}, where)
        for crossed in parameters.crossed(entry.get("each", {}))
        for variant in entry.get("variants", [{}])
    )
    metrics = tuple(entry.get("metrics", METRICS))
    for metric in metrics:
        if metric not in felt.UNITS:
            raise ConfigurationError(
                f"{where}: there is no metric '{metric}'. Known: {', '.join(felt.UNITS)}"
            )
    return Group(entry["title"], scenarios, metrics)


def _parts(group: Group) -> list[Group]:
    """A group for each guest: scenarios take turns where that costs no start of another one."""
    found: dict[tuple[object, ...], list[DrillScenario]] = {}
    for scenario in group.scenarios:
        found.setdefault(scenario.guest, []).append(scenario)
    return [dataclasses.replace(group, scenarios=tuple(one)) for one in found.values()]


def _scenario(values: Mapping[str, Any], where: str) -> DrillScenario:
    scenario = DrillScenario(**parameters.typed(DrillScenario, values, where))
    scenario.check()
    return scenario
