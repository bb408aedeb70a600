from __future__ import annotations

import random

import pytest

from orrery.errors import MeasurementError
from orrery.measure import stats


def test_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    assert stats.median([4, 1, 3, 2]) == 2.5


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 10), (0.25, 20), (0.5, 30), (0.9, 46), (0.99, 49.6), (1.0, 50)]
)
def test_quantiles_are_interpolated_between_order_statistics(share: float, expected: float) -> None:
    assert stats.quantile([50, 10, 40, 20, 30], share) == pytest.approx(expected)


def test_quantiles_are_those_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    values = [3.1, 0.2, 9.7, 4.4, 4.4, 8.0, 1.5]
    for share in (0.05, 0.33, 0.5, 0.95):
        assert stats.quantile(values, share) == pytest.approx(float(numpy.quantile(values, share)))


def test_a_single_value_is_each_of_its_quantiles() -> None:
    assert stats.quantile([7.0], 0.99) == 7.0


@pytest.mark.parametrize(
    ("values", "share", "message"),
    [
        ([], 0.5, "there is no trial to take a quantile of"),
        ([1.0, float("nan")], 0.5, "a trial is not a finite number"),
        ([1.0], 1.5, "a quantile's share lies between 0 and 1, not at 1.5"),
    ],
)
def test_what_has_no_quantile_is_refused(values: list[float], share: float, message: str) -> None:
    with pytest.raises(MeasurementError) as error:
        stats.quantile(values, share)
    assert str(error.value) == message


def test_close_trials_are_stable() -> None:
    found = stats.spread([10.0, 10.2, 9.9, 10.1, 10.0])
    assert (found.median, found.low, found.high, found.stable) == (10.0, 9.9, 10.2, True)
    assert found.reason == "the middle half spreads over 1% of the median, 15% allowed"


def test_one_disturbed_trial_of_five_does_not_condemn_the_figure() -> None:
    assert stats.spread([10, 10, 10, 10, 90]).stable


def test_two_disturbed_trials_of_five_do() -> None:
    found = stats.spread([10, 10, 10, 90, 90])
    assert not found.stable
    assert found.reason == "the middle half spreads over 800% of the median, 15% allowed"


def test_too_few_trials_are_unstable_however_close() -> None:
    found = stats.spread([1.0, 1.0, 1.0])
    assert not found.stable
    assert found.reason == "3 trials, 5 needed"


def test_a_median_of_zero_is_stable_when_nothing_moves() -> None:
    assert stats.spread([0, 0, 0, 0, 0]).stable
    assert not stats.spread([0, 0, 0, 1, 1]).stable


def test_a_ratio_to_zero_is_refused() -> None:
    assert stats.ratio(3, 2) == 1.5
    with pytest.raises(MeasurementError, match="a ratio to a figure that is zero means nothing"):
        stats.ratio(3, 0)


def test_the_interval_of_five_trials_reaches_from_the_smallest_to_the_largest() -> None:
    assert stats.interval([3.0, 1.0, 5.0, 2.0, 4.0]) == stats.Interval(3.0, 1.0, 5.0)


def test_more_trials_make_the_interval_narrower_than_the_extremes() -> None:
    found = stats.interval([float(number) for number in range(1, 10)])
    assert (found.median, found.low, found.high) == (5.0, 2.0, 8.0)


def test_one_trial_is_its_own_interval() -> None:
    assert stats.interval([7.5]) == stats.Interval(7.5, 7.5, 7.5)


def test_the_same_trials_give_the_same_interval() -> None:
    source = random.Random(4)
    trials = [source.gauss(100, 10) for _ in range(8)]
    assert stats.interval(trials) == stats.interval(trials)
    assert stats.interval(trials, confidence=0.5).high < stats.interval(trials).high


def test_the_interval_of_many_trials_is_that_of_the_normal_approximation() -> None:
    source = random.Random(3)
    trials = [source.gauss(100, 10) for _ in range(400)]
    found = stats.interval(trials, resamples=800)
    # The standard error of the median of n normal values is 1.2533 sigma / sqrt(n).
    assert found.high - found.low == pytest.approx(2 * 1.96 * 1.2533 * 10 / 20, rel=0.3)


def test_an_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    source = random.Random(5)
    samples = [[source.gauss(0, 1) for _ in range(9)] for _ in range(300)]
    held = [stats.interval(trials) for trials in samples]
    assert sum(found.low <= 0 <= found.high for found in held) >= 0.9 * len(held)


def test_a_confidence_outside_of_its_range_is_refused() -> None:
    with pytest.raises(MeasurementError, match="a confidence lies between 0 and 1, not at 95"):
        stats.interval([1, 2], confidence=95)


def test_the_mad_is_the_median_distance_from_the_median() -> None:
    assert stats.mad([1, 1, 2, 2, 4, 6, 9]) == 1
    assert stats.mad([5]) == 0


def test_intervals_overlap_where_they_have_a_value_in_common() -> None:
    one = stats.Interval(2, 1, 3)
    assert one.overlaps(stats.Interval(4, 3, 5))
    assert not one.overlaps(stats.Interval(5, 4, 6))


def test_a_paired_ratio_does_not_see_what_disturbs_both_sides_alike() -> None:
    drift = [1.0, 3.0, 2.0, 5.0, 1.5]
    found = stats.paired_ratio([2.0 * value for value in drift], drift)
    assert (found.ratio, found.low, found.high, found.pairs) == (2.0, 2.0, 2.0, 5)
    assert found.shown
    assert found.why == ""


def test_a_ratio_whose_interval_holds_one_shows_no_difference() -> None:
    found = stats.paired_ratio([9, 11, 10, 12, 8], [10, 10, 10, 10, 10])
    assert found.low < 1 < found.high
    assert not found.shown
    assert found.why == "no difference shown"


def test_too_few_pairs_show_no_difference_however_large() -> None:
    found = stats.paired_ratio([20, 20], [10, 10])
    assert not found.shown
    assert found.why == "no difference shown: 2 trials, 5 needed"


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1], [1, 2], "pairs need two sides of one length, not 1 and 2"),
        ([1, 2], [1, 0], "a ratio to a figure that is zero means nothing"),
        ([], [], "there is no trial to take a quantile of"),
    ],
)
def test_what_has_no_paired_ratio_is_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(MeasurementError, match=message):
        stats.paired_ratio(a, b)


def test_an_unpaired_ratio_is_that_of_the_medians_and_wider_than_the_paired_one() -> None:
    drift = [1.0, 3.0, 2.0, 5.0, 1.5]
    found = stats.unpaired_ratio([2 * value for value in drift], drift)
    assert found.ratio == 2.0
    assert found.low < 1 < found.high
    assert found.why == "no difference shown"
    steady = stats.unpaired_ratio([20, 21, 20, 19, 20], [10, 10, 10, 10, 10])
    assert (steady.ratio, steady.low, steady.high, steady.shown) == (2.0, 1.9, 2.1, True)
    with pytest.raises(MeasurementError, match="a figure that can be zero"):
        stats.unpaired_ratio([1, 1, 1], [0, 1, 1])
