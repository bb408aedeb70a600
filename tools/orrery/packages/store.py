"""A cache of folders that are named by what they hold: complete, or not there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from orrery.errors import HostError

ID_LENGTH = 16
LOCK_TIMEOUT_S = 900
LOCK_POLL_S = 0.2
WORK_PREFIX = ".build-"
"""Of a folder that something is built in."""


def digest(parts: Iterable[str | bytes]) -> str:
    """Short hash of texts and bytes in their order; where one ends counts."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(f"{len(data)}:".encode() + data)
    return whole.hexdigest()[:ID_LENGTH]


@contextlib.contextmanager
def locked(cache: Path, what: str) -> Iterator[None]:
    """Keep others from building at the same time; clear away what a killed one left.

    Args:
        cache: The folder.
        what: What is built, as an error begins.

    Raises:
        HostError: Another one builds for too long.
    """
    cache.mkdir(parents=True, exist_ok=True)
    handle = os.open(cache / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise HostError(
                        f"{what}: another build holds {cache / 'lock'} for more than "
                        f"{LOCK_TIMEOUT_S} s. Wait for it, or end it."
                    ) from error
                time.sleep(LOCK_POLL_S)
        for left in [*cache.glob(f"{WORK_PREFIX}*"), *(cache / "packages").glob(".*")]:
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file as a whole, whatever the umask says."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.chmod(mode)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
