"""Statistics of trials: median and its interval, spread, ratios, and what is stable. Pure.

Without NumPy: hosts import this room that have none.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orrery.errors import MeasurementError

TRIALS_NEEDED = 5
"""Fewer trials say nothing about spread."""

TOLERANCE = 0.15
"""A figure is stable when the middle half of its trials stays within this share of the median.

Quartiles and not extremes: one disturbed trial of five must not condemn a figure, two must.
"""

RESAMPLES = 2000
"""Of a bootstrap. More move the ends of an interval by less than a trial."""

CONFIDENCE = 0.95

NOT_SHOWN = "no difference shown"


@dataclass(frozen=True)
class Interval:
    """A median, and where it may lie.

    Attributes:
        low: Lower end of its confidence interval.
        high: Upper end.
    """

    median: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Whether the two have a value in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Spread:
    """What a set of trials says.

    Attributes:
        low: Lower end of the median's interval.
        high: Upper end.
        mad: Median of the distances from the median.
        stable: Whether the stability rule holds.
        reason: Why it holds or does not, as a phrase with the numbers.
    """

    median: float
    low: float
    high: float
    mad: float
    stable: bool
    reason: str


@dataclass(frozen=True)
class RatioInterval:
    """A figure over another, and where their ratio may lie.

    Attributes:
        low: Lower end of its confidence interval.
        high: Upper end.
        trials: Of the side that has fewer.
    """

    ratio: float
    low: float
    high: float
    trials: int

    @property
    def shown(self) -> bool:
        """Whether the two differ: enough trials, and an interval that does not hold 1."""
        return self.trials >= TRIALS_NEEDED and not self.low <= 1.0 <= self.high

    @property
    def why(self) -> str:
        """Why no difference is shown; empty where one is."""
        if self.shown:
            return ""
        if self.trials < TRIALS_NEEDED:
            return f"{NOT_SHOWN}: {self.trials} trials, {TRIALS_NEEDED} needed"
        return NOT_SHOWN


@dataclass(frozen=True)
class PairedRatio(RatioInterval):
    """The ratio of two figures that were measured by turns; its trials are pairs."""

    @property
    def pairs(self) -> int:
        """Blocks in which both sides were measured."""
        return self.trials


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


def mad(trials: Sequence[float]) -> float:
    """Median of the absolute distances from the median, in the unit of the trials.

    Raises:
        MeasurementError: As for `quantile`.
    """
    middle = median(trials)
    return median(abs(trial - middle) for trial in trials)


def interval(
    trials: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The median and its bootstrap percentile interval.

    Efron and Tibshirani (1993), chapter 13: trials are drawn anew from the trials, as many as there
    are, with repetition; the ends are quantiles of the medians of many such draws. The same trials
    give the same interval. One trial is its own interval, and five reach from the smallest to the
    largest of them.

    Raises:
        MeasurementError: As for `quantile`, or a confidence that is not between 0 and 1.
    """
    middle = median(trials)
    return Interval(middle, *_bootstrap(tuple(trials), seed, resamples, confidence))


def spread(
    trials: Sequence[float], *, needed: int = TRIALS_NEEDED, tolerance: float = TOLERANCE
) -> Spread:
    """Median, interval and the verdict of the stability rule.

    Stable means: at least `needed` trials, and the distance between their quartiles is at most
    `tolerance` times the median (for a median of zero: it is zero).

    Raises:
        MeasurementError: As for `quantile`.
    """
    found = interval(trials)
    steady, reason = _verdict(trials, found.median, needed, tolerance)
    return Spread(found.median, found.low, found.high, mad(trials), steady, reason)


def stable(
    trials: Sequence[float], *, needed: int = TRIALS_NEEDED, tolerance: float = TOLERANCE
) -> bool:
    """The stability rule alone, as `spread` has it.

    Raises:
        MeasurementError: As for `quantile`.
    """
    return _verdict(trials, median(trials), needed, tolerance)[0]


def ratio(measured: float, reference: float) -> float:
    """One figure over another, computed once, at the end.

    Raises:
        MeasurementError: The reference is zero.
    """
    if reference == 0:
        raise MeasurementError("a ratio to a figure that is zero means nothing")
    return measured / reference


def paired_ratio(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> PairedRatio:
    """The median of the ratios a / b of each block, and its interval.

    What disturbs a block disturbs both sides of it, and their ratio less.

    Raises:
        MeasurementError: The sides are not equally long, or empty; a value of `b` is zero.
    """
    if len(a) != len(b):
        raise MeasurementError(f"pairs need two sides of one length, not {len(a)} and {len(b)}")
    ratios = [ratio(one, other) for one, other in zip(a, b, strict=True)]
    found = interval(ratios, seed=seed, resamples=resamples)
    return PairedRatio(found.median, found.low, found.high, len(ratios))


def unpaired_ratio(
    a: Sequence[float], b: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES
) -> RatioInterval:
    """The ratio of the medians a / b of two measurements made apart, and its interval.

    Both sides are drawn anew, each by itself.

    Raises:
        MeasurementError: A side is empty, or `b` has a value that is not above zero.
    """
    middle = ratio(median(a), median(b))
    if min(b) <= 0:
        raise MeasurementError("a ratio to a figure that can be zero means nothing")
    source = random.Random(seed)  # noqa: S311  # no secret
    above, below = _medians(a, source, resamples), _medians(b, source, resamples)
    draws = [one / other for one, other in zip(above, below, strict=True)]
    return RatioInterval(middle, *_ends(draws, CONFIDENCE), min(len(a), len(b)))


@functools.lru_cache(maxsize=4096)
def _bootstrap(
    trials: tuple[float, ...], seed: int, resamples: int, confidence: float
) -> tuple[float, float]:
    """The ends of an interval; a record asks again whenever it is read."""
    return _ends(_medians(trials, random.Random(seed), resamples), confidence)  # noqa: S311  # no secret


def _medians(trials: Sequence[float], source: random.Random, resamples: int) -> list[float]:
    """Medians of trials drawn anew; written out, as `median` checks what is known here."""
    count = len(trials)
    upper, lower = count // 2, (count - 1) // 2
    found = []
    for _ in range(resamples):
        drawn = sorted(source.choices(trials, k=count))
        found.append((drawn[lower] + drawn[upper]) / 2)
    return found


def _ends(draws: Sequence[float], confidence: float) -> tuple[float, float]:
    if not 0.0 < confidence < 1.0:
        raise MeasurementError(f"a confidence lies between 0 and 1, not at {confidence}")
    outside = (1.0 - confidence) / 2
    return quantile(draws, outside), quantile(draws, 1.0 - outside)


def _verdict(
    trials: Sequence[float], middle: float, needed: int, tolerance: float
) -> tuple[bool, str]:
    if len(trials) < needed:
        return False, f"{len(trials)} trials, {needed} needed"
    width = quantile(trials, 0.75) - quantile(trials, 0.25)
    if middle == 0:
        return width == 0, f"the median is zero and the middle half spreads over {width:.3g}"
    share = width / abs(middle)
    text = f"the middle half spreads over {share:.0%} of the median, {tolerance:.0%} allowed"
    return share <= tolerance, text
