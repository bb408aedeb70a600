"""What goes wrong with guests is said, and leaves nothing that is in the way of the next."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import GuestError, HostError
from orrery.guest import bench, choose, registry
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel, Backing
from orrery.guest.registry import Entry
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from tests.integration.guest.conftest import Running
from tests.support import live_switch
from tests.support.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.lab]

Lab = Callable[..., Any]


def wish(guests: Guests, name: str, **values: Any) -> Any:
    return choose.wish(guests, name, **{"backend": Backend.VHOST_USER, "people": False, **values})


def traces(guests: Guests, name: str) -> list[str]:
    """Everything that a guest may leave behind."""
    found = [f"pid {pid}" for pid, guest in guests.registry.processes().items() if guest == name]
    found += [port.name for port in switch(guests.state).ports() if port.guest == name]
    places = [guests.registry.of(name), switch(guests.state).vhost_dir / f"{name}.sock"]
    return found + [str(path) for path in places if path.exists()]


def test_a_guest_that_was_killed_is_dead_in_the_list_and_gone_at_the_next_start(
    guests: Guests, running: Running, lab: Lab
) -> None:
    with running({"t-dead": {"people": False}}) as (entry,):
        registry.end(entry.pid)
        states = {one["name"]: one["state"] for one in lab("guest.list")[2]["guests"]}
        assert states["t-dead"] == "dead"
        code, text, _ = lab("guest.queues", "t-dead")
        assert code == 4
        assert "there is no running guest 't-dead'" in text
        # The same name, at once.
        again = guests.start(wish(guests, "t-dead"))
        assert again.pid != entry.pid
    assert traces(guests, "t-dead") == []


def test_a_killed_command_leaves_nothing_that_the_next_does_not_remove(
    checkout: Path, guests: Guests
) -> None:
    words = ["guest.start", "t-broken", "-e", f"lab_name={guests.state.lab_name}"]
    command = shell.start([checkout / "lab", *words], cwd=checkout)
    folder = guests.registry.of("t-broken")
    until(lambda: (entry := Entry.read(folder)) and entry.pid, "a guest")
    os.kill(command.pid, signal.SIGKILL)
    command.wait(10)
    assert "t-broken" in guests.registry.processes().values()
    said: list[str] = []
    Guests(guests.state, say=said.append).sweep()
    assert "guest t-broken" in "".join(said)
    assert traces(guests, "t-broken") == []


def test_a_guest_that_is_stopped_while_it_starts_says_so_and_its_name_is_free(
    guests: Guests, running: Running
) -> None:
    """The first start must not take away what the second one of that name has."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        first = pool.submit(Guests(guests.state).start, wish(guests, "t-stop", backend=None))
        until(lambda: (entry := Entry.read(guests.registry.of("t-stop"))) and entry.pid, "a guest")
        guests.stop("t-stop")
        with running({"t-stop": {"people": False}}) as (entry,):
            with pytest.raises(GuestError, match="t-stop was stopped while it was being started"):
                first.result()
            assert registry.alive(entry.pid)
            assert guests.registry.entry("t-stop") == entry
    assert traces(guests, "t-stop") == []


def test_a_guest_of_a_killed_measurement_is_gone_at_the_next_start(
    checkout: Path, guests: Guests
) -> None:
    words = ["guest.cpu", "--work", "50000", "-e", f"lab_name={guests.state.lab_name}"]
    command = shell.start([checkout / "lab", *words], cwd=checkout)
    folder = guests.registry.of("cpu-tcg")
    until(lambda: (entry := Entry.read(folder)) and entry.ready, "a guest that is ready")
    os.kill(command.pid, signal.SIGKILL)
    command.wait(10)
    assert "guest cpu-tcg" in guests.sweep()
    assert traces(guests, "cpu-tcg") == []


def test_a_tap_name_that_is_taken_is_refused_and_the_tap_stays(guests: Guests) -> None:
    space = Layout.of(guests.state).namespace
    space.ip("tuntap", "add", "dev", "tap-t-taken", "mode", "tap")
    try:
        with pytest.raises(HostError, match=r"tap tap-t-taken .* is there already\. Stop what"):
            guests.start(wish(guests, "t-taken", backend=Backend.VIRTIO_NET))
        assert "tap-t-taken" in space.links()
    finally:
        space.ip("link", "delete", "tap-t-taken")
    assert traces(guests, "t-taken") == []


def test_too_few_huge_pages_name_the_variable(guests: Guests) -> None:
    too_much = {"backing": Backing.HUGEPAGES, "memory_mb": 1 << 18}
    with pytest.raises(HostError, match=r"free, 131072 needed .* Set hugepages_count"):
        guests.start(wish(guests, "t-pages", **too_much))
    assert traces(guests, "t-pages") == []


def test_a_process_and_a_port_without_a_folder_are_found(guests: Guests, running: Running) -> None:
    with running({"t-lost": {"people": False}}) as (entry,):
        guests.registry.forget("t-lost")
        removed = guests.sweep()
    assert f"process {entry.pid} of guest t-lost" in removed
    assert "port vh-t-lost" in removed
    assert traces(guests, "t-lost") == []


def test_a_port_name_that_is_taken_is_refused_and_the_port_stays(guests: Guests) -> None:
    this = switch(guests.state)
    bridge = guests.state.facts["ovs"]["bridge"]
    this.vsctl("add-port", bridge, "vh-t-taken", "--", "set", "Interface", "vh-t-taken",
               "type=internal")  # fmt: skip
    try:
        with pytest.raises(HostError, match="port vh-t-taken is there already, on br-ovs, and bel"):
            guests.start(wish(guests, "t-taken"))
        assert this.port("vh-t-taken") is not None
        assert guests.registry.entries() == [] or "t-taken" not in [
            entry.name for entry in guests.registry.entries()
        ]
    finally:
        this.remove_port("vh-t-taken")
    assert traces(guests, "t-taken") == []


def test_a_name_that_runs_is_refused_and_goes_on(guests: Guests, running: Running) -> None:
    with running({"t-twice": {"people": False}}) as (entry,):
        with pytest.raises(GuestError, match=rf"guest t-twice runs \(pid {entry.pid}\)"):
            guests.start(wish(guests, "t-twice"))
        assert registry.alive(entry.pid)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--queues", "3"], 1, "--queues takes one of 1, 2, 4, 8, not '3'"),
        (["--memory-backing", "private"], 2, "every packet would be lost"),
        (["--backend", "sr-iov"], 1, "--backend takes one of vhost-user, virtio-net"),
        (["--vlan", "4095"], 1, "--vlan takes at most 4094, not 4095"),
        (["--backend", "virtio-net", "--vlan", "5"], 2, "a VLAN tag belongs to a port of Open"),
    ],
)
def test_a_wish_that_cannot_be_had_says_why(
    lab: Lab, guests: Guests, words: list[str], code: int, message: str
) -> None:
    found, text, _ = lab("guest.start", "t-bad", *words)
    assert message in text
    assert found == code
    assert traces(guests, "t-bad") == []


def test_a_guest_that_cannot_boot_shows_its_last_words(guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "initrd").write_bytes(b"nothing")
    image = {**guests.state.facts["guest_image"], "initrd": str(tmp_path / "initrd")}
    broken = Guests(replace(guests.state, facts={**guests.state.facts, "guest_image": image}))
    with pytest.raises(GuestError, match=r"(?s)guest t-panic: .*panic"):
        broken.start(wish(guests, "t-panic", backend=None))
    assert traces(guests, "t-panic") == []


def test_a_qemu_that_is_refused_its_arguments_shows_why(guests: Guests) -> None:
    with pytest.raises(GuestError, match=r"(?s)QEMU ended with code 1.*unable to find CPU model"):
        guests.start(wish(guests, "t-cpu", backend=None, cpu_model="abacus"))
    assert traces(guests, "t-cpu") == []


@pytest.mark.disposable
def test_traffic_resumes_by_itself_when_the_switch_is_killed(
    guests: Guests, running: Running, lab_state_path: Path
) -> None:
    """OVS is killed and its supervisor starts it again, under two guests that go on."""
    pair = {"t-a": {"people": False}, "t-b": {"people": False}}
    with live_switch.held(), running(pair) as (one, other):
        before = switch(guests.state).pid()
        # Bounded by the function itself: traffic that does not come back is an error.
        assert bench.outage(guests, one, other, before) > 0
        assert switch(guests.state).pid() != before
        assert registry.alive(one.pid)
        assert registry.alive(other.pid)
    assert json.loads(lab_state_path.read_text())["facts"]["ovs"]


@pytest.mark.disposable
def test_kvm_that_is_forced_and_does_not_work_ends_with_the_reason(guests: Guests) -> None:
    if not Path("/dev/kvm").exists():
        pytest.skip("not here: there is no /dev/kvm to be forced")
    from orrery.guest import accel

    if accel.decide(guests).answer == Accel.KVM:
        pytest.skip("not here: KVM works")
    with pytest.raises(GuestError, match=r"not ready after 6 s \(kvm\)|QEMU ended"):
        guests.start(wish(guests, "t-kvm", backend=None, accel="kvm"), limit_s=6)
    assert traces(guests, "t-kvm") == []
