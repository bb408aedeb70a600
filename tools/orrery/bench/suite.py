"""Suites: files that list scenarios by their parameters, in groups that are compared."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from orrery.errors import ConfigurationError
from orrery.measure import parameters
from orrery.measure.scenario import Scenario
from orrery.measure.shelf import Shelf
from orrery.measure.stats import TOLERANCE, TRIALS_NEEDED
from orrery.network import traffic
from orrery.network.scenario import NetScenario

SHELF = Shelf("orrery.bench", "suite")
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Scenarios that are measured in turns.

    Attributes:
        title: What they have in common, for people.
        metrics: That are listed; empty for the main one of their traffic.
        ratios: Pairs of scenarios, each measured over its reference.
    """

    title: str
    scenarios: tuple[NetScenario, ...]
    metrics: tuple[str, ...] = ()
    ratios: tuple[tuple[NetScenario, NetScenario], ...] = ()


@dataclass(frozen=True)
class Suite:
    """A whole measurement.

    Attributes:
        trials: Of each scenario.
        most_trials: Up to which a scenario that spreads too much grows.
        spread: Distance of the quartiles of its trials that is too much, as a share of the median.
    """

    name: str
    about: str
    groups: tuple[Group, ...]
    trials: int = TRIALS_NEEDED
    most_trials: int = 9
    spread: float = TOLERANCE

    @property
    def scenarios(self) -> tuple[NetScenario, ...]:
        """All scenarios, in the order of the file."""
        return tuple(one for group in self.groups for one in group.scenarios)


def with_trials(suite: Suite, trials: int) -> Suite:
    """The same with another number of trials; it may grow by as many as before."""
    most = trials + suite.most_trials - suite.trials
    return dataclasses.replace(suite, trials=trials, most_trials=most)


@dataclass(frozen=True)
class SuiteScenario(Scenario):
    """What a record of a whole suite says that was asked for."""

    kind: ClassVar[str] = "bench"

    suite: str
    trials: int
    most_trials: int
    spread: float


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
    common = {"seconds": data["seconds"]} if "seconds" in data else {}
    groups = tuple(_group(name, entry, common) for entry in data["groups"])
    known: set[str] = set()
    for scenario in (one for group in groups for one in group.scenarios):
        if scenario.name in known:
            raise ConfigurationError(f"suite {name}: scenario '{scenario.name}' is there twice")
        known.add(scenario.name)
    options = {key: data[key] for key in ("trials", "most_trials", "spread") if key in data}
    suite = Suite(name=name, about=" ".join(data["about"].split()), groups=groups, **options)
    if suite.most_trials < suite.trials:
        return dataclasses.replace(suite, most_trials=suite.trials)
    return suite


def scenario_of(values: Values, where: str) -> NetScenario:
    """A scenario from its parameters as a file has them.

    Raises:
        ConfigurationError: A parameter is unknown, has no such value, or contradicts another.
    """
    made = _values(values, where)
    needed = [f.name for f in dataclasses.fields(NetScenario) if f.default is dataclasses.MISSING]
    lacking = [key for key in needed if key not in values]
    if lacking:
        raise ConfigurationError(f"{where}: a scenario needs {' and '.join(lacking)}")
    scenario = NetScenario(**made)
    scenario.check()
    return scenario


def _values(values: Values, where: str) -> dict[str, Any]:
    """Parameters of a file as a scenario has them."""
    return parameters.typed(NetScenario, values, where)


def _group(suite: str, entry: Values, common: Values) -> Group:
    where = f"suite {suite}, group '{entry['title']}'"
    scenarios = tuple(
        scenario_of({**common, **entry["with"], **crossed, **variant}, where)
        for crossed in parameters.crossed(entry.get("each", {}))
        for variant in entry.get("variants", [{}])
    )
    _check_metrics(where, scenarios, entry.get("metrics", ()))
    ratios = [
        pair
        for rule in entry.get("ratios", ())
        for pair in _pairs(where, scenarios, rule["of"], rule["over"])
    ]
    metrics = tuple(entry.get("metrics", ()))
    return Group(entry["title"], scenarios, metrics, tuple(dict.fromkeys(ratios)))


def _check_metrics(where: str, scenarios: tuple[NetScenario, ...], metrics: Sequence[str]) -> None:
    """Refuse metrics that no scenario of a group has, and groups of several kinds of traffic."""
    kinds = {one.traffic for one in scenarios}
    if len(kinds) > 1:
        raise ConfigurationError(
            f"{where}: its scenarios are {' and '.join(sorted(kinds))}; a group is of one kind of "
            "traffic, since its figures stand below each other"
        )
    known = traffic.UNITS[kinds.pop()]
    for metric in metrics:
        if metric not in known:
            raise ConfigurationError(
                f"{where}: there is no metric '{metric}'. Known: {', '.join(known)}"
            )


def _pairs(
    where: str, scenarios: tuple[NetScenario, ...], of: Values, over: Values
) -> list[tuple[NetScenario, NetScenario]]:
    """Scenarios that a rule compares: they agree in all parameters that it does not name.

    Raises:
        ConfigurationError: There are none.
    """
    above, below = _values(of, where), _values(over, where)
    free = {*of, *over}
    found = [
        (one, other)
        for one, other in itertools.permutations(scenarios, 2)
        if _matches(one, above)
        and _matches(other, below)
        and _rest(one, free) == _rest(other, free)
    ]
    if not found:
        raise ConfigurationError(
            f"{where}: no two scenarios are {dict(of)} and {dict(over)} and alike in all else"
        )
    return found


def _matches(scenario: NetScenario, wanted: Values) -> bool:
    return all(getattr(scenario, key) == value for key, value in wanted.items())


def _rest(scenario: NetScenario, free: set[str]) -> dict[str, Any]:
    return {key: value for key, value in scenario.parameters().items() if key not in free}
