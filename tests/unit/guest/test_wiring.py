"""Where a guest's port is: on its backend's own bridge, or on another one that it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.guest import wiring
from orrery.guest.registry import Entry
from orrery.network import kernel_bridge
from orrery.network.backends import Backend
from orrery.network.switch import Bridge, Port
from orrery.state import LabState

STATE = LabState(
    "t",
    facts={
        "network": {"namespace": "t", "lan_bridge": "br-lan", "lan_address": "10.1.35.1/24"},
        "ovs": {
            "address": "10.1.34.1/24",
            "addresses": {"br-ovs": "10.1.34.1/24"},
            "bridge": "br-ovs",
            "control": "/nowhere/ctl",
            "database": "unix:/nowhere/db",
            "log": "/nowhere/log",
            "vhost_dir": "/nowhere/vhost",
        },
    },
)


class FakeSwitch:
    """Bridges and ports as a list says; what was removed."""

    def __init__(self, *bridges: Bridge) -> None:
        self.here = list(bridges)
        self.guests: list[Port] = []
        self.removed: list[str] = []
        self.vhost_dir = Path("/nowhere/vhost")

    def bridges(self) -> list[Bridge]:
        return self.here

    def ports(self) -> list[Port]:
        return [
            Port(one.name, name, "internal", None, "", "", "up", {}, {})
            for one in self.here
            for name in one.ports
        ] + self.guests

    def remove_port(self, name: str) -> None:
        self.removed.append(name)

    def remove_bridge(self, name: str) -> None:
        self.here = [one for one in self.here if one.name != name]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwitch:
    marks = {kernel_bridge.MARK: "t"}
    this = FakeSwitch(
        Bridge("br-ovs", "netdev", {}, ("br-ovs",)),
        Bridge("patch-a", "netdev", {}, ("patch-a",)),
        Bridge(kernel_bridge.NAME, "system", marks, (kernel_bridge.NAME,)),
    )
    monkeypatch.setattr(wiring, "switch", lambda _: this)
    monkeypatch.setattr(kernel_bridge, "switch", lambda _: this)
    return this


@pytest.mark.parametrize(
    ("backend", "bridge", "address", "port"),
    [
        (Backend.VHOST_USER, "br-ovs", "10.1.34.11/24", "vh-a"),
        (Backend.VIRTIO_NET_OVS, "br-ovs", "10.1.34.11/24", "tap-a"),
        (Backend.VIRTIO_NET, "br-lan", "10.1.35.11/24", "tap-a"),
        (Backend.VIRTIO_NET_KERNEL_OVS, "br-kernel", "10.1.36.11/24", "tap-a"),
    ],
)
def test_a_guest_is_on_the_bridge_of_its_backend(
    backend: Backend, bridge: str, address: str, port: str
) -> None:
    place = wiring.place(STATE, backend, "a", 11)
    assert (place["bridge"], place["address"], place["port"]) == (bridge, address, port)


def test_another_bridge_has_the_network_of_the_own_one_or_a_given_one() -> None:
    place = wiring.place(STATE, Backend.VHOST_USER, "a", 11, "patch-a")
    assert (place["bridge"], place["address"]) == ("patch-a", "10.1.34.11/24")
    place = wiring.place(STATE, Backend.VHOST_USER, "a", 11, "patch-a", "10.2.0.1/16")
    assert place["address"] == "10.2.0.11/16"


@pytest.mark.usefixtures("fake")
def test_a_bridge_that_is_not_there_is_refused_with_those_that_are() -> None:
    wiring.check_bridge(STATE, Backend.VHOST_USER, "a", "")
    wiring.check_bridge(STATE, Backend.VHOST_USER, "a", "patch-a")
    with pytest.raises(ConfigurationError, match=r"no bridge gone .*There are: br-ovs, patch-a\."):
        wiring.check_bridge(STATE, Backend.VHOST_USER, "a", "gone")
    with pytest.raises(ConfigurationError, match="no bridge br-kernel of the userspace datapath"):
        wiring.check_bridge(STATE, Backend.VHOST_USER, "a", "br-kernel")


def test_a_backend_that_is_not_on_the_switch_takes_no_bridge_of_it() -> None:
    for backend in (Backend.VIRTIO_NET, Backend.VHOST_NET, Backend.VIRTIO_NET_KERNEL_OVS):
        with pytest.raises(ConfigurationError, match="a bridge of its own kind. Use vhost-user"):
            wiring.check_bridge(STATE, backend, "a", "patch-a")


def test_the_kernels_bridge_goes_with_the_last_guest_on_it(fake: FakeSwitch) -> None:
    gone, left = (Entry(name, 11, backend=Backend.VIRTIO_NET_KERNEL_OVS) for name in "ab")
    wiring.tidy(STATE, gone, [left])
    wiring.tidy(STATE, Entry("c", 12, backend=Backend.VHOST_USER), [])
    assert len(fake.here) == 3
    wiring.tidy(STATE, gone, [Entry("c", 12, backend=Backend.VHOST_USER)])
    assert [one.name for one in fake.here] == ["br-ovs", "patch-a"]


def test_the_kernels_bridge_that_a_killed_command_left_is_swept(fake: FakeSwitch) -> None:
    assert wiring.sweep(STATE, [Entry("a", 11, backend=Backend.VIRTIO_NET_KERNEL_OVS)]) == []
    assert wiring.sweep(STATE, []) == ["bridge br-kernel"]
    assert wiring.sweep(STATE, []) == []
    assert [one.name for one in fake.here] == ["br-ovs", "patch-a"]


def test_ports_of_another_labs_guests_are_left(fake: FakeSwitch) -> None:
    fake.guests = [
        Port("br-ovs", f"vh-{guest}", "dpdkvhostuserclient", None, guest, "", "up", {}, {}, lab)
        for guest, lab in (("a", "t"), ("b", "t"), ("c", "other"), ("d", ""))
    ]
    wiring.sweep(STATE, [Entry("a", 11, backend=Backend.VHOST_USER)])
    assert fake.removed == ["vh-b", "vh-d"]
