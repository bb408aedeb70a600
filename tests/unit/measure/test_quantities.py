"""Units that fit, and digits that count."""

from __future__ import annotations

import pytest

from orrery.measure import quantities


@pytest.mark.parametrize(
    ("unit", "largest", "text"),
    [
        ("Mbit/s", 3400.0, "3.40 Gbit/s"),
        ("Mbit/s", 340.0, "340 Mbit/s"),
        ("Mbit/s", 0.5, "500 kbit/s"),
        ("packets/s", 17.2e6, "17.2 Mpackets/s"),
        ("packets/s", 210_000.0, "210 kpackets/s"),
        ("packets/s", 900.0, "900 packets/s"),
        ("us", 95.0, "95.0 us"),
        ("us", 42_000.0, "42.0 ms"),
        ("s", 0.02, "20.0 ms"),
        ("s/Gbit", 1.9, "1.90 s/Gbit"),
        ("", 1.65, "1.65"),
        ("Mbit/s", 0.0, "0 Mbit/s"),
    ],
)
def test_a_figure_gets_the_unit_that_is_read_easily(unit: str, largest: float, text: str) -> None:
    assert quantities.scale(unit, [largest, largest / 3]).quantity(largest) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567.0, "1,234,567"),
        (99.94, "99.9"),
        (0.9938, "0.9938"),
        (0.0123, "0.0123"),
        (-2.5, "-2.50"),
        (1.5e-7, "1.5e-07"),
        (1e12, "1e+12"),
    ],
)
def test_a_figure_has_three_digits_and_a_share_near_all_more(value: float, text: str) -> None:
    assert quantities.figure(value) == text


def test_ratios_have_two_digits_where_these_tell_them_apart() -> None:
    assert quantities.ratios(1.82, 1.71, 1.93) == ("1.8", "1.7", "1.9")
    assert quantities.ratios(2.77, 2.73, 2.80) == ("2.77", "2.73", "2.80")


def test_a_ratio_above_one_is_never_written_as_one() -> None:
    assert quantities.ratios(1.09, 1.04, 1.14) == ("1.09", "1.04", "1.14")


def test_equal_values_do_not_ask_for_more_digits() -> None:
    assert quantities.ratios(2.0, 2.0, 2.0) == ("2.0", "2.0", "2.0")
    assert quantities.ratios(1.0, 1.0, 1.0) == ("1.0", "1.0", "1.0")


def test_an_axis_is_logarithmic_where_values_differ_by_decades_only() -> None:
    assert quantities.logarithmic([1.0, 100.0])
    assert not quantities.logarithmic([1.0, 3.0])
    assert not quantities.logarithmic([0.0, 100.0])
    assert not quantities.logarithmic([])
