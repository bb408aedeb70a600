"""Guests of the running lab on every backend: they talk, and both sides count the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orrery.guest import queues, wiring
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network import backends
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from orrery.state import LabState
from tests.integration.guest.conftest import Running

pytestmark = [pytest.mark.root, pytest.mark.lab]

InGuest = Callable[..., str]


def plain(address: str) -> str:
    return address.partition("/")[0]


def test_a_pair_on_vhost_user_talks_on_all_its_queues(
    guests: Guests, running: Running, in_guest: InGuest
) -> None:
    """Multiqueue end to end: ethtool, interrupts, the polling core, counters on both sides."""
    with running({"t-a": {"queues": 4}, "t-b": {"queues": 4}}) as (one, other):
        in_guest(other, "iperf3", "-s", "-D")
        words = ["iperf3", "-c", plain(other.address), "-t", "3", "-P", "8", "-J"]
        assert '"error"' not in in_guest(one, *words, timeout_s=60)
        found = queues.look(guests, one)
        seen = switch(guests.state)
        assert (found.most, found.current) == (4, 4)
        assert len([queue for queue in seen.polled() if queue.port == "vh-t-a"]) == 4
    assert {row.core for row in found.rows} == set(guests.state.facts["ovs"]["pmd_cpus"])
    busy = [row for row in found.rows if row.tx_packets]
    assert len(busy) > 1, "eight connections went through one queue"
    assert all(sum(row.interrupts) > 0 for row in busy)
    # Counted by the guest's driver and by the switch, a moment apart.
    sent, arrived = (
        sum(row.tx_packets for row in found.rows),
        sum(row.host_packets for row in found.rows),
    )
    assert arrived == pytest.approx(sent, rel=0.05, abs=20)
    assert seen.errors() == []


@pytest.mark.parametrize(
    "backend", [one for one in backends.GUEST_BACKENDS if backends.PATHS[one].tap]
)
def test_a_guest_behind_a_tap_reaches_the_bridge_and_the_other_way(
    backend: Backend, lab_state: LabState, running: Running, in_guest: InGuest
) -> None:
    if reason := backends.missing(backend, lab_state):
        pytest.skip(f"not here: {reason}")
    layout = Layout.of(lab_state)
    host = wiring.own_bridge(lab_state, backend)[1]
    with running({"t-a": {"backend": backend, "queues": 2}}) as (guest,):
        assert ", 0% packet loss" in in_guest(guest, "ping", "-c", "2", "-W", "2", plain(host))
        layout.namespace.ip("neigh", "flush", "all")
        in_guest(guest, "iperf3", "-s", "-D")
        links = layout.namespace.links()
        assert "tap-t-a" in links
    assert "tap-t-a" not in layout.namespace.links()


def test_a_guest_reaches_the_outside_through_its_own_interface(
    running: Running, in_guest: InGuest, lab_state: LabState
) -> None:
    """Lab 1, row 2: a page through the NAT, here from the lab's own file server on the host."""
    url = f"{lab_state.facts['files_url']}/mnist/digits/7.png"
    with running({"t-a": {"backend": None}}) as (guest,):
        in_guest(guest, "wget", "-q", "-O", "/tmp/7.png", url)
        assert "PNG" in in_guest(guest, "head", "-c", "4", "/tmp/7.png")


def test_another_vlan_hears_nothing(running: Running, in_guest: InGuest) -> None:
    def received(entry: Entry) -> int:
        return int(in_guest(entry, "cat", "/sys/class/net/eth0/statistics/rx_packets"))

    tags = {"t-a": {"vlan": 100}, "t-b": {"vlan": 100}, "t-c": {"vlan": 200}}
    with running(tags) as (one, other, apart):
        # Broadcasts ask for an address that nobody has, so that a switch has to flood them.
        before = received(apart)
        nobody = plain(one.address).rpartition(".")[0] + ".199"
        in_guest(one, "ping", "-c", "3", "-W", "1", nobody, check=False)
        heard = received(other)
        assert heard >= 3, "the same tag has to hear the broadcasts"
        assert received(apart) - before == 0
        # One answer shows that there is a way; on a busy machine others may come late.
        said = in_guest(one, "ping", "-c", "5", "-W", "2", plain(other.address), check=False)
        assert "packets received" in said
        assert ", 100% packet loss" not in said
        words = ["ping", "-c", "2", "-W", "1", plain(apart.address)]
        assert "100% packet loss" in in_guest(one, *words, check=False)


def test_memory_from_huge_pages_is_shared_with_the_switch(
    running: Running, in_guest: InGuest, lab_state: LabState
) -> None:
    from orrery.guest.machine import Backing

    host = plain(lab_state.facts["ovs"]["address"])
    values = {"backing": Backing.HUGEPAGES, "memory_mb": 128}
    with running({"t-a": values}) as (guest,):
        assert ", 0% packet loss" in in_guest(guest, "ping", "-c", "2", "-W", "2", host)


def test_the_commands_of_the_readme_work(lab: Callable[..., Any], tmp_path: Path) -> None:
    code, text, data = lab("guest.start", "t-cli", "--queues", "2")
    try:
        assert code == 0, text
        assert data["ready"]
        code, text, data = lab("guest.list")
        assert "t-cli" in [entry["name"] for entry in data["guests"]]
        code, text, data = lab("guest.ssh", "t-cli", "--command", "hostname")
        assert (code, text.strip()) == (0, "t-cli")
        code, text, data = lab("guest.ssh", "t-cli", "--command", "exit 7")
        assert code == 4
        assert "ssh ended with code 7" in text
        code, text, data = lab("guest.queues", "t-cli")
        assert code == 0, text
        assert data["current"] == 2
        assert Path(data["picture"]).read_bytes().startswith(b"\x89PNG")
        code, text, data = lab("guest.console", "t-cli", "--log")
        assert "READY" in text
        code, text, data = lab("status")
        assert {"vh-t-cli", "br-ovs"} <= {port["name"] for port in data["ports"]}
        assert data["acceleration"] in ("kvm", "tcg")
        assert "vh-t-cli" in {queue["port"] for queue in data["queues"]}
    finally:
        code, text, data = lab("guest.stop", "t-cli")
    assert (code, data) == (0, {"stopped": ["t-cli"]})


def test_the_same_cpu_job_runs_on_the_host_and_in_guests(lab: Callable[..., Any]) -> None:
    code, text, data = lab("guest.cpu", "--work", "300", "--trials", "1")
    assert code == 0, text
    assert data["ratio_to_host"]["tcg"] > 1, "TCG cannot be faster than the host"
    Path(data["record"]).unlink()
