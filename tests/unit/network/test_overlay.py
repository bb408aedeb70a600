"""Overlays take no bridge that somebody else needs, and leave none behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from orrery.errors import HostError
from orrery.network import overlay
from orrery.network.namespace import Namespace
from orrery.network.scenario import Overlay
from orrery.network.switch import Bridge
from orrery.state import LabState

NO_PID = 1 << 30
STATE = LabState(
    "t",
    facts={
        "network": {"namespace": "t", "lan_bridge": "br-lan", "lan_address": "10.1.35.1/24"},
        "ovs": {"bridge": "br-ovs", "address": "10.1.34.1/24"},
    },
)


class FakeSwitch:
    """Bridges, ports and routes by name."""

    def __init__(self) -> None:
        self.here = {"br-ovs": ""}
        self.options: dict[str, dict[str, str]] = {}
        self.routes: dict[tuple[str, str], str] = {}
        self.neighbours: dict[tuple[str, str], str] = {}
        self.fails_at = ""

    def bridges(self) -> list[Bridge]:
        return [
            Bridge(name, "netdev", {overlay.MARK: owner} if owner else {}, (name,))
            for name, owner in self.here.items()
        ]

    def add_bridge(self, name: str, *, datapath: str, marks: Mapping[str, str]) -> None:
        if name == self.fails_at:
            raise HostError("no")
        assert datapath == "netdev"
        self.here[name] = marks[overlay.MARK]

    def remove_bridge(self, name: str) -> None:
        self.here.pop(name, None)

    def add_port(self, bridge: str, name: str, *, kind: str, options: dict[str, str]) -> None:
        assert bridge in self.here
        self.options[name] = {**options, "type": kind}

    def vsctl(self, *words: str) -> str:
        for number, word in enumerate(words):
            if word == "Interface":
                pairs = (pair.partition("=") for pair in words[number + 2 : number + 4])
                self.options[words[number + 1]] = {key: value for key, _, value in pairs}
        return ""

    def appctl(self, command: str, *words: str) -> str:
        if command == "ovs/route/add":
            self.routes[words[0], words[2]] = words[1]
        elif command == "ovs/route/del":
            if tuple(words) not in self.routes:
                raise HostError("Not found")
            del self.routes[words[0], words[1]]
        else:
            self.neighbours[words[0], words[1]] = words[2]
        return ""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwitch:
    this = FakeSwitch()
    macs = {"under-a": {"address": "aa:00"}, "under-b": {"address": "bb:00"}}
    monkeypatch.setattr(overlay, "switch", lambda _: this)
    monkeypatch.setattr(Namespace, "links", lambda _: macs)
    monkeypatch.setattr(Namespace, "have_address", lambda *_: True)
    monkeypatch.setattr(Namespace, "ip", lambda *_: None)
    return this


def test_a_vlan_is_a_tag_on_the_labs_own_bridge(fake: FakeSwitch) -> None:
    with overlay.laid(STATE, Overlay.VLAN) as found:
        assert (found.near, found.far, found.vlan, found.mtu) == ("br-ovs", "br-ovs", 100, 1500)
    assert list(fake.here) == ["br-ovs"]


def test_a_patch_joins_two_bridges(fake: FakeSwitch) -> None:
    with overlay.laid(STATE, Overlay.PATCH) as found:
        assert (found.near, found.far, found.vlan, found.mtu) == ("patch-a", "patch-b", None, 1500)
        assert {"patch-a", "patch-b"} <= set(fake.here)
        assert fake.options["up-patch-a"] == {"type": "patch", "options:peer": "up-patch-b"}
        assert fake.options["up-patch-b"] == {"type": "patch", "options:peer": "up-patch-a"}
    assert list(fake.here) == ["br-ovs"]


def test_each_end_of_a_tunnel_finds_the_other_by_a_mark_of_its_own(fake: FakeSwitch) -> None:
    with overlay.laid(STATE, Overlay.VXLAN) as found:
        assert (found.near, found.far, found.mtu) == ("vxlan-a", "vxlan-b", 1450)
        near, far = fake.options["vx-vxlan-a"], fake.options["vx-vxlan-b"]
        assert near["remote_ip"] == "172.31.255.2"
        assert far["remote_ip"] == "172.31.255.1"
        assert near["key"] == far["key"]
        assert fake.routes == {
            ("172.31.255.2/32", f"pkt_mark={near['egress_pkt_mark']}"): "under-a",
            ("172.31.255.1/32", f"pkt_mark={far['egress_pkt_mark']}"): "under-b",
        }
        assert fake.neighbours == {
            ("under-a", "172.31.255.2"): "bb:00",
            ("under-b", "172.31.255.1"): "aa:00",
        }
    assert list(fake.here) == ["br-ovs"]
    assert fake.routes == {}


def test_what_a_switch_forgets_when_it_starts_anew_is_held(fake: FakeSwitch) -> None:
    with overlay.laid(STATE, Overlay.VXLAN) as found:
        routes = dict(fake.routes)
        fake.routes.clear()
        found.hold()
        assert fake.routes == routes
        fake.routes.clear()
    assert list(fake.here) == ["br-ovs"]


def test_what_a_killed_process_left_is_made_anew(fake: FakeSwitch) -> None:
    fake.here |= {"vxlan-a": f"{NO_PID}:1", "under-a": f"{NO_PID}:1", "patch-a": f"{NO_PID}:1"}
    with overlay.laid(STATE, Overlay.VXLAN):
        assert fake.here["vxlan-a"].startswith(f"{os.getpid()}:")
    assert overlay.sweep(STATE) == ["patch-a"]
    assert list(fake.here) == ["br-ovs"]


def test_a_number_that_another_process_has_now_counts_as_gone(fake: FakeSwitch) -> None:
    fake.here["patch-a"] = f"{os.getpid()}:1"
    assert overlay.sweep(STATE) == ["patch-a"]


def test_an_overlay_that_a_living_process_has_is_refused_and_stays(fake: FakeSwitch) -> None:
    with overlay.laid(STATE, Overlay.PATCH):
        pattern = rf"overlay patch: process {os.getpid()} has it \(bridge patch-a\)\. Wait"
        with pytest.raises(HostError, match=pattern), overlay.laid(STATE, Overlay.PATCH):
            pass
        assert overlay.sweep(STATE) == []
        assert "patch-a" in fake.here
        with overlay.laid(STATE, Overlay.VXLAN):
            assert "vxlan-a" in fake.here


def test_a_bridge_of_the_users_is_refused_and_stays(fake: FakeSwitch) -> None:
    fake.here["under-b"] = ""
    with (
        pytest.raises(HostError, match="bridge under-b that is not of the lab's making"),
        overlay.laid(STATE, Overlay.VXLAN),
    ):
        pass
    assert list(fake.here) == ["br-ovs", "under-b"]


def test_an_overlay_that_cannot_be_finished_leaves_nothing(
    fake: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fails_at = "under-b"
    with pytest.raises(HostError, match="no"), overlay.laid(STATE, Overlay.VXLAN):
        pass
    fake.fails_at = ""

    def refuse(*_: Any) -> bool:
        raise HostError("no address")

    monkeypatch.setattr(Namespace, "have_address", refuse)
    with pytest.raises(HostError, match="no address"), overlay.laid(STATE, Overlay.VXLAN):
        pass
    assert list(fake.here) == ["br-ovs"]
