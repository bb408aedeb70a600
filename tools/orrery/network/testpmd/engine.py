"""The switch alone: packets that circulate between two ports of a bridge, and no guest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, GuestError, HostError, OrreryError
from orrery.guest import pages, registry
from orrery.measure.runner import TrialError
from orrery.network import backends, conditions
from orrery.network.backends import Backend
from orrery.network.layout import Layout, part, switch
from orrery.network.scenario import IMIX
from orrery.network.testpmd import wiring
from orrery.network.testpmd.program import (
    BURST,
    Counters,
    Ports,
    Program,
    Testpmd,
    TestpmdError,
    forwarding_cpu,
)
from orrery.state import LabState

RUN = Path("/run")
ENGINE_MARK = "ORRERY_ENGINE"
"""In the environment of testpmd, with its backend."""
FCS_BYTES = 4
BURSTS = 4
"""That each port sends at first; these packets circulate."""
SETTLE_S = 0.2
"""Of a trial that is not counted: the first packets meet empty caches and a PMD asleep [s]."""
LINK_TIMEOUT_S = 30.0
LINK_POLL_S = 0.1
SWITCH_TIMEOUT_S = 60.0


def missing(state: LabState, backend: Backend, frame: str) -> str:
    """Why the engine cannot run so; empty where it can."""
    if frame == IMIX:
        return "testpmd sends packets of one size: take a frame of so many bytes, not imix"
    return backends.missing(backend, state)


def sweep(state: LabState) -> list[str]:
    """Remove engines whose process is gone; names of their bridges.

    testpmd ends with its process, and guests that are bound to it are swept with the others.
    """
    if not isinstance(state.facts.get("ovs"), dict):
        return []
    this = switch(state)
    found = [one.name for one in this.bridges() if one.marks.get(wiring.MARK) == state.lab_name]
    left = [name for name in found if not _held(state, name)]
    for name in left:
        this.remove_bridge(name)
        wiring.forget_sockets(this, name.removeprefix(wiring.BRIDGE))
    namespace = Layout.of(state).namespace
    for name in namespace.links() if namespace.exists() else ():
        bridge = wiring.bridge_of(name)
        if bridge and not _held(state, bridge):
            # The other end of a pair goes along.
            namespace.ip("link", "delete", name, check=False)
            left.append(name)
    return left


class Engine:
    """A bridge with two ports and a testpmd that is at rest but for trials.

    To be used in a `with` block; then nothing stays behind.
    """

    def __init__(
        self,
        state: LabState,
        backend: Backend,
        *,
        queues: int = 1,
        packed: bool = False,
        mrg_rxbuf: bool = True,
    ) -> None:
        """Describe it; nothing is made yet.

        Args:
            state: The lab.
            backend: One of the three without a guest.
            queues: Queue pairs of a port.
            packed: Whether rings have the packed layout; vhost-user only.
            mrg_rxbuf: Whether a packet may span buffers; vhost-user only.

        Raises:
            ConfigurationError: The backend is one of guests, or cannot run here.
        """
        if backend not in wiring.SHORT:
            raise ConfigurationError(f"the engine is none of backend {backend}")
        backends.require(backend, state)
        self._have(state, wiring.Wiring(state, backend, wiring.Ring(queues, packed, mrg_rxbuf)))

    def _have(self, state: LabState, wired: wiring.Wiring) -> None:
        self.wiring = wired
        self._state = state
        self._cpu = forwarding_cpu(state.facts, os.sched_getaffinity(0))
        self._testpmd: Testpmd | None = None
        self._switch_pid = 0
        self._kept = contextlib.ExitStack()

    def __enter__(self) -> Engine:
        """Make it, up to links that are up.

        Raises:
            HostError: Something cannot be made; nothing is left then.
        """
        self._kept.enter_context(self._alone())
        try:
            self._end_stale()
            self.prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def prepare(self) -> None:
        """Have all of it, whatever died.

        Raises:
            HostError: Something cannot be made.
        """
        if not self._fault():
            return
        self._quit()
        self._await_switch()
        self.wiring = self.wiring.renewed()
        ports = Ports(
            self.wiring.devices, self._cpu, self.wiring.ring.queues, huge=self.wiring.shared
        )
        if ports.huge:
            self._require_pages(ports.memory_mb)
        self.wiring.make()
        prefix = () if ports.huge else self.wiring.namespace.argv()
        self._testpmd = Testpmd(Program.of(self._state), ports, self._marks(), prefix)
        self._testpmd.__enter__()
        self._switch_pid = self._pid_of_switch()
        self._await_links()

    def trial(self, seconds: float, frame: int) -> float:
        """Let packets circulate.

        Args:
            seconds: How long they are counted [s].
            frame: Their size with FCS [bytes].

        Returns:
            Packets that both ports received [packets/s].

        Raises:
            TrialError: None did, or something died.
        """
        try:
            self.prepare()
            counters = self._forward(seconds, frame)
        except (HostError, GuestError) as error:
            self._quit()
            raise TrialError(f"{self.wiring.label}: {error}") from error
        except BaseException:
            self._quit()
            raise
        fault = self._fault()
        if fault:
            self._quit()
            raise TrialError(f"{self.wiring.label}: {fault}")
        rate = sum(one.receive_rate for one in counters)
        if rate == 0:
            raise TrialError(f"{self.wiring.label}: no packet came in. {self._causes()}")
        return float(rate)

    def conditions(self) -> dict[str, Any]:
        """How it is, as read back."""
        ovs = self._state.facts.get("ovs") or {}
        found: dict[str, Any] = {
            "queues": self.wiring.ring.queues,
            "offloads": "none",
            "testpmd_version": Program.of(self._state).version,
            "forwarding_cpu": self._cpu,
            "packets_in_flight": (
                len(self.wiring.devices) * BURSTS * BURST * self.wiring.ring.queues
            ),
            **self.wiring.read_back(),
        }
        if self.wiring.on_switch:
            found["pmd_cpus"] = list(ovs.get("pmd_cpus") or ())
            found["switch"] = conditions.of_switch(self._state)
        return found

    def close(self) -> None:
        """Take everything away."""
        try:
            self._quit()
            with contextlib.suppress(OrreryError):
                self.wiring.remove()
        finally:
            self._kept.close()

    @property
    def pid(self) -> int:
        """Of testpmd; 0 where it does not run."""
        return self._testpmd.pid if self._testpmd else 0

    def _forward(self, seconds: float, frame: int) -> list[Counters]:
        this = self._testpmd
        if this is None:
            raise TestpmdError("testpmd does not run")
        this.ask(f"set txpkts {frame - FCS_BYTES}")
        with self.wiring.forwarding():
            this.ask(f"start tx_first {BURSTS}")
            this.let_run(SETTLE_S)
            # Its rates are since the last question, by its own clock.
            this.counters()
            this.let_run(seconds)
            counters = this.counters()
            this.ask("stop")
        return counters

    def _fault(self) -> str:
        """What is not as it was made; empty when all is."""
        this = self._testpmd
        try:
            if this is None or not this.runs():
                return "testpmd does not run"
            if self._pid_of_switch() != self._switch_pid:
                return "the switch was started again in the middle"
            down = self._down()
        except (HostError, GuestError) as error:
            return str(error)
        return f"{down} went down" if down else ""

    def _down(self) -> str:
        """What is not up yet."""
        links = self._testpmd.links() if self._testpmd else {}
        down = [f"port {port} of testpmd" for port, state in links.items() if state != "up"]
        return self.wiring.waiting_for() or " and ".join(down)

    def _await_links(self) -> None:
        end = time.monotonic() + LINK_TIMEOUT_S
        while down := self._down():
            if time.monotonic() > end:
                raise HostError(
                    f"{down} did not come up within {LINK_TIMEOUT_S:g} s{self.wiring.why()}"
                )
            if self._testpmd is not None:
                self._testpmd.let_run(LINK_POLL_S)

    def _await_switch(self) -> None:
        """Wait for a switch that is being started again."""
        if self.wiring.on_switch:
            self.wiring.switch.await_pid(SWITCH_TIMEOUT_S)

    def _pid_of_switch(self) -> int:
        return self.wiring.switch.pid() if self.wiring.on_switch else 0

    def _quit(self) -> None:
        this, self._testpmd = self._testpmd, None
        if this is not None:
            this.close()

    def _causes(self) -> str:
        causes = "Causes: a link that is down"
        if self.wiring.on_switch:
            causes += ", or flows that are gone"
        else:
            causes += (
                ", or packets of bridges that iptables drops (net.bridge.bridge-nf-call-iptables)"
            )
        if self.wiring.shared:
            causes += ", or no memory pool in the switch (too few huge pages)"
        down = self._down()
        return f"{causes}. {f'Not up: {down}' if down else 'All links are up'}{self.wiring.why()}"

    def _require_pages(self, memory_mb: int) -> None:
        size_kb = int(part(self._state, "hugepages")["size_kb"])
        whole_mb = max(memory_mb, size_kb // 1024)
        pages.require(whole_mb, size_kb)

    def _marks(self) -> dict[str, str]:
        return {registry.LAB_MARK: self._state.lab_name, ENGINE_MARK: self.wiring.label}

    def _end_stale(self) -> None:
        """End the testpmd of a run that was killed; only now, since nobody else has the lock."""
        marks = self._marks()
        for path in registry.PROC.iterdir():
            if path.name.isdigit():
                environment = registry.environment(int(path.name))
                if all(environment.get(key) == value for key, value in marks.items()):
                    registry.end(int(path.name))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from the same bridge.

        Raises:
            HostError: Somebody measures there.
        """
        path = _lock(self._state, self.wiring.bridge)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise HostError(
                f"another measurement of {self.wiring.label} runs (it holds {path}). Wait for it."
            ) from error
        finally:
            os.close(handle)


def _lock(state: LabState, bridge: str) -> Path:
    return RUN / state.lab_name / f"{bridge}.lock"


def _held(state: LabState, bridge: str) -> bool:
    """Whether somebody measures with a bridge."""
    try:
        handle = os.open(_lock(state, bridge), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
