"""Parameters of scenarios in words."""

from __future__ import annotations

from orrery.report import words


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
