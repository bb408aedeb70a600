"""The guest of a drill, where it lives, and where it moves to. Nothing stays behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orrery.drill import access, faults, preflight
from orrery.drill import storage as storage_
from orrery.drill.access import Access
from orrery.drill.convergence import judge
from orrery.drill.migration import Order, migrate, start_postcopy
from orrery.drill.monitors import watched
from orrery.drill.preflight import Spec
from orrery.drill.scenario import Announcer, DrillScenario, Fault, Help, Storage
from orrery.drill.states import Moved, Outcome
from orrery.errors import GuestError, OrreryError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Backing
from orrery.guest.registry import PROC, Entry
from orrery.guest.wish import Wish
from orrery.network.backends import Backend
from orrery.network.layout import part, switch
from orrery.network.places import HostPlace
from orrery.network.scenario import Overlay

SIDES = ("drill-a", "drill-b")
PROCESSES, LIBVIRT = "processes", "libvirt"
LESS_MB = 64
MTU_TIMEOUT_S = 20.0
LEAST_CPUS = 2
"""Of a guest, also of one with one queue pair: where it is emulated, all that it does is translated
anew after a move, and two processors do that side by side."""


@contextlib.contextmanager
def behind_others() -> Iterator[None]:
    """Take processors only when nobody else wants them: the guest that is moved needs them."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@dataclass(frozen=True)
class Kind:
    """What scenarios on the same guest have in common."""

    backend: Backend
    memory_mb: int
    queues: int
    overlay: Overlay | None
    backing: Backing
    announcer: Announcer
    storage: Storage | None

    @classmethod
    def of(cls, scenario: DrillScenario) -> Kind:
        """The kind that a scenario needs."""
        return cls(
            backend=scenario.backend,
            memory_mb=scenario.memory_mb,
            queues=scenario.queues,
            overlay=scenario.overlay,
            backing=scenario.backing or Backing.MEMFD,
            announcer=scenario.announcer,
            storage=scenario.storage,
        )


class Home:
    """A guest that moves from one side to the other and back. To be used in a `with` block."""

    def __init__(self, guests: Guests, kind: Kind) -> None:
        self._guests = guests
        self._kind = kind
        self._entry: Entry | None = None
        self._target: Entry | None = None
        self._access: Access | None = None
        self._disks = Path()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Home:
        state, kind = self._guests.state, self._kind
        with contextlib.ExitStack() as stack:
            self._access = stack.enter_context(access.access(state, kind.backend, kind.overlay))
            name = tempfile.TemporaryDirectory(prefix="orrery-disks-")
            self._disks = Path(stack.enter_context(name))
            stack.callback(self._clear)
            self._entry = self._guests.start(self._wish(SIDES[0]))
            if self._access.mtu is not None:
                words = ["ip", "link", "set", "eth0", "mtu", str(self._access.mtu)]
                with self._guests.agent(self._entry) as agent:
                    agent.run(words, timeout_s=MTU_TIMEOUT_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def access(self) -> Access:
        """How the guest and the host reach each other.

        Raises:
            GuestError: The drill has not begun.
        """
        if self._access is None:
            raise GuestError("the drill has not begun")
        return self._access

    def conditions(self) -> dict[str, Any]:
        """What more is to be known of the two sides; nothing of two QEMUs of this host."""
        return {}

    def _clear(self) -> None:
        for name in SIDES:
            self._stop(name)
        self._entry = self._target = None

    def take(self, entry: Entry) -> None:
        """Take over a guest that runs already, under one of the two names."""
        self._entry = entry
        self._access = Access(HostPlace.of(self._guests.state, self._kind.backend))

    @property
    def entry(self) -> Entry:
        """The guest, where it runs.

        Raises:
            GuestError: It runs nowhere.
        """
        if self._entry is None:
            raise GuestError("the drill has no guest: it was lost, or not started yet")
        return self._entry

    def receive(self, fault: Fault | None = None) -> Entry:
        """Start the side that the guest is to move to.

        A pair that does not fit is refused before anything is started, unless that is the fault.

        Raises:
            ConfigurationError: The two machines do not fit.
            GuestError, HostError: It cannot be started.
        """
        source = self.entry
        wish = replace(self._wish(self.other), incoming=source.name)
        if fault is Fault.FEWER_QUEUES:
            wish = replace(wish, queues=self._kind.queues // 2)
        elif fault is Fault.LESS_MEMORY:
            wish = replace(wish, memory_mb=self._kind.memory_mb - LESS_MB)
        else:
            preflight.require(self.spec(), self._planned(wish))
        self._target = self._guests.start(wish)
        return self._target

    def spec(self) -> Spec:
        """The machine that runs the guest, as its command line says."""
        return preflight.spec_of(_command_line(self.entry.pid), self._version)

    def _planned(self, wish: Wish) -> Spec:
        """The machine that a wish would become."""
        words = [str(word) for word in self._guests.machine(wish).argv()]
        return preflight.spec_of(words, self._version)

    @property
    def _version(self) -> str:
        return str(part(self._guests.state, "qemu")["version"])

    def move(self, scenario: DrillScenario) -> Moved:
        """Migrate the guest to the side that waits for it; both sides stay until `settle`.

        What is taken away at once would cost the guest processor time that the clocks count.

        Raises:
            ConfigurationError: A side does not take the settings.
            GuestError: A side does not answer before anything has started.
        """
        if self._target is None:
            raise GuestError("nobody waits for the guest")
        source, target = self.entry, self._target
        with behind_others():
            moved = asyncio.run(self._migrate(scenario, source, target))
        self._target = None
        if moved.outcome is Outcome.MOVED:
            self._entry = self._guests.arrived(target)
        elif moved.outcome is Outcome.LOST:
            self._entry = None
        return moved

    def settle(self) -> None:
        """Be without every side on which the guest does not run."""
        for name in SIDES:
            if self._entry is None or name != self._entry.name:
                self._stop(name)
        self._target = None

    @property
    def other(self) -> str:
        """Name of the side where the guest is not."""
        return next(name for name in SIDES if name != self.entry.name)

    def left_over(self) -> list[str]:
        """What is there beside the guest itself, and should not be."""
        mine = self.entry
        guests = self._guests
        found = [
            f"port {port.name}"
            for port in switch(guests.state).ports()
            if port.guest in SIDES and port.name != mine.port
        ]
        found += [
            f"process {pid}"
            for pid, name in guests.registry.processes().items()
            if name in SIDES and pid != mine.pid
        ]
        found += [
            f"folder {guests.registry.of(name)}"
            for name in SIDES
            if name != mine.name and guests.registry.of(name).exists()
        ]
        folder = switch(guests.state).vhost_dir
        found += [
            f"socket {path}"
            for name in SIDES
            if name != mine.name and (path := folder / f"{name}.sock").exists()
        ]
        return found

    async def _migrate(self, scenario: DrillScenario, source: Entry, target: Entry) -> Moved:
        at = self._guests.registry.of
        socket = at(target.name) / "incoming.sock"
        helped = scenario.help is Help.AUTO_CONVERGE
        postcopy = start_postcopy if scenario.help is Help.POSTCOPY else None
        async with (
            watched(at(source.name) / "monitor.sock", f"guest {source.name}") as here,
            watched(at(target.name) / "monitor.sock", f"guest {target.name}") as there,
            faults.injected(
                scenario.fault, at(source.name), socket, lambda: _kill(target.pid)
            ) as injection,
            storage_.carried(scenario.storage, here, there, at(target.name) / "nbd.sock") as finish,
        ):
            order = Order(
                uri=f"unix:{socket}",
                settings=scenario.settings(),
                limit_s=scenario.limit_s,
                judge=judge(scenario.downtime_limit_ms, helped),
                meddle=injection.meddle or finish or postcopy,
                reach=injection.reach,
                listens=injection.listens,
            )
            return await migrate(here, there, order)

    def _wish(self, name: str) -> Wish:
        kind = self._kind
        return choose.wish(
            self._guests,
            name,
            backend=kind.backend,
            memory_mb=kind.memory_mb,
            queues=kind.queues,
            cpus=max(LEAST_CPUS, kind.queues),
            vlan=self.access.vlan,
            bridge=self.access.bridge,
            network=self.access.network,
            backing=kind.backing,
            announces=kind.announcer is Announcer.GUEST,
            data=self._image(name),
            people=False,
            bound=True,
        )

    def _image(self, name: str) -> Path | None:
        storage = self._kind.storage
        return storage_.image(self._disks, storage, name) if storage else None

    def _stop(self, name: str) -> None:
        if self._guests.registry.of(name).exists():
            # It may have ended, and been swept away, meanwhile.
            with contextlib.suppress(GuestError):
                self._guests.stop(name)


@dataclass(frozen=True)
class Shape:
    """What the two sides are.

    Attributes:
        name: In records.
        home: Makes a guest's home of a kind.
        missing: Why a scenario cannot be had in this shape; empty where it can.
    """

    name: str
    home: Callable[[Kind], Home]
    missing: Callable[[DrillScenario], str]

    @classmethod
    def processes(cls, guests: Guests) -> Shape:
        """Two QEMUs of this host."""
        return cls(PROCESSES, lambda kind: Home(guests, kind), lambda _: "")


def sweep(guests: Guests) -> None:
    """Be without what a killed drill has left."""
    guests.sweep()
    for name in SIDES:
        with contextlib.suppress(OrreryError):
            guests.stop(name)
    access.sweep(guests.state)


def _command_line(pid: int) -> list[str]:
    try:
        data = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError as error:
        raise GuestError(f"process {pid}: QEMU has ended") from error
    return data.decode(errors="replace").rstrip("\0").split("\0")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
