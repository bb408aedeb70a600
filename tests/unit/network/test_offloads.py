"""Offloads as ethtool prints them, switched off and put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orrery.errors import GuestError, HostError
from orrery.network.offloads import (
    OFF,
    Interface,
    OffloadState,
    equal,
    parse_features,
    settled,
)
from orrery.network.scenario import Offloads

VHOST_USER = """\
Features for eth0:
rx-checksumming: on [fixed]
tx-checksumming: off
	tx-checksum-ipv4: off [fixed]
	tx-checksum-ip-generic: off [fixed]
scatter-gather: off
	tx-scatter-gather: off [fixed]
tcp-segmentation-offload: off
	tx-tcp-segmentation: off [fixed]
	tx-tcp6-segmentation: off [fixed]
generic-segmentation-offload: off [requested on]
generic-receive-offload: on
large-receive-offload: off [fixed]
rx-gro-hw: on
"""
BRIDGE = """\
Features for br-lan:
rx-checksumming: off [fixed]
tx-checksumming: on
	tx-checksum-ip-generic: on
scatter-gather: on
	tx-scatter-gather: on
tcp-segmentation-offload: on
	tx-tcp-segmentation: on
generic-segmentation-offload: on
generic-receive-offload: on
large-receive-offload: off [fixed]
rx-gro-hw: off [fixed]
"""
ON = OffloadState(tso=True, gso=True, tx_checksum=True, gro=True, lro=False)
WORDS = {
    "tx": "tx-checksumming",
    "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload",
    "gro": "generic-receive-offload",
    "sg": "scatter-gather",
    "rx-gro-hw": "rx-gro-hw",
}


class Device:
    """An interface that does what ethtool tells it, but for what is stuck."""

    def __init__(self, text: str, stuck: str = "") -> None:
        self.text = text
        self.stuck = stuck
        self.told: list[list[str]] = []
        self.dead = False

    def ask(self, argv: Sequence[str]) -> str:
        if self.dead:
            raise GuestError("guest a is gone")
        if argv[1] == "-K":
            self.told.append(list(argv[3:]))
            for word, value in zip(argv[3::2], argv[4::2], strict=True):
                if word != self.stuck:
                    was = "off" if value == "on" else "on"
                    line = f"{WORDS[word]}: {was}"
                    assert line in self.text, f"{word} is {value} already"
                    self.text = self.text.replace(line, f"{WORDS[word]}: {value}")
        return self.text

    @property
    def interface(self) -> Interface:
        return Interface("eth0", "guest a", self.ask)


def test_a_summary_can_be_changed_where_one_of_its_parts_can() -> None:
    found = parse_features(VHOST_USER)
    assert found["tx-checksumming"] == (False, False)
    assert found["tcp-segmentation-offload"] == (False, False)
    assert found["rx-gro-hw"] == (True, True)
    assert parse_features(BRIDGE)["tx-checksumming"] == (True, True)


def test_offloads_are_read_whatever_the_driver_calls_them() -> None:
    assert Device(VHOST_USER).interface.read() == OffloadState(
        tso=False, gso=False, tx_checksum=False, gro=True, lro=True
    )
    assert Device(BRIDGE).interface.read() == ON


def test_what_is_off_already_or_cannot_be_changed_is_not_touched() -> None:
    device = Device(VHOST_USER)
    assert device.interface.set(OFF) == OFF
    assert device.told == [["gro", "off", "rx-gro-hw", "off"]]
    device.interface.set(ON)
    assert device.told[1:] == [["gso", "on", "gro", "on"]]


def test_none_switches_everything_off_and_puts_back_what_was_there() -> None:
    device = Device(BRIDGE)
    with settled(Offloads.NONE, [device.interface]) as found:
        assert found == {"eth0 in guest a": OFF}
        assert device.interface.read() == OFF
    assert device.interface.read() == ON


def test_native_touches_nothing() -> None:
    device = Device(BRIDGE)
    with settled(Offloads.NATIVE, [device.interface]) as found:
        assert found == {"eth0 in guest a": ON}
    assert device.told == []


def test_all_are_put_back_though_one_cannot_be_switched_off() -> None:
    first, second = Device(BRIDGE), Device(BRIDGE, stuck="tso")
    with (
        pytest.raises(HostError, match="eth0 in guest a: tso cannot be switched off"),
        settled(Offloads.NONE, [first.interface, second.interface]),
    ):
        raise AssertionError("they are not equal")
    assert first.interface.read() == ON


def test_a_guest_that_died_has_nothing_to_be_put_back() -> None:
    device = Device(BRIDGE)
    with settled(Offloads.NONE, [device.interface]):
        device.dead = True


def test_an_interface_without_offloads_is_an_error() -> None:
    with pytest.raises(HostError, match="ethtool -k says nothing of offloads"):
        Device("").interface.read()


def test_the_header_of_a_tap_counts_where_something_is_unfinished() -> None:
    tap = {"vnet_hdr": True}
    assert equal(OFF, replace(OFF, **tap))
    assert equal(replace(OFF, gro=True), replace(OFF, gro=True, **tap))
    assert not equal(ON, replace(ON, **tap))
    assert not equal(OFF, ON)
    assert not equal(OFF, replace(OFF, gro=True))
