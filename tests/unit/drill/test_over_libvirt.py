"""A move over libvirt is judged as any other: by what both QEMUs say, and by where the guest is."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orrery import libvirt, shell
from orrery.drill import domain_home, hypervisor, migration
from orrery.drill.domain import request as request_of
from orrery.drill.domain_guests import DomainAgent
from orrery.drill.domain_home import DomainHome, DomainSide, apart
from orrery.drill.hypervisor import Hypervisor, Place, places
from orrery.drill.migration import GoneError, Now, Order, migrate
from orrery.drill.scenario import DrillScenario, Fault, Help, Storage
from orrery.drill.settings import Settings
from orrery.drill.states import Moved, Outcome, Status
from orrery.errors import ConfigurationError, GuestError, HostError
from orrery.guest.machine import Backing
from orrery.network.backends import Backend
from orrery.network.scenario import Overlay
from orrery.network.switch import Switch
from tests.unit.drill.libvirts import ACTIVE, Host, Library
from tests.unit.drill.sides import Side
from tests.unit.drill.test_domain import text

A, B = "qemu+unix:///system?socket=a", "qemu+unix:///system?socket=b"
FOREIGN = "<domain><name>lab-drill</name></domain>"
SWITCH = Switch("unix:/db.sock", "/ctl", Path("/log"), Path("/vhost"))


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(migration, "TICK_S", 0.01)
    monkeypatch.setattr(migration, "LAST_WORD_S", 0.2)
    found = Library()
    monkeypatch.setattr(libvirt, "bindings", lambda: found)
    monkeypatch.setattr(hypervisor, "_run_events", lambda: None)
    monkeypatch.setitem(sys.modules, "libvirt_qemu", found)
    return found


@pytest.fixture
def pair(library: Library) -> Iterator[tuple[Hypervisor, Hypervisor]]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(Hypervisor(place, "lab", SWITCH, far=False))
            for place in places([A, B])
        )
        yield one, other
    assert all(host.closed for host in library.hosts.values())


def good_move(source: Host, target: Host) -> None:
    """As two libvirts do it: the source's QEMU is gone when the call returns."""
    assert source.domain is not None
    target.createXML(source.domain.text, 0)
    for status in ("setup", "active"):
        source.become(status)
        target.become(status)
    source.domain.answers["query-migrate"] = {**ACTIVE, "status": "completed", "downtime": 7}
    source.say("STOP")
    for status in ("pre-switchover", "device"):
        source.become(status)
    target.become("completed")
    source.become("completed")
    # What QEMU knows is read meanwhile.
    heard = threading.Event()
    heard.wait(0.1)
    source.lose()
    target.say("RESUME")


def moved(pair: tuple[Hypervisor, Hypervisor], order: Order | None = None) -> Moved:
    request = request_of(Settings(), "<there/>", "127.0.0.1", tls=False)

    async def run() -> Moved:
        here, there = pair
        with DomainSide("guest a", here).heard() as one, DomainSide("guest b", there).heard() as b:
            call = order or Order(
                "",
                call=lambda: domain_home._called(lambda: here.migrate(there.place, request)),
            )
            async with asyncio.timeout(10):
                return await migrate(one, b, call)

    return asyncio.run(run())


def test_a_move_is_one_when_the_destination_runs_the_guest(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    pair[0].start(text())
    library.script = good_move
    found = moved(pair)
    assert (found.outcome, found.why, found.odd) == (Outcome.MOVED, "", ())
    assert found.figures()["qemu_downtime"] == 7
    assert found.stopped_s is not None
    assert found.resumed_s is not None
    ((uri, parameters, flags),) = library.orders
    assert (uri, flags, parameters["destination_xml"]) == (B, 3, "<there/>")
    # Nothing is set behind libvirt's back.
    assert not library.hosts[A].hears
    assert pair[1].there()
    assert not pair[0].there()


def test_what_libvirt_refuses_leaves_the_guest_where_it_is_and_is_said(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    pair[0].start(text())

    def refuse(_source: Host, _target: Host) -> None:
        raise library.libvirtError(38, "Attempt to migrate guest to the same host")

    library.script = refuse
    found = moved(pair)
    assert found.outcome is Outcome.FAILED
    assert "the same host" in found.why


def test_a_destination_that_is_destroyed_is_no_end_of_the_guest(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    pair[0].start(text())

    def die(source: Host, target: Host) -> None:
        assert source.domain is not None
        target.createXML(source.domain.text, 0)
        source.become("setup")
        source.become("active")
        target.lose()
        source.become("failed")
        raise library.libvirtError(9, "domain is not running")

    library.script = die
    found = moved(pair)
    assert found.outcome is Outcome.FAILED
    assert "domain is not running" in found.why


def test_a_domain_of_somebody_else_is_refused_and_left(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    theirs = library.hosts[B].createXML(FOREIGN, 0)
    for act in (pair[1].there, pair[1].end, lambda: pair[1].start(text())):
        with pytest.raises(ConfigurationError, match="not a drill's of this lab"):
            act()
    assert library.hosts[B].domain is theirs


def test_a_drill_that_was_killed_has_left_a_domain_that_is_ours(
    pair: tuple[Hypervisor, Hypervisor],
) -> None:
    pair[0].start(text())
    with pytest.raises(GuestError, match="is there already"):
        pair[0].start(text())
    assert pair[0].end()
    assert not pair[0].end()


def test_a_command_is_refused_by_qemu_or_has_nobody_who_hears_it(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    with pytest.raises(GoneError, match="there is no domain lab-drill"):
        pair[0].monitor("query-status", {})
    pair[0].start(text())
    domain = library.hosts[A].domain
    assert domain is not None
    domain.answers["cont"] = {"error": {"desc": "no"}}
    with pytest.raises(GuestError, match="cont: no"):
        pair[0].monitor("cont", {})
    library.hosts[A].domain = None
    with pytest.raises(GoneError):
        pair[0].monitor("query-status", {})


def looked(source: Side, settings: Settings) -> dict[str, Any]:
    """What is read back in the middle of a move, twice."""

    async def run() -> dict[str, Any]:
        home: Any = SimpleNamespace(_otherwise={})
        meddle = DomainHome._looked(home, settings, None)
        for status in (Status.SETUP, Status.ACTIVE, Status.ACTIVE):
            await meddle(Now(source, source, status, None, None, 0.0))
        return dict(home._otherwise)

    return asyncio.run(run())


def test_what_libvirt_has_set_is_read_back_once() -> None:
    source = Side("guest a", "running")
    source.capabilities |= {"events": True, "return-path": True, "pause-before-switchover": True}
    assert looked(source, Settings()) == {"pause-before-switchover": (False, True)}
    assert len(source.told("query-migrate-parameters")) == 1


def test_a_setting_that_libvirt_has_not_kept_fails_the_move() -> None:
    source = Side("guest a", "running")
    source.capabilities |= {"events": True, "return-path": True}
    with pytest.raises(ConfigurationError, match="libvirt has set downtime-limit to 300; 10 was"):
        looked(source, Settings(parameters={"downtime-limit": 10}))


def test_a_cancel_is_said_to_libvirt(library: Library, pair: tuple[Hypervisor, Hypervisor]) -> None:
    pair[0].start(text())
    asyncio.run(DomainSide("guest a", pair[0]).execute("migrate_cancel"))
    assert library.aborted == 1


def test_the_agent_is_asked_where_the_guest_is(
    library: Library, pair: tuple[Hypervisor, Hypervisor]
) -> None:
    pair[1].start(text())
    domain = library.hosts[B].domain
    assert domain is not None
    domain.answers["guest-exec"] = {"pid": 9}
    with DomainAgent(pair[1].agent, "agent of guest drill-b") as agent:
        assert agent.start(["true"]) == 9
    assert domain.asked[0] == ("guest-ping", {})
    assert domain.asked[1][1]["path"] == "true"


def test_what_fails_apart_fails_where_it_is_awaited() -> None:
    async def run() -> None:
        def fail() -> None:
            raise GuestError("no")

        await apart(fail)

    with pytest.raises(GuestError, match="no"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "two URIs of libvirt are needed"),
        ([A], "two URIs of libvirt are needed"),
        (f"{A},{A}", "two URIs of libvirt are needed"),
        (7, "two URIs of libvirt are needed"),
        ("qemu:///system,qemu+ssh://b/system", "could not come back"),
        ("qemu+ssh://a/system,qemu+tls://b/system", "qemu\\+ssh://b/system is needed"),
        ("xen:///system,qemu:///system", "a URI of QEMU's driver is needed"),
    ],
)
def test_uris_that_cannot_be_used_are_refused_with_what_is_needed(value: object, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        places(value)


def test_the_switch_of_another_machine_is_told_over_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []

    def run(argv: list[str], **_: Any) -> Any:
        told.append(list(argv))
        return SimpleNamespace(stdout="")

    monkeypatch.setattr(shell, "run", run)
    here, there = places("qemu+ssh://a/system,qemu+ssh://root@b:2222/system")
    assert here.reached == "a"
    assert there == Place("qemu+ssh://root@b:2222/system", "b", "root", 2222)
    there.switch(SWITCH).remove_port("vh drill")
    (argv,) = told
    assert argv[0] == "ssh"
    assert argv[-5:-1] == ["-p", "2222", "root@b", "--"]
    assert argv[-1].endswith("--timeout=15 --if-exists del-port 'vh drill'")


def test_what_is_not_there_is_said(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_uri: str) -> None:
        raise library.libvirtError(38, "Failed to connect socket")

    monkeypatch.setattr(library, "open", refuse)
    with (
        pytest.raises(HostError, match="cannot be reached: Failed to connect"),
        Hypervisor(Place(A), "lab", SWITCH, far=False),
    ):
        pass


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (DrillScenario(), ""),
        (DrillScenario(help=Help.ZSTD, dirty_mb=10), ""),
        (DrillScenario(fault=Fault.CANCEL), ""),
        (DrillScenario(overlay=Overlay.VLAN), "an overlay is between two bridges of this host"),
        (DrillScenario(backend=Backend.VIRTIO_NET_OVS), "interfaces of vhost-user"),
        (DrillScenario(storage=Storage.SHARED), "has no disk"),
        (DrillScenario(backing=Backing.HUGEPAGES), "has memory from memfd"),
        (DrillScenario(fault=Fault.LINK_CUT), "libvirt itself refuses it"),
        (DrillScenario(help=Help.POSTCOPY), "which libvirt does not know of"),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_a_scenario_that_libvirt_cannot_do_is_skipped_with_the_reason(
    scenario: DrillScenario, why: str
) -> None:
    far: Any = SimpleNamespace(hypervisors=(SimpleNamespace(far=False), SimpleNamespace(far=True)))
    found = domain_home.missing(scenario, far)
    assert why in found
    assert bool(why) == bool(found)
