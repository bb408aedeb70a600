"""The switch alone: packets circulate, nothing stays behind, and a dead switch is survived."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.guest import bench, registry
from orrery.guest.registry import Entry
from orrery.measure.cpu import process_seconds
from orrery.measure.runner import TrialError
from orrery.network.backends import Backend
from orrery.network.layout import Layout, switch
from orrery.network.testpmd import engine, pvp, wiring
from orrery.network.testpmd.engine import Engine
from orrery.network.testpmd.wiring import SHORT
from orrery.state import LabState, StateFile
from tests.integration.network.private import private_switch
from tests.support import live_switch

pytestmark = [pytest.mark.root, pytest.mark.lab]

BACKENDS = sorted(SHORT)
IDLE_S = 0.5
BROKEN = re.compile("failed to bind|Bad file descriptor")
"""In the log of a switch that found the sockets of the one before it."""


@pytest.fixture
def lab_state(lab_state_path: Path) -> LabState:
    state = StateFile(lab_state_path).read()
    reason = engine.missing(state, Backend.ENGINE_VHOST_USER, "64")
    if reason:
        pytest.skip(reason)
    return state


def traces(state: LabState) -> list[str]:
    """What of the engine is there: interfaces, bridges, ports, sockets and processes."""
    this = switch(state)
    found = [name for name in Layout.of(state).namespace.links() if "eng-" in name]
    found += [one.name for one in this.bridges() if "eng-" in one.name]
    found += [path.name for path in Path(this.control).parent.glob("*eng-*")]
    return found + [str(pid) for pid in engines(state)]


def engines(state: LabState) -> list[int]:
    """Processes of testpmd."""
    return [
        int(path.name)
        for path in registry.PROC.iterdir()
        if path.name.isdigit()
        and engine.ENGINE_MARK in (marks := registry.environment(int(path.name)))
        and marks.get(registry.LAB_MARK) == state.lab_name
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_circulate_and_nothing_spins_or_stays_afterwards(
    lab_state: LabState, backend: Backend
) -> None:
    with Engine(lab_state, backend) as this:
        small, large = this.trial(0.5, 64), this.trial(0.5, 1518)
        assert small > 1000
        assert large > 1000
        before = process_seconds(this.pid)
        time.sleep(IDLE_S)
        assert process_seconds(this.pid) - before <= 0.1 * IDLE_S
        found = this.conditions()
        assert found["forwarding_cpu"] in os.sched_getaffinity(0)
        if len(os.sched_getaffinity(0)) > len(lab_state.facts["ovs"]["pmd_cpus"]):
            assert found["forwarding_cpu"] not in lab_state.facts["ovs"]["pmd_cpus"]
        pid = this.pid
        with pytest.raises(HostError, match="another measurement of engine-.* runs"):
            Engine(lab_state, backend).__enter__()
        assert this.trial(0.2, 64) > 1000
        assert this.pid == pid, "the second one took something of the first"
    assert traces(lab_state) == []


def test_the_ring_that_was_asked_for_is_the_one_that_is_used(lab_state: LabState) -> None:
    for packed, mrg_rxbuf in ((False, True), (True, False)):
        with Engine(
            lab_state, Backend.ENGINE_VHOST_USER, packed=packed, mrg_rxbuf=mrg_rxbuf
        ) as this:
            assert this.trial(0.3, 64) > 1000
            found = this.conditions()
        assert found["ring"] == ("packed" if packed else "split")
        assert found["mrg_rxbuf"] == ("on" if mrg_rxbuf else "off")


def test_engines_with_other_rings_are_there_side_by_side(lab_state: LabState) -> None:
    with (
        Engine(lab_state, Backend.ENGINE_VHOST_USER) as one,
        Engine(lab_state, Backend.ENGINE_VHOST_USER, queues=2) as two,
        Engine(lab_state, Backend.ENGINE_VHOST_USER, packed=True, mrg_rxbuf=False) as other,
    ):
        for this in (one, two, other, one):
            assert this.trial(0.2, 64) > 1000
        assert other.conditions()["ring"] == "packed"
    assert traces(lab_state) == []


def test_a_switch_that_is_killed_costs_one_trial(lab_state: LabState) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="t-eng-") as name,
        private_switch(Path(name), lab_state) as private,
        Engine(private.state, Backend.ENGINE_VHOST_USER) as this,
    ):
        assert this.trial(0.3, 64) > 1000
        killer = threading.Timer(0.7, private.kill)
        killer.start()
        with pytest.raises(TrialError, match=r"vswitchd.ctl: the switch does not answer"):
            this.trial(2, 64)
        killer.join()
        private.start()
        this.prepare()
        assert this.trial(0.3, 64) > 1000

        def replaced() -> None:
            private.kill()
            private.start()

        killer = threading.Timer(0.5, replaced)
        killer.start()
        with pytest.raises(TrialError, match="the switch was started again in the middle"):
            this.trial(4, 64)
        killer.join()
        assert this.trial(0.3, 64) > 1000
        assert BROKEN.findall((Path(name) / "vswitchd.log").read_text()) == []


@pytest.mark.disposable
def test_the_lab_s_switch_comes_back_whole_with_ports_of_a_testpmd(lab_state: LabState) -> None:
    """It is killed with the sockets of such ports in its folder; its supervisor starts another."""
    this = switch(lab_state)
    with live_switch.held(), Engine(lab_state, Backend.ENGINE_VHOST_USER) as alone:
        assert alone.trial(0.3, 64) > 1000
        left = [Path(this.control).with_name(port) for port in alone.wiring.ports]
        assert all(path.is_socket() for path in left)
        before, size = this.pid(), this.log.stat().st_size
        os.kill(before, signal.SIGKILL)
        registry.await_end(before)
        pid = this.await_pid(60)
        # Answered when the switch has made all ports that it knows.
        this.vsctl("set", "Open_vSwitch", ".", "external_ids:orrery_test=1")
        this.vsctl("remove", "Open_vSwitch", ".", "external_ids", "orrery_test")
        assert [this.port(path.name).error for path in left] == ["", ""]  # type: ignore[union-attr]
        assert wiring.forget_dead_sockets(left[0].parent) == [], "it does not listen there"
        assert alone.trial(0.3, 64) > 1000
    assert traces(lab_state) == []
    # With the ports went descriptors; one that was closed twice would be another's by now.
    share = bench.load(pid, 2)
    assert BROKEN.findall(this.log.read_bytes()[size:].decode(errors="replace")) == []
    assert this.pid() == pid
    assert share < 0.5, "it spins"


def test_a_testpmd_that_is_killed_costs_one_trial(lab_state: LabState) -> None:
    with Engine(lab_state, Backend.ENGINE_BRIDGE) as this:
        killer = threading.Timer(0.5, os.kill, (this.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(TrialError, match="testpmd ended with exit code -9"):
            this.trial(2, 64)
        assert this.trial(0.3, 64) > 1000


def test_links_that_are_cut_are_an_error_with_its_causes(
    lab_state: LabState, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(lab_state, Backend.ENGINE_BRIDGE) as this:
        # Up, but on no bridge: nothing comes back.
        Layout.of(lab_state).namespace.ip("link", "set", this.wiring.ports[0], "nomaster")
        monkeypatch.setattr(type(this.wiring), "waiting_for", lambda self: "")
        with pytest.raises(TrialError, match=r"no packet came in. Causes: .* All links are up"):
            this.trial(0.3, 64)


def test_packets_go_through_a_guest_that_rests_between_trials(lab_state: LabState) -> None:
    reason = pvp.missing(lab_state, Backend.VHOST_USER, "64")
    if reason:
        pytest.skip(f"not here: {reason}")
    with pvp.Pvp(lab_state, Backend.VHOST_USER) as this:
        assert this.trial(0.5, 64) > 500
        entry = Entry.read(registry.Registry(lab_state.lab_name).of("pvp"))
        assert entry is not None
        before = process_seconds(entry.pid)
        time.sleep(IDLE_S)
        assert process_seconds(entry.pid) - before <= 0.2 * IDLE_S
        assert this.conditions()["guest_driver"] == "uio_pci_generic"
        registry.end(entry.pid)
        assert this.trial(0.5, 64) > 500, "another guest takes the place of one that died"
    assert traces(lab_state) == []
    assert not pvp.initrd_path(lab_state, "pvp").exists()


def test_what_a_killed_run_left_ends_with_it_or_is_taken_away(
    lab_state: LabState, lab_state_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from orrery.network.testpmd.engine import Engine\n"
        "from orrery.network.backends import Backend; from orrery.state import StateFile\n"
        "with Engine(StateFile(Path(sys.argv[1])).read(), Backend.ENGINE_AF_PACKET_OVS) as this:\n"
        "    print(this.pid, flush=True); this.trial(60, 64)\n"
    )
    words = [sys.executable, "-c", program, str(lab_state_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
    # testpmd reads the end of its pipe.
    registry.await_end(pid, timeout_s=10)
    assert "br-eng-af" in traces(lab_state)
    with Engine(lab_state, Backend.ENGINE_BRIDGE):
        pairs = {"eng-af0", "eng-af0t", "eng-af1", "eng-af1t"}
        assert set(engine.sweep(lab_state)) == {"br-eng-af", *pairs}
        assert "br-eng-lx" in traces(lab_state), "somebody measures with it"
    assert traces(lab_state) == []
