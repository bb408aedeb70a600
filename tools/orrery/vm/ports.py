"""Whose a TCP port of loopback is."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

PROC = Path("/proc")
LISTENS = "0A"


def holder(port: int) -> str:
    """Who keeps a port of 127.0.0.1 from being listened on; empty when nobody does."""
    with socket.socket() as probe:
        # As QEMU does: connections that are closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"nobody ({error.strerror})"
            return owner(port) or "a process that only root may look at"
    return ""


def owner(port: int) -> str:
    """The process that listens on a port, `nginx (pid 12)`; empty when it cannot be seen."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(handle.readlink()) in inodes for handle in (folder / "fd").iterdir()):
                return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    return ""
