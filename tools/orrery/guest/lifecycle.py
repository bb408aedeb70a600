"""Starting and stopping guests, so that nothing stays behind however it ends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from orrery import shell
from orrery.errors import ConfigurationError, GuestError, OrreryError
from orrery.guest import registry, wiring
from orrery.guest.machine import Accel, Backing, Machine, Nic
from orrery.guest.monitor import Agent, Monitor
from orrery.guest.registry import Entry, Registry
from orrery.network import backends
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import part, switch
from orrery.state import LabState

READY_TIMEOUT_S = {Accel.KVM: 30.0, Accel.TCG: 90.0}
SOCKET_TIMEOUT_S = 10.0
LINK_TIMEOUT_S = 10.0
CHILD_TIMEOUT_S = 5.0
POLL_S = 0.02
LOG_LINES = 8
Say = Callable[[str], object]
Judge = Callable[[str], str]


def _no_judge(_: str) -> str:
    return ""


@dataclass(frozen=True)
class Wish:
    """A guest as a user asks for it.

    Attributes:
        backend: None for a guest without measured interface.
        vlan: Tag of its port on the switch; None for an untagged one.
        msix: Whether queues have interrupts of their own.
        people: Whether it has an interface for ssh.
    """

    name: str
    accel: Accel
    backend: Backend | None = Backend.VHOST_USER
    queues: int = 1
    cpus: int = 2
    memory_mb: int = 256
    backing: Backing = Backing.MEMFD
    vlan: int | None = None
    msix: bool = True
    people: bool = True
    cpu_model: str = ""


class Guests:
    """The guests of one lab: what roles prepared, and what runs."""

    def __init__(self, state: LabState, say: Say = lambda _: None) -> None:
        self.state = state
        self.say = say
        self.registry = Registry(state.lab_name)
        self._children: dict[str, shell.Process] = {}

    def start(self, wish: Wish, *, limit_s: float = 0, hopeless: Judge = _no_judge) -> Entry:
        """Start a guest and wait until it is ready.

        Args:
            wish: What is wanted.
            limit_s: How long it may take [s]; 0 for what its acceleration usually needs.
            hopeless: Gets what QEMU has said so far; text that it returns ends the start.

        Raises:
            UsageError, ConfigurationError: The wish cannot be had.
            HostError: The host lacks or refuses something.
            GuestError: It ended, or was not ready in time.
        """
        self._check(wish)
        with self.registry.locked():
            self._sweep()
            entry = self._reserve(wish)
        began = time.monotonic()
        try:
            entry, process = self._launch(wish, entry)
            self._await_ready(entry, process, limit_s, hopeless)
            entry = self.registry.update(
                entry, ready=True, boot_s=round(time.monotonic() - began, 3)
            )
            self._enable_queues(entry)
            if entry.socket:
                self._await_link(entry, process)
        except BaseException:
            with self.registry.locked():
                self._clean(entry)
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
                monitor.execute("quit")
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

    def sweep(self) -> list[str]:
        """Remove what dead guests and broken off starts left; what that was."""
        with self.registry.locked():
            return self._sweep()

    def monitor(self, entry: Entry) -> Monitor:
        """The monitor of a guest, to be used in a `with` block."""
        path = self.registry.of(entry.name) / "monitor.sock"
        return Monitor(path, f"monitor of guest {entry.name}")

    def agent(self, entry: Entry) -> Agent:
        """The agent of a guest, to be used in a `with` block."""
        path = self.registry.of(entry.name) / "agent.sock"
        return Agent(path, f"agent of guest {entry.name}")

    def _check(self, wish: Wish) -> None:
        self._machine(wish, Entry(wish.name, 0), None).check()
        if wish.backend is None:
            return
        backends.require(wish.backend, self.state)
        if wish.vlan is not None and not PATHS[wish.backend].on_switch:
            raise ConfigurationError(
                f"guest {wish.name}: a VLAN tag belongs to a port of Open vSwitch, and "
                f"{wish.backend} is on the Linux bridge. Use vhost-user or virtio-net-ovs."
            )

    def _reserve(self, wish: Wish) -> Entry:
        known = Entry.read(self.registry.of(wish.name))
        if known is not None:
            doing = f"runs (pid {known.pid})" if known.ready else "is being started"
            raise GuestError(
                f"guest {wish.name} {doing}. Stop it with ./lab guest.stop {wish.name}, "
                "or choose another name."
            )
        index = self.registry.free_index()
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
            starter=os.getpid(),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            ssh_port=free_port() if wish.people else 0,
        )
        if wish.backend is not None:
            entry = replace(entry, **wiring.place(self.state, wish.backend, wish.name, index))
        return self.registry.write(entry)

    def _machine(self, wish: Wish, entry: Entry, nic: Nic | None) -> Machine:
        image = part(self.state, "guest_image")
        if nic is None and wish.backend is not None:
            taps = (0,) * wish.queues if PATHS[wish.backend].tap else ()
            nic = Nic(wish.backend, entry.mac, wish.queues, wish.msix, descriptors=taps)
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
        )

    def _launch(self, wish: Wish, entry: Entry) -> tuple[Entry, shell.Process]:
        """Start QEMU and connect its measured interface."""
        with wiring.opened(self.state, entry) as nic:
            machine = self._machine(wish, entry, nic)
            if machine.advice():
                self.say(machine.advice())
            process = shell.start(
                machine.argv(),
                env={registry.LAB_MARK: self.state.lab_name, registry.GUEST_MARK: wish.name},
                stdout=machine.folder / "qemu.log",
                descriptors=nic.descriptors if nic else (),
            )
        self._children[wish.name] = process
        entry = self.registry.update(entry, pid=process.pid)
        if entry.socket:
            # The switch connects at once to a socket that is there, and otherwise a second later.
            there = Path(entry.socket).exists
            self._await(there, entry, process, SOCKET_TIMEOUT_S, "no vhost-user socket")
        if entry.backend:
            wiring.connect(self.state, entry)
        return entry, process

    def _await_ready(
        self,
        entry: Entry,
        process: shell.Process,
        limit_s: float,
        hopeless: Judge,
    ) -> None:
        folder = self.registry.of(entry.name)

        def ready() -> bool:
            reason = hopeless((folder / "qemu.log").read_text(errors="replace"))
            if reason:
                raise GuestError(f"guest {entry.name}: {reason}")
            return is_ready(folder / "console.log")

        limit_s = limit_s or READY_TIMEOUT_S[Accel(entry.accel)]
        self._await(ready, entry, process, limit_s, "the guest is not ready")

    def _await(
        self,
        done: Callable[[], bool],
        entry: Entry,
        process: shell.Process,
        timeout_s: float,
        otherwise: str,
    ) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            if process.poll() is not None:
                raise GuestError(
                    f"guest {entry.name}: QEMU ended {how(process.returncode)} before the guest "
                    f"was ready.\n{self._last_words(entry)}"
                )
            if time.monotonic() > end:
                raise GuestError(
                    f"guest {entry.name}: {otherwise} after {timeout_s:g} s ({entry.accel}).\n"
                    f"{self._last_words(entry)}"
                )
            time.sleep(POLL_S)

    def _await_link(self, entry: Entry, process: shell.Process) -> None:
        """Wait until the switch polls the guest's rings.

        Where DPDK cannot make a memory pool the port has no error and just never comes up.
        """
        this = switch(self.state)

        def up() -> bool:
            port = this.port(entry.port)
            return port is not None and port.link == "up"

        try:
            self._await(up, entry, process, LINK_TIMEOUT_S, f"port {entry.port} does not come up")
        except GuestError as error:
            raise GuestError(f"{error}{this.why()}") from error

    def _last_words(self, entry: Entry) -> str:
        said = []
        for name in ("qemu.log", "console.log"):
            with contextlib.suppress(OSError):
                text = (self.registry.of(entry.name) / name).read_text(errors="replace")
                said += [f"{name}: {line}" for line in telling(text)]
        return "\n".join(said) or "(neither QEMU nor the guest said anything)"

    def _enable_queues(self, entry: Entry) -> None:
        """Switch on the queue pairs that a guest with fewer CPUs leaves off."""
        if entry.queues <= entry.cpus:
            return
        with self.agent(entry) as agent:
            agent.run(["ethtool", "-L", "eth0", "combined", str(entry.queues)], timeout_s=20)

    def _clean(self, entry: Entry) -> None:
        """End a guest's processes and remove its port and files."""
        self.registry.end_processes(entry.name)
        self._reap(entry.name)
        wiring.disconnect(self.state, entry)
        self.registry.forget(entry.name)

    def _reap(self, name: str) -> None:
        """Take note of the end of a QEMU that this process started."""
        child = self._children.pop(name, None)
        if child is not None:
            child.wait(CHILD_TIMEOUT_S)

    def _sweep(self) -> list[str]:
        removed = []
        for entry in self.registry.stale():
            self._clean(entry)
            removed.append(f"guest {entry.name}")
        known = {entry.name for entry in self.registry.entries()}
        for pid, name in self.registry.processes().items():
            if name not in known:
                registry.end(pid)
                self._reap(name)
                removed.append(f"process {pid} of guest {name}")
        removed += wiring.sweep(self.state, known)
        for text in removed:
            self.say(f"removed what an earlier run left behind: {text}")
        return removed


def telling(text: str) -> list[str]:
    """The lines of a log that tell most: those about a panic, and the last ones."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    panics = [line for line in lines[:-LOG_LINES] if "Kernel panic" in line]
    return panics + lines[-LOG_LINES:]


def is_ready(console_log: Path) -> bool:
    """Whether the guest has said that it is ready."""
    try:
        text = console_log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith("READY ") for line in text.splitlines())


def free_port() -> int:
    """A TCP port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def how(code: int) -> str:
    """How a process ended."""
    return f"with code {code}" if code >= 0 else f"by signal {-code}"
