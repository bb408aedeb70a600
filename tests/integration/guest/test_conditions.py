"""Settings of a trial hold for real guests while they are asked for, and are put back."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from orrery.guest.lifecycle import Guests
from orrery.network import conditions
from orrery.network.backends import Backend
from orrery.network.layout import switch
from orrery.network.scenario import Pinning
from orrery.state import LabState
from tests.integration.guest.conftest import Running

pytestmark = [pytest.mark.root, pytest.mark.lab]

InGuest = Callable[..., str]


@pytest.mark.parametrize(
    "backend", [Backend.VHOST_USER, Backend.VIRTIO_NET, Backend.VIRTIO_NET_OVS]
)
def test_large_frames_pass_while_they_are_asked_for(
    backend: Backend, guests: Guests, running: Running, in_guest: InGuest
) -> None:
    values = {"backend": backend, "people": False}
    with running({"t-big-a": values, "t-big-b": values}) as (one, other):
        before = conditions.of_guest(guests, one)
        address = other.address.partition("/")[0]
        # The guest's ping splits nothing: IPv4 and ICMP take 28 bytes.
        words = ["ping", "-c", "2", "-W", "2", "-s", str(9000 - 28), address]
        with conditions.mtu(guests, (one, other), 9000):
            for entry in (one, other):
                held = conditions.of_guest(guests, entry)
                assert (held["mtu"], held["port_mtu"]) == (9000, 9000)
            assert ", 0% packet loss" in in_guest(one, *words)
        assert conditions.of_guest(guests, one) == before
        assert (before["mtu"], before["port_mtu"]) == (1500, 1500)
        ports = [entry.port for entry in (one, other)]
        errors = switch(guests.state).errors()
        assert [line for line in errors if any(port in line for port in ports)] == []


def test_all_threads_of_guests_are_apart_while_it_is_asked_for(
    guests: Guests, running: Running
) -> None:
    allowed = os.sched_getaffinity(0)
    turns = conditions.turns_of(allowed, guests.state.facts["ovs"]["pmd_cpus"])
    names = {f"t-pin-{side}": {"people": False, "backend": Backend.VIRTIO_NET} for side in "ab"}
    with running(names) as pair:
        before = [conditions.of_guest(guests, entry)["cpus"] for entry in pair]
        with conditions.pinned(guests.state, pair, Pinning.APART):
            held = [conditions.of_guest(guests, entry)["cpus"] for entry in pair]
            assert held == [[turns[number % len(turns)]] for number in range(2)]
        with conditions.pinned(guests.state, pair, Pinning.NONE):
            assert conditions.of_guest(guests, pair[0])["cpus"] == sorted(allowed)
        assert [conditions.of_guest(guests, entry)["cpus"] for entry in pair] == before


def test_the_switch_takes_another_sleep_and_gets_its_own_back(lab_state: LabState) -> None:
    before = conditions.settings(switch(lab_state))
    with conditions.pmd_sleep(lab_state, 250):
        held = conditions.of_switch(lab_state)
        assert held["pmd_sleep_us"] == 250
        assert held["pmd_cpus"] == lab_state.facts["ovs"]["pmd_cpus"]
    assert conditions.settings(switch(lab_state)) == before
