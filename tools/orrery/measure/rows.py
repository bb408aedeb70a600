"""What stands in a record beside its description: rows, ratios, and what has no figure. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

from orrery.measure import stats
from orrery.measure.scenario import Scenario


class Left(TypedDict):
    """A scenario that was not measured, or was given up."""

    scenario: str
    reason: str


class Drop(TypedDict):
    """A trial that gave no figure. Blocks count from 1."""

    scenario: str
    block: int
    reason: str


@dataclass(frozen=True)
class Row:
    """One figure of one scenario.

    Attributes:
        scenario: Derived name of the scenario.
        unit: `ms`, `1/s`, `MB`; empty for a ratio.
        trials: Raw values, in the order they were measured.
        low: Lower end of the 95 % interval of the median.
        high: Upper end.
        mad: Median of the distances from the median.
        reason: Why it is stable or not.
        listed: Whether a table for people shows it.
        parameters: Of the scenario, where it is known; a record keeps them in `scenarios`.
    """

    scenario: str
    metric: str
    unit: str
    trials: tuple[float, ...]
    median: float
    low: float
    high: float
    mad: float
    stable: bool
    reason: str = ""
    listed: bool = True
    parameters: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        scenario: Scenario | str,
        metric: str,
        unit: str,
        trials: Sequence[float],
        *,
        needed: int = stats.TRIALS_NEEDED,
        tolerance: float = stats.TOLERANCE,
        listed: bool = True,
    ) -> Row:
        """Compute the row from its trials.

        It is stable from `needed` trials on whose quartiles are at most `tolerance` apart, as a
        share of the median.

        Raises:
            MeasurementError: There is no trial.
        """
        name, parameters = (
            (scenario, None)
            if isinstance(scenario, str)
            else (scenario.name, scenario.parameters())
        )
        found = stats.spread(trials, needed=needed, tolerance=tolerance)
        return cls(
            name,
            metric,
            unit,
            tuple(float(trial) for trial in trials),
            **asdict(found),
            listed=listed,
            parameters=parameters,
        )

    @property
    def interval(self) -> stats.Interval:
        """The median and where it may lie."""
        return stats.Interval(self.median, self.low, self.high)

    def as_mapping(self) -> dict[str, Any]:
        """The JSON object that is stored."""
        stored = {**asdict(self), "trials": list(self.trials)}
        del stored["parameters"]
        return stored


@dataclass(frozen=True)
class Ratio:
    """One scenario's metric over another's, both measured by turns.

    Attributes:
        a: Name of the scenario that is measured.
        b: Name of its reference.
        ratio: Median over the blocks of a / b.
        low: Lower end of its 95 % interval.
        high: Upper end.
        pairs: Blocks in which both have a trial.
        equal_offloads: As read back; None where that is not known.
        shown: Whether a difference is shown.
        why: What a reader must know: no difference shown, offloads differ; empty otherwise.
    """

    a: str
    b: str
    metric: str
    ratio: float
    low: float
    high: float
    pairs: int
    equal_offloads: bool | None
    shown: bool
    why: str = ""

    @classmethod
    def of(
        cls, a: str, b: str, metric: str, found: stats.PairedRatio, equal_offloads: bool | None
    ) -> Ratio:
        """Put what was computed beside what it is about."""
        notes = [found.why] if found.why else []
        if equal_offloads is False:
            notes.append("offloads differ")
        return cls(
            a,
            b,
            metric,
            found.ratio,
            found.low,
            found.high,
            found.pairs,
            equal_offloads,
            found.shown,
            "; ".join(notes),
        )
