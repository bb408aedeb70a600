"""The host a benchmark looks at: its throttles, and its process where it runs on this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orrery.errors import ConfigurationError

PROC = Path("/proc")
_LISTEN = "0A"
_FORWARDERS = frozenset({"docker-proxy", "rootlessport", "ssh", "kubectl"})


@dataclass(frozen=True)
class Throttle:
    """What a user may do.

    Attributes:
        per_minute: Activations a minute.
        concurrent: Activations in flight.
    """

    per_minute: int
    concurrent: int


def throttle(info: Mapping[str, Any], limits: Mapping[str, Any]) -> Throttle:
    """The user's own limits, and the host's default where the user has none of his own.

    Raises:
        ConfigurationError: Neither document names them.
    """
    general = info.get("limits")
    general = general if isinstance(general, dict) else {}
    per_minute = limits.get("invocationsPerMinute", general.get("actions_per_minute"))
    concurrent = limits.get("concurrentInvocations", general.get("concurrent_actions"))
    try:
        return Throttle(int(str(per_minute)), int(str(concurrent)))
    except ValueError:
        raise ConfigurationError(
            "the host names no throttles, neither in / nor in namespaces/_/limits"
        ) from None


def check_throttle(base: str, found: Throttle, needed: Throttle) -> None:
    """Refuse what the throttles would cut short.

    Raises:
        ConfigurationError: They are too small; the text has the values needed.
    """
    if found.per_minute < needed.per_minute:
        raise ConfigurationError(
            f"{base}: the user may start {found.per_minute} activations a minute, "
            f"{needed.per_minute} needed. Raise invocationsPerMinute of the user, "
            "or lower --trials, --warm-calls, --seconds or --rss-after."
        )
    if found.concurrent < needed.concurrent:
        raise ConfigurationError(
            f"{base}: the user may have {found.concurrent} activations in flight, "
            f"{needed.concurrent} needed. Raise concurrentInvocations of the user, "
            "or lower --connections."
        )


def local_pid(base: str, proc: Path = PROC) -> int | None:
    """The process that listens at the URL; None where it is elsewhere or cannot be seen.

    A forwarder in front of the engine (docker-proxy, ssh) is not the engine: None as well.
    """
    parts = urlsplit(base)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not _is_local(parts.hostname or "", port):
        return None
    inodes = set(listening(proc, port))
    pid = _owner(proc, inodes) if inodes else None
    if pid is None or _text(proc / str(pid) / "comm").strip() in _FORWARDERS:
        return None
    return pid


def listening(proc: Path, port: int) -> Iterator[str]:
    """Inodes of the TCP sockets that listen on a port."""
    for table in ("tcp", "tcp6"):
        for line in _text(proc / "net" / table).splitlines()[1:]:
            words = line.split()
            if len(words) <= 9 or words[3] != _LISTEN:
                continue
            if int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def rss_mb(pid: int, proc: Path = PROC) -> float | None:
    """Resident memory of a process [MiB]; None where it is gone."""
    for line in _text(proc / str(pid) / "status").splitlines():
        words = line.split()
        if words and words[0] == "VmRSS:":
            return int(words[1]) / 1024
    return None


def command_line(pid: int, proc: Path = PROC) -> list[str]:
    """Arguments that a process was started with."""
    return [word for word in _text(proc / str(pid) / "cmdline").split("\0") if word]


def _is_local(host: str, port: int) -> bool:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_own(family, str(address[0])) for family, *_, address in found)


def _own(family: int, address: str) -> bool:
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _owner(proc: Path, inodes: set[str]) -> int | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    pids = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    return next((pid for pid in pids if wanted & set(_links(proc / str(pid) / "fd"))), None)


def _links(folder: Path) -> Iterator[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            yield str(entry.readlink())
        except OSError:
            continue


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
