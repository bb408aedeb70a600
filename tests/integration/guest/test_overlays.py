"""Guests talk through each overlay, the tunnel really encapsulates, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orrery import shell
from orrery.errors import HostError
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network import conditions, overlay
from orrery.network.layout import Layout, switch
from orrery.network.scenario import Overlay
from orrery.state import LabState
from tests.integration.guest.conftest import Running
from tests.support.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.lab]

InGuest = Callable[..., str]
HELD = """
import sys, time
from pathlib import Path
from orrery.network import overlay
from orrery.network.scenario import Overlay
from orrery.state import StateFile
with overlay.laid(StateFile(Path(sys.argv[1])).read(), Overlay.VXLAN):
    print("laid", flush=True)
    time.sleep(600)
"""


def traces(state: LabState) -> list[str]:
    """All that overlays may leave in the switch and in the namespace."""
    names = {name for bridges in overlay.BRIDGES.values() for name in bridges}
    this = switch(state)
    found = [one.name for one in this.bridges() if one.name in names]
    found += [name for name in Layout.of(state).namespace.links() if name in names]
    routes = this.appctl("ovs/route/show").splitlines()
    return found + [line for line in routes if line.startswith("User:") and "172.31.255." in line]


def settled(look: Callable[[], tuple[int, int]], timeout_s: float = 15) -> tuple[int, int]:
    """A counter that the switch adds up now and then, when it has not moved for two seconds."""
    end = time.monotonic() + timeout_s
    last, since = look(), time.monotonic()
    while time.monotonic() < since + 2:
        assert time.monotonic() < end, f"it still counts after {timeout_s} s"
        time.sleep(0.1)
        if (now := look()) != last:
            last, since = now, time.monotonic()
    return last


def ping(in_guest: InGuest, one: Entry, other: Entry, size: int, count: int = 3) -> str:
    address = other.address.partition("/")[0]
    words = ["ping", "-c", str(count), "-W", "2", "-s", str(size), address]
    return in_guest(one, *words, check=False)


@pytest.mark.parametrize("kind", list(Overlay))
def test_guests_talk_through_an_overlay_and_nothing_stays(
    kind: Overlay, lab_state: LabState, running: Running, in_guest: InGuest, guests: Guests
) -> None:
    with overlay.laid(lab_state, kind) as laid:
        ends = {
            f"t-{side}": {"bridge": bridge, "vlan": laid.vlan, "people": False}
            for side, bridge in (("near", laid.near), ("far", laid.far))
        }
        with running(ends) as (one, other):
            with conditions.mtu(guests, (one, other), laid.mtu):
                # IPv4 and ICMP take 28 bytes: what is sent is as large as it may be.
                assert ", 0% packet loss" in ping(in_guest, one, other, laid.mtu - 28)
            assert (one.bridge, other.bridge) == (laid.near, laid.far)
    assert traces(lab_state) == []


def test_the_tunnel_encapsulates_each_packet(
    lab_state: LabState, running: Running, in_guest: InGuest
) -> None:
    this = switch(lab_state)
    with overlay.laid(lab_state, Overlay.VXLAN) as laid:
        ends = {"t-near": {"bridge": laid.near}, "t-far": {"bridge": laid.far}}
        with running({name: {**end, "people": False} for name, end in ends.items()}) as pair:
            one, other = pair
            assert ", 0% packet loss" in ping(in_guest, one, other, 56)
            before = settled(lambda: laid.carried(this))
            inner = this.traffic(laid.near, one.port)
            assert ", 0% packet loss" in ping(in_guest, one, other, 1000, count=10)
            flows = this.appctl("dpctl/dump-flows")
            after = settled(lambda: laid.carried(this))
            packets, size = (now - was for now, was in zip(after, before, strict=True))
            inside = this.traffic(laid.near, one.port)
            assert packets >= 20
            assert packets == inside[0] - inner[0]
            assert size == inside[1] - inner[1] + packets * overlay.OUTER_BYTES
            assert "tnl_push(" in flows
            assert "tnl_pop(" in flows


def test_a_tunnel_holds_after_the_switch_has_forgotten_its_neighbours(
    lab_state: LabState, running: Running, in_guest: InGuest
) -> None:
    this = switch(lab_state)
    with overlay.laid(lab_state, Overlay.VXLAN) as laid:
        ends = {"t-near": {"bridge": laid.near}, "t-far": {"bridge": laid.far}}
        with running({name: {**end, "people": False} for name, end in ends.items()}) as pair:
            one, other = pair
            this.appctl("tnl/neigh/flush")
            assert "100% packet loss" in ping(in_guest, one, other, 56, count=1)
            laid.hold()
            # The switch finds out a moment later that what it decided has other reasons now.
            until(
                lambda: ", 0% packet loss" in ping(in_guest, one, other, 56, count=1), "an answer"
            )


def test_what_a_killed_process_left_is_found_and_removed(
    lab_state: LabState, lab_state_path: Path, tmp_path: Path, checkout: Path
) -> None:
    said = tmp_path / "said"
    words = [sys.executable, "-c", HELD, str(lab_state_path)]
    holder = shell.start(words, stdout=said, env={"PYTHONPATH": str(checkout / "tools")})
    try:
        until(lambda: said.exists() and "laid" in said.read_text(), "the tunnel")
        with (
            pytest.raises(HostError, match=rf"process {holder.pid} has it \(bridge vxlan-a\)"),
            overlay.laid(lab_state, Overlay.VXLAN),
        ):
            pass
        assert overlay.sweep(lab_state) == []
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)
    assert len(traces(lab_state)) > 4
    with overlay.laid(lab_state, Overlay.VXLAN):
        pass
    assert traces(lab_state) == []


def test_rings_of_other_layouts_talk_to_each_other(
    lab_state: LabState, running: Running, in_guest: InGuest, guests: Guests
) -> None:
    kinds: dict[str, dict[str, object]] = {
        "t-pack": {"packed": True},
        "t-plain": {"mrg_rxbuf": False, "ring_size": 1024},
    }
    with running({name: {**kind, "people": False} for name, kind in kinds.items()}) as pair:
        one, other = pair
        first, second = (conditions.of_guest(guests, entry) for entry in pair)
        assert (first["packed"], first["mrg_rxbuf"]) == (True, True)
        assert (second["packed"], second["mrg_rxbuf"]) == (False, False)
        assert ", 0% packet loss" in ping(in_guest, one, other, 1472)
        in_guest(other, "iperf3", "-s", "-D")
        for direction in ((), ("-R",)):
            address = other.address.partition("/")[0]
            words = ["iperf3", "-c", address, "-t", "1", "-J", *direction]
            assert '"error"' not in in_guest(one, *words, timeout_s=60)
        mine = [line for line in switch(lab_state).errors() if one.port in line]
        assert mine == []
