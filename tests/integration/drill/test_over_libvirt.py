"""A real guest moves between two libvirts of this machine, and nothing is lost or left."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery.drill import domain_home, home
from orrery.drill.domain_guests import Domains
from orrery.drill.home import SIDES
from orrery.drill.hypervisor import Hypervisor, places
from orrery.drill.scenario import DrillScenario, Fault
from orrery.drill.states import Outcome
from orrery.drill.subject import Drill
from orrery.errors import ConfigurationError
from orrery.guest.lifecycle import Guests
from orrery.network.layout import switch
from tests.contracts import tree
from tests.support import private_libvirt
from tests.support.private_libvirt import PrivateLibvirt

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(400)]

IDLE = DrillScenario(memory_mb=256, downtime_ms=10, before_s=2, after_s=2)
NAMES = ("t-drill-lv-a", "t-drill-lv-b")
FOREIGN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"""


@pytest.fixture(scope="module")
def daemons(
    tmp_path_factory: pytest.TempPathFactory, lab_state_path: Path
) -> Iterator[list[PrivateLibvirt]]:
    """Two libvirtds of the test's own, which take each other for other hosts."""
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("there is no libvirtd: run ./lab up first")
    private_libvirt.bindings(tmp_path_factory.mktemp("bindings"))
    with contextlib.ExitStack() as stack:
        found = []
        for name in NAMES:
            # Sockets have short names.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-"))
            one = PrivateLibvirt(Path(folder), name, Path("/run") / lab_state_path.parent.name)
            stack.callback(one.end)
            found.append(one)
        yield found


@pytest.fixture
def domains(guests: Guests, daemons: list[PrivateLibvirt]) -> Iterator[Domains]:
    """The running lab's guests, whose drills are over these two libvirts."""
    first, second = places([one.uri for one in daemons])
    own, lab = switch(guests.state), guests.state.lab_name
    with (
        Hypervisor(first, lab, own, far=False) as here,
        Hypervisor(second, lab, own, far=False) as there,
    ):
        found = Domains(guests.state, print, (here, there), tree.ROOT / "templates" / "drill")
        try:
            yield found
        finally:
            home.sweep(found)


@contextlib.contextmanager
def drilling(domains: Domains) -> Iterator[tuple[Drill, list[dict[str, Any]]]]:
    lines: list[dict[str, Any]] = []
    shape = domain_home.shape(domains)
    with Drill(domains, print, lambda _, line: lines.append(dict(line)), shape) as drill:
        yield drill, lines


def nothing_is_left(domains: Domains, daemons: list[PrivateLibvirt]) -> bool:
    ports = [one.name for one in switch(domains.state).ports() if one.guest in SIDES]
    processes = [one for one in domains.registry.processes().values() if one in SIDES]
    lists = [one.virsh("list", "--all", "--name").split() for one in daemons]
    sockets = [one for one in switch(domains.state).vhost_dir.iterdir() if one.stem in SIDES]
    print(ports, processes, lists, sockets)
    return not (ports or processes or any(lists) or sockets)


def test_a_guest_moves_to_the_other_hypervisor_and_back_and_nothing_is_lost_or_left(
    domains: Domains, daemons: list[PrivateLibvirt]
) -> None:
    with drilling(domains) as (drill, lines):
        for _ in range(2):
            found = drill.trial(IDLE)
            print(found)
            assert found["converged"] == 1
            assert found["lost_bytes"] == found["damaged_pages"] == 0
            assert found["paused"] <= found["network_gap"] + 1
        assert [(one["source"], one["target"]) for one in lines] == [SIDES, SIDES[::-1]]
        assert not drill.leaks
        conditions = drill.conditions(IDLE)
        print(conditions)
        assert conditions["shape"] == "libvirt"
        assert [one["host"] for one in conditions["hypervisors"].values()] == list(NAMES)
        assert conditions["machine"]["backend"] == "vhost-user"
        assert conditions["machine"]["shared"]
    assert nothing_is_left(domains, daemons)


def test_memory_that_is_written_meanwhile_arrives_as_it_was_written(domains: Domains) -> None:
    with drilling(domains) as (drill, _):
        found = drill.trial(replace(IDLE, dirty_mb=64, dirty_mbps=10))
        print(found)
        assert found["damaged_pages"] == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(Fault.TARGET_DIES, Outcome.FAILED), (Fault.CANCEL, Outcome.CANCELLED)],
    ids=str,
)
def test_a_guest_whose_move_comes_to_nothing_goes_on_where_it_was(
    domains: Domains, daemons: list[PrivateLibvirt], fault: Fault, outcome: Outcome
) -> None:
    with drilling(domains) as (drill, lines):
        found = drill.trial(replace(IDLE, fault=fault, bandwidth_mbps=20, limit_s=30))
        print(found, lines[0]["why"])
        assert found["lost_bytes"] == 0
        assert lines[0]["outcome"] == outcome
        # And it moves when nothing is in the way.
        assert drill.trial(IDLE)["converged"] == 1
    assert nothing_is_left(domains, daemons)


def test_a_domain_of_that_name_that_is_not_ours_is_refused_and_left(
    domains: Domains, daemons: list[PrivateLibvirt], tmp_path: Path
) -> None:
    text = tmp_path / "foreign.xml"
    name = domains.hypervisors[1].domain
    text.write_text(FOREIGN.format(name=name))
    daemons[1].virsh("define", str(text))
    try:
        before = daemons[1].virsh("dumpxml", name)
        with pytest.raises(ConfigurationError, match="that is not a drill's of this lab"):
            domains.hypervisors[1].there()
        assert daemons[1].virsh("dumpxml", name) == before
    finally:
        daemons[1].virsh("undefine", name)
