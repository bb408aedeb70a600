"""Starting and stopping guests, so that nothing stays behind however it ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orrery import shell
from orrery.errors import (
    ConfigurationError,
    GuestError,
    HostError,
    MeasurementError,
    OrreryError,
)
from orrery.guest import disk, pages, registry, wiring
from orrery.guest.machine import PEOPLE_MAC, Accel, Backing, Machine, Nic
from orrery.guest.monitor import Agent, Monitor
from orrery.guest.registry import Entry, Registry
from orrery.guest.waiting import CrashError, Judge, Waiting
from orrery.guest.wish import Wish
from orrery.network import backends
from orrery.network.backends import PATHS
from orrery.network.layout import part, switch
from orrery.state import LabState
from orrery.vm.seed import SeedNic

SOCKET_TIMEOUT_S = 10.0
LINK_TIMEOUT_S = 10.0
LINK_POLL_S = 0.1
QUIT_TIMEOUT_S = 2.0
RECEIVES_TIMEOUT_S = 20.0
Say = Callable[[str], object]


class TakenError(GuestError):
    """A guest of that name runs already, or was stopped by somebody else: nobody's fault."""


def _no_judge(_: str) -> str:
    return ""


class Guests:
    """The guests of one lab: what roles prepared, and what runs."""

    def __init__(self, state: LabState, say: Say = lambda _: None) -> None:
        self.state = state
        self.say = say
        self.registry = Registry(state.lab_name)
        self._children: set[shell.Process] = set()

    def start(self, wish: Wish, *, limit_s: float = 0, hopeless: Judge = _no_judge) -> Entry:
        """Start a guest and wait until it is ready.

        TCG with threads aborts once in some hundred starts while a guest sets its devices up (seen
        in QEMU 10.0.2, `iotlb_to_section`), so a crash under it is tried once more.

        Args:
            wish: What is wanted.
            limit_s: How long it may take [s]; 0 for what its acceleration usually needs.
            hopeless: Gets what QEMU has said so far; text that it returns ends the start.

        Raises:
            UsageError, ConfigurationError: The wish cannot be had.
            HostError: The host lacks or refuses something.
            TakenError: There is a guest of that name, or it was stopped meanwhile.
            CrashError: QEMU ended by a fault of its own.
            GuestError: It ended, or was not ready in time.
        """
        try:
            return self._start(wish, limit_s, hopeless)
        except CrashError as error:
            if wish.accel is not Accel.TCG:
                raise
            self.say(f"{str(error).splitlines()[0]} It is started once more.")
        return self._start(wish, limit_s, hopeless)

    def _start(self, wish: Wish, limit_s: float, hopeless: Judge) -> Entry:
        self._check(wish)
        with self.registry.locked():
            self._sweep()
            entry = self._reserve(wish)
        began = time.monotonic()
        try:
            entry, waiting = self._launch(wish, entry)
            if wish.incoming:
                otherwise = f"it does not wait for guest {wish.incoming}"
                waiting.until(lambda: self._receives(entry), RECEIVES_TIMEOUT_S, otherwise)
                return self._update(entry, ready=True, boot_s=round(time.monotonic() - began, 3))
            waiting.until_ready(limit_s, hopeless)
            entry = self._update(entry, ready=True, boot_s=round(time.monotonic() - began, 3))
            self._enable_queues(entry)
            if entry.socket:
                self._await_link(entry, waiting)
        except BaseException as error:
            stopped = not self._give_up(entry)
            if stopped and isinstance(error, OrreryError | OSError):
                raise _stopped(entry.name) from error
            raise
        return entry

    def stop(self, name: str) -> Entry:
        """Stop a guest and remove its port and run files.

        Raises:
            GuestError: There is none of that name.
        """
        with self.registry.locked():
            entry = Entry.read(self.registry.of(name)) if name else None
            if entry is None:
                self.registry.entry(name)
                raise GuestError(f"guest {name}: its folder cannot be read")
            with contextlib.suppress(OrreryError), self.monitor(entry) as monitor:
                monitor.execute("quit", timeout_s=QUIT_TIMEOUT_S)
            self._clean(entry)
        return entry

    def stop_all(self) -> list[str]:
        """Stop all guests and remove what a killed lab left; the names of those that ran."""
        names = [entry.name for entry in self.registry.entries()]
        for name in names:
            with contextlib.suppress(GuestError):
                self.stop(name)
        self.sweep()
        return names

    def arrived(self, entry: Entry) -> Entry:
        """Take note that the guest which was waited for runs here now.

        Raises:
            TakenError: It was stopped meanwhile.
        """
        return self._update(entry, incoming="")

    def machine(self, wish: Wish) -> Machine:
        """The machine that a wish would become; nothing is made.

        Raises:
            GuestError: The guest that is to move there does not run.
        """
        entry = Entry(wish.name, 0)
        if wish.incoming:
            source = self.registry.entry(wish.incoming)
            entry = replace(entry, mac=source.mac, address=source.address)
        return self._machine(wish, entry, None)

    def sweep(self) -> list[str]:
        """Remove what dead guests and broken off starts left; what that was."""
        with self.registry.locked():
            return self._sweep()

    def monitor(self, entry: Entry) -> Monitor:
        """The monitor of a guest, to be used in a `with` block."""
        path = self.registry.of(entry.name) / "monitor.sock"
        return Monitor(path, f"monitor of guest {entry.name}", QUIT_TIMEOUT_S)

    def agent(self, entry: Entry) -> Agent:
        """The agent of a guest, to be used in a `with` block."""
        path = self.registry.of(entry.name) / "agent.sock"
        return Agent(path, f"agent of guest {entry.name}")

    def _check(self, wish: Wish) -> None:
        self._machine(wish, Entry(wish.name, 0), None).check()
        if wish.backing is Backing.HUGEPAGES:
            pages.require(wish.memory_mb, int(part(self.state, "hugepages")["size_kb"]))
        if wish.backend is None:
            return
        backends.require(wish.backend, self.state)
        if wish.vlan is not None and not PATHS[wish.backend].on_switch:
            raise ConfigurationError(
                f"guest {wish.name}: a VLAN tag belongs to a port of Open vSwitch, and "
                f"{wish.backend} is on the Linux bridge. Use vhost-user or virtio-net-ovs."
            )
        wiring.check_bridge(self.state, wish.backend, wish.name, wish.bridge)

    def _reserve(self, wish: Wish) -> Entry:
        known = Entry.read(self.registry.of(wish.name))
        if known is not None:
            doing = f"runs (pid {known.pid})" if known.ready else "is being started"
            raise TakenError(
                f"guest {wish.name} {doing}. Stop it with ./lab guest.stop {wish.name}, "
                "or choose another name."
            )
        # One that is to move here has a number already.
        source = self.registry.entry(wish.incoming) if wish.incoming else None
        index = source.index if source else self.registry.free_index()
        entry = Entry(
            name=wish.name,
            index=index,
            backend=wish.backend or "",
            queues=wish.queues if wish.backend else 0,
            cpus=wish.cpus,
            memory_mb=wish.memory_mb,
            vlan=wish.vlan,
            accel=wish.accel,
            msix=wish.msix,
            packed=wish.packed,
            mrg_rxbuf=wish.mrg_rxbuf,
            ring_size=wish.ring_size,
            announces=wish.announces,
            run=secrets.token_hex(8),
            starter=os.getpid(),
            bound=wish.bound,
            incoming=wish.incoming,
            image=wish.image.name if wish.image else "",
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            ssh_port=free_port() if wish.people else 0,
        )
        if wish.backend is not None:
            # Under the lock, since it is made in several steps.
            wiring.prepare(self.state, wish.backend)
            place = wiring.place(
                self.state, wish.backend, wish.name, index, wish.bridge, wish.network
            )
            entry = replace(entry, **place)
        if source is not None:
            entry = replace(entry, mac=source.mac, address=source.address)
        try:
            return self.registry.write(entry)
        except HostError:
            self.registry.forget(entry.name)
            raise

    def _machine(self, wish: Wish, entry: Entry, nic: Nic | None) -> Machine:
        image = part(self.state, "guest_image")
        if nic is None and wish.backend is not None:
            taps = (0,) * wish.queues if PATHS[wish.backend].tap else ()
            nic = Nic(
                wish.backend,
                entry.mac,
                wish.queues,
                wish.msix,
                descriptors=taps,
                ring_size=wish.ring_size,
                announces=wish.announces,
            )
        mount = (self.state.facts.get("hugepages") or {}).get("mount")
        return Machine(
            name=wish.name,
            program=Path(str(part(self.state, "qemu")["program"])),
            kernel=Path(str(image["kernel"])),
            initrd=Path(str(image["initrd"])),
            folder=self.registry.of(wish.name),
            accel=wish.accel,
            cpus=wish.cpus,
            memory_mb=wish.memory_mb,
            backing=wish.backing,
            nic=nic,
            address=entry.address,
            ssh_port=entry.ssh_port,
            keys=Path(str(image["keys"])),
            hugepages=Path(str(mount)) if mount else None,
            cpu_model=wish.cpu_model,
            incoming=bool(wish.incoming),
            disk=disk.of(self.state, wish.name, wish.image),
            data=wish.data,
        )

    def _launch(self, wish: Wish, entry: Entry) -> tuple[Entry, Waiting]:
        """Start QEMU and connect its measured interface."""
        with wiring.opened(self.state, entry) as nic:
            machine = self._machine(wish, entry, nic)
            if machine.advice():
                self.say(machine.advice())
            if machine.disk is not None:
                disk.prepare(self.state, machine.disk, entry.run, _seed_nics(entry))
            process = shell.start(
                machine.argv(),
                env={registry.LAB_MARK: self.state.lab_name, registry.GUEST_MARK: wish.name},
                stdout=machine.folder / "qemu.log",
                descriptors=nic.descriptors if nic else (),
            )
        self._children.add(process)
        try:
            entry = self._update(entry, pid=process.pid)
        except OrreryError:
            # Nobody else knows of it.
            shell.stop(process)
            raise
        slow = machine.disk is not None
        waiting = Waiting(wish.name, wish.accel, machine.folder, process, slow)
        if entry.socket:
            # The switch connects at once to a socket that is there, and otherwise a second later.
            waiting.until(Path(entry.socket).exists, SOCKET_TIMEOUT_S, "no vhost-user socket")
        if entry.backend:
            wiring.connect(self.state, entry)
        return entry, waiting

    def _await_link(self, entry: Entry, waiting: Waiting) -> None:
        """Wait until the switch polls the guest's rings.

        Where DPDK cannot make a memory pool the port has no error and just never comes up.
        """
        this = switch(self.state)

        def up() -> bool:
            return this.link(entry.port) == "up"

        otherwise = f"port {entry.port} does not come up"
        try:
            waiting.until(up, LINK_TIMEOUT_S, otherwise, poll_s=LINK_POLL_S)
        except GuestError as error:
            raise GuestError(f"{error}{this.why()}") from error

    def _receives(self, entry: Entry) -> bool:
        """Whether QEMU waits for a guest."""
        with contextlib.suppress(GuestError), self.monitor(entry) as monitor:
            return bool(monitor.execute("query-status")["status"] == "inmigrate")
        return False

    def _enable_queues(self, entry: Entry) -> None:
        """Switch on the queue pairs that a guest with fewer CPUs leaves off."""
        if entry.queues <= entry.cpus or entry.image:
            return
        with self.agent(entry) as agent:
            agent.run(["ethtool", "-L", "eth0", "combined", str(entry.queues)], timeout_s=20)

    def _update(self, entry: Entry, **values: Any) -> Entry:
        """Write other values into the entry of a guest that is being started.

        Raises:
            TakenError: It was stopped meanwhile; its name may be another's.
        """
        with self.registry.locked():
            if not self.registry.is_current(entry):
                raise _stopped(entry.name)
            return self.registry.update(entry, **values)

    def _give_up(self, entry: Entry) -> bool:
        """Remove what a start has made; False where it was stopped, which has removed it."""
        with self.registry.locked():
            current = self.registry.is_current(entry)
            if current:
                self._clean(entry)
            else:
                self._reap()
            return current

    def _clean(self, entry: Entry) -> None:
        """End a guest's processes and remove its port and files."""
        self.registry.end_processes(entry.name)
        # One on its way out shows no marks any more, and has its tap and its memory still.
        if not registry.environment(entry.pid):
            registry.await_end(entry.pid)
        self._reap()
        wiring.disconnect(self.state, entry)
        self.registry.forget(entry.name)
        disk.remove(disk.folder(self.state.lab_name, entry.name))
        wiring.tidy(self.state, entry, self.registry.entries())

    def _reap(self) -> None:
        """Take note of the end of QEMUs that this process started."""
        self._children -= {child for child in list(self._children) if child.poll() is not None}

    def _sweep(self) -> list[str]:
        removed = []
        for entry in self.registry.stale():
            self._clean(entry)
            removed.append(f"guest {entry.name}")
        entries = self.registry.entries()
        known = {entry.name for entry in entries}
        for pid, name in self.registry.processes().items():
            if name not in known:
                registry.end(pid)
                removed.append(f"process {pid} of guest {name}")
        self._reap()
        for name in self.registry.unreadable():
            self.registry.forget(name)
            removed.append(f"folder {self.registry.of(name)}")
        removed += wiring.sweep(self.state, entries)
        for text in removed:
            self.say(f"removed what an earlier run left behind: {text}")
        return removed


def _seed_nics(entry: Entry) -> tuple[SeedNic, ...]:
    """The interfaces of a guest with a disk, the measured one first."""
    measured = [SeedNic(entry.mac, entry.address, optional=True)] if entry.backend else []
    return (*measured, *([SeedNic(PEOPLE_MAC)] if entry.ssh_port else []))


def _stopped(name: str) -> TakenError:
    return TakenError(f"guest {name} was stopped while it was being started")


def refuse_running(guests: Guests, why: str) -> None:
    """Refuse to measure beside guests of the user; what a dead measurement left is removed.

    Args:
        guests: Of the lab.
        why: What they would do, or would be done to them.

    Raises:
        MeasurementError: There are some.
    """
    guests.sweep()
    running = [entry.name for entry in guests.registry.entries()]
    if running:
        raise MeasurementError(
            f"guests run ({', '.join(running)}) and {why}. Stop them first: ./lab guest.stop all"
        )


def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
