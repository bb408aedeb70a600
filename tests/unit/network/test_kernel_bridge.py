"""The bridge of the kernel's datapath: its network is free, and nobody else's bridge is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orrery.errors import HostError
from orrery.network import kernel_bridge, namespace
from orrery.network.switch import Bridge
from orrery.state import LabState


def state(lan: str, datapath: str, **more: str) -> LabState:
    return LabState(
        "t",
        facts={
            "network": {"namespace": "t", "lan_bridge": "br-lan", "lan_address": lan},
            "ovs": {"address": datapath, "addresses": {"br-ovs": datapath, **more}},
        },
    )


class FakeSwitch:
    """Bridges, and what was asked for."""

    def __init__(self) -> None:
        self.here: dict[str, Bridge] = {}

    def bridges(self) -> list[Bridge]:
        return list(self.here.values())

    def add_bridge(self, name: str, *, datapath: str, marks: Mapping[str, str]) -> None:
        self.here[name] = Bridge(name, datapath, marks, (name,))

    def remove_bridge(self, name: str) -> None:
        del self.here[name]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSwitch:
    this = FakeSwitch()
    given: set[Any] = set()

    def have_address(_: Any, name: str, address: str) -> bool:
        new = (name, address) not in given
        given.add((name, address))
        return new

    monkeypatch.setattr(kernel_bridge, "switch", lambda _: this)
    monkeypatch.setattr(namespace.Namespace, "have_address", have_address)
    return this


@pytest.mark.parametrize(
    ("lan", "datapath", "more", "expected"),
    [
        ("10.1.35.1/24", "10.1.34.1/24", {}, "10.1.36.1/24"),
        ("10.1.35.1/24", "10.1.36.1/24", {}, "10.1.37.1/24"),
        ("10.1.35.1/24", "10.1.34.1/24", {"br-x": "10.1.36.9/25"}, "10.1.37.1/24"),
        ("10.1.35.9/25", "10.1.34.1/24", {}, "10.1.35.137/25"),
    ],
)
def test_its_network_is_the_first_free_one_behind_the_linux_bridges(
    lan: str, datapath: str, more: dict[str, str], expected: str
) -> None:
    assert kernel_bridge.address(state(lan, datapath, **more)) == expected


def test_where_there_is_no_network_left_the_variable_is_named() -> None:
    with pytest.raises(HostError, match=r"no network behind 255\.255\.255\.0/24.*lab_lan_subnet"):
        kernel_bridge.address(state("255.255.255.1/24", "10.1.34.1/24"))


def test_it_is_made_once_and_removed(fake: FakeSwitch) -> None:
    lab = state("10.1.35.1/24", "10.1.34.1/24")
    assert kernel_bridge.have(lab)
    assert not kernel_bridge.have(lab)
    assert fake.here["br-kernel"].datapath == "system"
    assert kernel_bridge.drop(lab)
    assert not kernel_bridge.drop(lab)


def test_somebody_elses_bridge_of_that_name_is_refused_and_stays(fake: FakeSwitch) -> None:
    lab = state("10.1.35.1/24", "10.1.34.1/24")
    fake.add_bridge("br-kernel", datapath="system", marks={})
    with pytest.raises(HostError, match="br-kernel that is not of the lab's making"):
        kernel_bridge.have(lab)
    assert not kernel_bridge.drop(lab)
    assert "br-kernel" in fake.here
