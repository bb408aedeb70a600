"""Which guests a lab has: one folder of run files each, and what a killed lab left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from orrery.errors import GuestError, HostError

PROC = Path("/proc")
ENTRY = "guest.json"
LAB_MARK = "ORRERY_LAB"
GUEST_MARK = "ORRERY_GUEST"
"""Environment of a guest's process; by these the lab knows its own."""

FIRST_INDEX = 11
LAST_INDEX = 250
END_TIMEOUT_S = 5.0
POLL_S = 0.02


@dataclass(frozen=True)
class Entry:
    """A guest as its folder describes it.

    Attributes:
        index: Last byte of its MAC and IPv4 address.
        backend: Of the measured interface; empty for none.
        port: Its port on the switch; empty where it has none.
        address: With prefix length; empty for none.
        bridge: That its port is on; empty where it has none.
        pid: QEMU.
        packed: Whether packed rings were asked for.
        mrg_rxbuf: Whether a packet may span receive buffers.
        ring_size: Buffers of each ring.
        announces: Whether the guest itself says where it is after a move.
        run: Of this start only; a later guest of the same name has another.
        starter: The process that starts it; of no meaning once it is ready, unless it is bound.
        bound: Whether it ends with its starter.
        incoming: The guest that it waits for, which moves here; empty where it runs one.
        image: Of its disk; empty for one that starts from memory.
        started: UTC, ISO 8601.
        boot_s: From QEMU's start until the guest was ready [s].
    """

    name: str
    index: int
    backend: str = ""
    queues: int = 0
    cpus: int = 0
    memory_mb: int = 0
    vlan: int | None = None
    mac: str = ""
    address: str = ""
    bridge: str = ""
    port: str = ""
    socket: str = ""
    ssh_port: int = 0
    accel: str = ""
    msix: bool = True
    packed: bool = False
    mrg_rxbuf: bool = True
    ring_size: int = 256
    announces: bool = True
    pid: int = 0
    run: str = ""
    starter: int = 0
    bound: bool = False
    incoming: str = ""
    image: str = ""
    ready: bool = False
    started: str = ""
    boot_s: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Entry | None:
        """Read a folder's entry; None when there is none to be read."""
        try:
            data = json.loads((folder / ENTRY).read_text(encoding="utf-8"))
            known = cls.__dataclass_fields__
            return cls(**{key: value for key, value in data.items() if key in known})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


class Registry:
    """The guests of one lab.

    Attributes:
        folder: `/run/<lab_name>/guests`.
    """

    def __init__(self, lab_name: str, folder: Path | None = None) -> None:
        self.lab_name = lab_name
        self.folder = folder or Path("/run") / lab_name / "guests"

    def of(self, name: str) -> Path:
        """Folder of one guest."""
        return self.folder / name

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from starting and stopping guests of this lab meanwhile.

        Raises:
            HostError: The folder cannot be made; root is needed.
        """
        try:
            self.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            # Whoever can open the folder can hold its lock.
            self.folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(
                f"{self.folder}: {error.strerror}. Guests need root: run the command with sudo."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def entries(self) -> list[Entry]:
        """All guests, those that are being started or have died among them.

        Raises:
            HostError: Only root may look.
        """
        found = (Entry.read(path) for path in self._folders())
        return [entry for entry in found if entry is not None]

    def _folders(self) -> list[Path]:
        try:
            return [path for path in sorted(self.folder.iterdir()) if path.is_dir()]
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise HostError(f"{self.folder}: only root may look: use sudo") from error

    def entry(self, name: str) -> Entry:
        """One guest that runs.

        Raises:
            GuestError: There is none of that name.
        """
        entry = Entry.read(self.of(name)) if name else None
        if entry is None or not alive(entry.pid):
            running = ", ".join(one.name for one in self.entries() if alive(one.pid))
            raise GuestError(
                f"there is no running guest '{name}' in the lab '{self.lab_name}' "
                f"(running: {running or 'none'}). Start one with ./lab guest.start."
            )
        return entry

    def is_current(self, entry: Entry) -> bool:
        """Whether a guest's folder is still that of this start."""
        known = Entry.read(self.of(entry.name))
        return known is not None and known.run == entry.run

    def write(self, entry: Entry) -> Entry:
        """Write an entry as a whole.

        Raises:
            HostError: The disk is full, or refuses it.
        """
        folder = self.of(entry.name)
        draft = folder / f".{ENTRY}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(asdict(entry), indent=2) + "\n", encoding="utf-8")
            draft.replace(folder / ENTRY)
        except OSError as error:
            raise HostError(
                f"guest {entry.name}: {folder} cannot be written: {error.strerror}"
            ) from error
        return entry

    def update(self, entry: Entry, **values: Any) -> Entry:
        """Write an entry with other values."""
        return self.write(replace(entry, **values))

    def forget(self, name: str) -> None:
        """Remove a guest's folder."""
        shutil.rmtree(self.of(name), ignore_errors=True)

    def free_index(self) -> int:
        """The first index that no guest has.

        Raises:
            HostError: All are taken.
        """
        taken = {entry.index for entry in self.entries()}
        for index in range(FIRST_INDEX, LAST_INDEX + 1):
            if index not in taken:
                return index
        raise HostError(f"all {LAST_INDEX - FIRST_INDEX + 1} addresses of guests are taken")

    def processes(self) -> dict[int, str]:
        """Processes of this lab's guests, by pid, with the guest's name."""
        found = {}
        for path in PROC.iterdir():
            if path.name.isdigit():
                marks = environment(int(path.name))
                if marks.get(LAB_MARK) == self.lab_name and GUEST_MARK in marks:
                    found[int(path.name)] = marks[GUEST_MARK]
        return found

    def stale(self) -> list[Entry]:
        """Guests that died, whose start was broken off, or that outlived what they are bound to."""
        return [
            entry
            for entry in self.entries()
            if (entry.ready and not alive(entry.pid))
            or ((entry.bound or not entry.ready) and not alive(entry.starter))
        ]

    def unreadable(self) -> list[str]:
        """Names of folders without an entry, which a start that was broken off left."""
        return [path.name for path in self._folders() if Entry.read(path) is None]

    def end_processes(self, name: str) -> None:
        """End what still runs for a guest."""
        for pid, guest in self.processes().items():
            if guest == name:
                end(pid)


def environment(pid: int) -> dict[str, str]:
    """What a process was started with; empty when it is gone or not ours to look at."""
    with contextlib.suppress(OSError):
        text = (PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
        return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
    return {}


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    if pid <= 0:
        return False
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        # state and num_threads, proc(5): the first thread may end before the others, which hold
        # memory and taps still.
        return fields[0] != "Z" or int(fields[17]) > 1
    except (OSError, IndexError):
        return False


def end(pid: int) -> None:
    """Kill a process and wait until it is gone; guests have nothing to save.

    Raises:
        GuestError: It does not go.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    await_end(pid)


def await_end(pid: int, timeout_s: float = END_TIMEOUT_S) -> None:
    """Wait until a process is gone.

    Raises:
        GuestError: It does not go.
    """
    limit = time.monotonic() + timeout_s
    while alive(pid):
        if time.monotonic() > limit:
            raise GuestError(f"process {pid} did not end within {timeout_s:g} s")
        time.sleep(POLL_S)
