"""Statistics of trials: median, quantiles, spread, and whether a figure is stable. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orrery.errors import MeasurementError

TRIALS_NEEDED = 5
"""Fewer trials say nothing about spread."""

TOLERANCE = 0.15
"""A figure is stable when the middle half of its trials stays within this share of the median.

Quartiles and not extremes: one disturbed trial of five must not condemn a figure, two must.
"""


@dataclass(frozen=True)
class Spread:
    """What a set of trials says.

    Attributes:
        low: Smallest trial.
        high: Largest trial.
        stable: Whether the stability rule holds.
        reason: Why it holds or does not, as a phrase with the numbers.
    """

    median: float
    low: float
    high: float
    stable: bool
    reason: str


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which a share of the values lies.

    Linear interpolation between order statistics: Hyndman and Fan (1996), definition 7, which is
    also NumPy's default. With n sorted values x[0..n-1], h = (n - 1) * share, and the result is
    x[floor(h)] + (h - floor(h)) * (x[floor(h) + 1] - x[floor(h)]).

    Raises:
        MeasurementError: No value, one that is not finite, or a share outside 0 to 1.
    """
    if not 0.0 <= share <= 1.0:
        raise MeasurementError(f"a quantile's share lies between 0 and 1, not at {share}")
    ordered = sorted(values)
    if not ordered:
        raise MeasurementError("there is no trial to take a quantile of")
    if not all(math.isfinite(value) for value in ordered):
        raise MeasurementError("a trial is not a finite number")
    position = (len(ordered) - 1) * share
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def median(values: Iterable[float]) -> float:
    """The quantile at one half.

    Raises:
        MeasurementError: As for `quantile`.
    """
    return quantile(values, 0.5)


def spread(
    trials: Sequence[float], *, needed: int = TRIALS_NEEDED, tolerance: float = TOLERANCE
) -> Spread:
    """Median, extremes and the verdict of the stability rule.

    Stable means: at least `needed` trials, and the distance between their quartiles is at most
    `tolerance` times the median (for a median of zero: it is zero).

    Raises:
        MeasurementError: As for `quantile`.
    """
    middle = median(trials)
    width = quantile(trials, 0.75) - quantile(trials, 0.25)
    stable, reason = _verdict(len(trials), middle, width, needed, tolerance)
    return Spread(middle, min(trials), max(trials), stable, reason)


def ratio(measured: float, reference: float) -> float:
    """One figure over another, computed once, at the end.

    Raises:
        MeasurementError: The reference is zero.
    """
    if reference == 0:
        raise MeasurementError("a ratio to a figure that is zero means nothing")
    return measured / reference


def _verdict(
    count: int, middle: float, width: float, needed: int, tolerance: float
) -> tuple[bool, str]:
    if count < needed:
        return False, f"{count} trials, {needed} needed"
    if middle == 0:
        return width == 0, f"the median is zero and the middle half spreads over {width:.3g}"
    share = width / abs(middle)
    text = f"the middle half spreads over {share:.0%} of the median, {tolerance:.0%} allowed"
    return share <= tolerance, text
