"""Who listens where, and whose process it is, from /proc alone."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"
UNIT = re.compile(r"/([A-Za-z0-9_.@-]+)\.service(?:/|$)")


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket of this network namespace."""

    address: str
    port: int
    inode: str


@dataclass(frozen=True)
class Owner:
    """Service of a lab that a process belongs to; empty strings when it is nobody's."""

    lab: str = ""
    service: str = ""


def decode_address(text: str) -> str:
    """An address of /proc/net/tcp or tcp6, which are printed as native 32 bit words."""
    words = struct.pack(
        f"={len(text) // 8}I", *(int(text[i : i + 8], 16) for i in range(0, len(text), 8))
    )
    family = socket.AF_INET if len(text) == 8 else socket.AF_INET6
    return socket.inet_ntop(family, words)


def parse_listeners(text: str) -> list[Listener]:
    """Listening sockets in the text of /proc/net/tcp or tcp6."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == LISTEN:
            address, port = fields[1].split(":")
            found.append(Listener(decode_address(address), int(port, 16), fields[9]))
    return found


def listeners(proc: Path = PROC) -> list[Listener]:
    """All listening TCP sockets of this network namespace."""
    found = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            found += parse_listeners((proc / "net" / name).read_text())
    return found


def collides(listener: Listener, address: str, port: int) -> bool:
    """Whether a listener keeps others from listening on an address and port."""
    if listener.port != port:
        return False
    theirs, ours = ipaddress.ip_address(listener.address), ipaddress.ip_address(address)
    if isinstance(theirs, ipaddress.IPv6Address) and theirs.ipv4_mapped:
        theirs = theirs.ipv4_mapped
    return theirs.is_unspecified or ours.is_unspecified or theirs == ours


def pids(proc: Path = PROC) -> list[int]:
    """All processes."""
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


def holders(inodes: set[str], proc: Path = PROC) -> dict[str, list[int]]:
    """Processes that have a socket open, by its inode; those we may not look at are left out."""
    found: dict[str, list[int]] = {inode: [] for inode in inodes}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for pid in pids(proc) if inodes else []:
        with contextlib.suppress(OSError):
            for handle in (proc / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    inode = wanted.get(str(handle.readlink()))
                    if inode and pid not in found[inode]:
                        found[inode].append(pid)
    return found


def command(pid: int, proc: Path = PROC) -> str:
    """Command line of a process, or its name when it has none."""
    with contextlib.suppress(OSError):
        words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
        line = " ".join(word.decode(errors="replace") for word in words if word)
        return line or (proc / str(pid) / "comm").read_text().strip()
    return ""


def parent(pid: int, proc: Path = PROC) -> int:
    """Parent of a process; 0 when there is none or the process is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        # The name in parentheses may hold spaces and parentheses itself.
        return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def ancestry(pid: int, proc: Path = PROC) -> list[int]:
    """The process and those above it, without process 1."""
    line: list[int] = []
    while pid > 1 and pid not in line:
        line.append(pid)
        pid = parent(pid, proc)
    return line


def environment(pid: int, proc: Path = PROC) -> dict[str, str]:
    """What a process was started with; empty when we may not look or it overwrote it."""
    with contextlib.suppress(OSError):
        text = (proc / str(pid) / "environ").read_bytes().decode(errors="replace")
        return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)
    return {}


def unit_of(pid: int, proc: Path = PROC) -> str:
    """Name of a process's systemd unit, without `.service`."""
    with contextlib.suppress(OSError):
        match = UNIT.search((proc / str(pid) / "cgroup").read_text())
        return match.group(1) if match else ""
    return ""


def owner(pid: int, proc: Path = PROC, units: Path = Path("/etc/systemd/system")) -> Owner:
    """Service of a lab that a process belongs to.

    The role `service` starts every process with ORRERY_LAB and ORRERY_SERVICE in its environment,
    or under a supervisor that has them; a program that overwrites its environment is found by its
    supervisor or its unit.
    """
    for candidate in ancestry(pid, proc):
        marks = environment(candidate, proc)
        if marks.get("ORRERY_LAB"):
            return Owner(marks["ORRERY_LAB"], marks.get("ORRERY_SERVICE", ""))
    unit = unit_of(pid, proc)
    with contextlib.suppress(OSError):
        match = re.search(r"\bORRERY_LAB=([a-z0-9-]+)", (units / f"{unit}.service").read_text())
        if unit and match:
            return Owner(match.group(1), unit)
    return Owner()
