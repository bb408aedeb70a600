"""Read the log of one of the lab's services."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

from orrery.errors import HostError, UsageError
from orrery.state import LabState

POLL_S = 0.3


def log_of(state: LabState, name: str) -> Path:
    """The log file of a service.

    Raises:
        UsageError: There is no such service.
        HostError: It has no log yet.
    """
    known = ", ".join(sorted(state.services)) or "none: run ./lab up"
    service = state.services.get(name)
    if service is None:
        raise UsageError(f"logs takes the name of a service ({known}), not '{name}'")
    path = Path(service.log)
    if not service.log or not path.is_file():
        raise HostError(f"{name}: there is no log at {service.log or 'any place'}")
    return path


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines of a file.

    Raises:
        HostError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return list(deque(stream, maxlen=count))
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def follow(path: Path) -> None:
    """Print what is added to a file until Ctrl-C; goes on in the new file after a rotation."""
    stream = path.open(encoding="utf-8", errors="replace")
    try:
        stream.seek(0, 2)
        while True:
            text = stream.read()
            if text:
                sys.stdout.write(text)
                sys.stdout.flush()
                continue
            time.sleep(POLL_S)
            if path.exists() and path.stat().st_ino != _inode(stream.fileno()):
                stream.close()
                stream = path.open(encoding="utf-8", errors="replace")
    finally:
        stream.close()


def _inode(descriptor: int) -> int:
    return Path(f"/proc/self/fd/{descriptor}").stat().st_ino
