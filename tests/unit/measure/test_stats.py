from __future__ import annotations

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
