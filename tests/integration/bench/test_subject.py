"""The subject of a comparison on the running lab: a LAN machine, overlays, zero packets."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path as File

import pytest

from orrery import shell
from orrery.bench.subject import Bench
from orrery.guest.lifecycle import Guests
from orrery.measure.runner import TrialError
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from orrery.network.namespace import Namespace
from orrery.network.scenario import NetScenario, Offloads, Overlay, Path, Traffic
from orrery.state import LabState, StateFile

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(200)]

PEER = "10.161.35.200"


@pytest.fixture
def lab_state(lab_state_path: File) -> LabState:
    return StateFile(lab_state_path).read()


@pytest.fixture
def peer(lab_state: LabState) -> Iterator[str]:
    """A machine on the LAN: a namespace of its own at the Linux bridge, which serves iperf3."""
    layout = Layout.of(lab_state)
    space = Namespace("t-peer")
    space.remove()
    space.make()
    with contextlib.ExitStack() as stack:
        stack.callback(space.remove)
        link = ["link", "add", "t-peer0", "type", "veth", "peer", "name", "t-peer1"]
        layout.namespace.ip(*link, "netns", space.name)
        layout.namespace.ip("link", "set", "t-peer0", "up", "master", layout.lan_bridge)
        space.have_address("t-peer1", f"{PEER}/24")
        server = shell.start(space.argv("iperf3", "-s", "-B", PEER))
        stack.callback(shell.stop, server)
        yield PEER


def tcp(backend: Backend, path: Path) -> NetScenario:
    return NetScenario(backend, path, Traffic.TCP, seconds=1, streams=1)


def test_a_machine_on_the_lan_is_reached(lab_state: LabState, peer: str) -> None:
    network = {**lab_state.facts["network"], "lan_peers": ["10.161.34.200", peer]}
    state = dataclasses.replace(lab_state, facts={**lab_state.facts, "network": network})
    scenario = dataclasses.replace(
        tcp(Backend.VIRTIO_NET, Path.GUEST_PEER), offloads=Offloads.NATIVE
    )
    with Bench(Guests(state), print) as bench:
        assert bench.missing(scenario) == ""
        bench.prepare(scenario)
        assert bench.trial(scenario)["throughput"] > 10
        found = bench.conditions(scenario)
    assert list(found["offloads"]) == ["near"]
    assert "far" not in found


def test_without_a_machine_on_the_lan_the_way_to_have_one_is_said(lab_state: LabState) -> None:
    with Bench(Guests(lab_state), print) as bench:
        reason = bench.missing(tcp(Backend.VIRTIO_NET, Path.GUEST_PEER))
    assert "start iperf3 -s and sockperf sr on one, set lab_lan_peers" in reason


def test_guests_talk_through_a_tunnel_with_the_mtu_of_the_scenario(lab_state: LabState) -> None:
    scenario = dataclasses.replace(
        tcp(Backend.VHOST_USER, Path.GUEST_GUEST), overlay=Overlay.VXLAN, mtu=1450
    )
    with Bench(Guests(lab_state), print) as bench:
        bench.prepare(scenario)
        found = bench.conditions(scenario)
    assert (found["near"]["mtu"], found["overlay"]) == (1450, "vxlan")
    assert not [one.name for one in switch(lab_state).bridges() if one.name.startswith("vxlan")]


def test_a_trial_of_zero_packets_is_an_error_with_its_causes_and_then_mended(
    lab_state: LabState,
) -> None:
    said: list[str] = []
    scenario = NetScenario(Backend.VHOST_USER, Path.GUEST_GUEST, Traffic.UDP, seconds=1, frame="64")
    with Bench(Guests(lab_state), said.append) as bench:
        bench.prepare(scenario)
        switch(lab_state).vsctl("set", "Port", "vh-bench1-b", "tag=7")
        with pytest.raises(TrialError, match=r"(?s)Likely causes: .*VLAN tags") as found:
            bench.trial(scenario)
        bench.mend(scenario, found.value)
        assert bench.trial(scenario)["rate"] > 0
    assert said[0].startswith("a trial is dropped (vhost-user, udp, guest-guest, frame=64): ")


def test_offloads_are_switched_between_trials_and_put_back(lab_state: LabState) -> None:
    plain = tcp(Backend.VIRTIO_NET, Path.GUEST_HOST)
    native = dataclasses.replace(plain, offloads=Offloads.NATIVE)
    with Bench(Guests(lab_state), print) as bench:
        for scenario, on in ((plain, False), (native, True), (plain, False)):
            bench.trial(scenario)
            states = bench.conditions(scenario)["offloads"].values()
            assert {state["tso"] for state in states} == {on}
            assert len(states) == 2
    namespace = Layout.of(lab_state).namespace
    told = shell.run(namespace.argv("ethtool", "-k", Layout.of(lab_state).lan_bridge), timeout_s=9)
    assert "tcp-segmentation-offload: on" in told.stdout
