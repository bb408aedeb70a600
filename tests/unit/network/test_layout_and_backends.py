"""The network as roles wrote it down, and which backends this host can have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.network import backends, layout
from orrery.network.backends import Backend
from orrery.state import LabState

NETWORK = {"namespace": "orrery", "lan_bridge": "br-lan", "lan_address": "10.161.35.1/24"}


def test_a_lab_without_network_says_what_to_run() -> None:
    with pytest.raises(ConfigurationError, match=re.escape("has no network: its virtualisation")):
        layout.Layout.of(LabState("orrery"))


def test_addresses_of_the_switch_come_from_its_fact() -> None:
    facts = {"network": NETWORK, "ovs": {"addresses": {"br-ovs": "10.161.34.1/24"}}}
    found = layout.Layout.of(LabState("orrery", facts=facts))
    assert found.switch_addresses == {"br-ovs": "10.161.34.1/24"}
    assert found.namespace.name == "orrery"


def test_backends_on_the_switch_need_the_switch() -> None:
    without = LabState("orrery", facts={"network": NETWORK})
    for backend in (Backend.VHOST_USER, Backend.VIRTIO_NET_OVS):
        assert "no Open vSwitch" in backends.missing(backend, without)
    assert backends.missing(Backend.VIRTIO_NET, without) == ""


def test_vhost_net_needs_its_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = LabState("orrery", facts={"ovs": {}})
    monkeypatch.setattr(backends, "VHOST_NET", tmp_path / "vhost-net")
    with pytest.raises(ConfigurationError, match=r"modprobe vhost_net.*Possible here: vhost-user"):
        backends.require(Backend.VHOST_NET, state)
    (tmp_path / "vhost-net").touch()
    backends.require(Backend.VHOST_NET, state)
