"""Units that fit, digits that count, and parameters in words."""

from __future__ import annotations

import pytest

from orrery.report import quantities, words


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


def test_parameters_are_said_in_words() -> None:
    values = {"backend": "vhost-user", "streams": 1, "queues": 2, "frame": "imix", "loss": 0.001}
    said = words.phrase(values, values)
    assert said == "vhost-user, 1 stream, 2 queue pairs, IMIX frames, 0.1% lost at most"


def test_an_unknown_parameter_is_said_with_its_name() -> None:
    assert words.word("colour", "red") == "colour red"
    assert words.word("loss", "much") == "much lost at most"


def test_what_all_have_in_common_is_told_from_what_varies() -> None:
    some = [{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]
    assert words.common(some) == {"a": 1}
    assert words.varying(some) == ["b", "c"]
    assert words.common([]) == {}


def test_offloads_are_said_as_short_as_they_can() -> None:
    off = {"tso": False, "gso": False}
    assert words.offloads({"offloads": {"near": off, "far": off}}) == "all off"
    on = {"near": {"tso": True, "gso": False}, "far": {"tso": True, "gso": False}}
    assert words.offloads({"offloads": on}) == "on: tso"
    assert words.offloads({"offloads": {"near": "native"}}) == "near native"
    assert words.offloads({"mtu": 1500}) == ""
    assert words.offloads({"offloads": None}) == ""


def test_the_header_of_a_tap_is_no_offload_by_itself() -> None:
    off = {"tso": False, "gso": False, "vnet_hdr": None}
    assert words.offloads({"offloads": {"near": off}}) == "all off"
    tap = {"near": {**off, "vnet_hdr": True}}
    assert words.offloads({"offloads": tap}) == "all off (vnet_hdr on)"
    native = {"near": {**off, "tso": True, "vnet_hdr": True}}
    assert words.offloads({"offloads": native}) == "on: tso, vnet_hdr"
