"""The kernel's pool of 2 MB pages, read while labs and other tests change it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


@contextlib.contextmanager
def held(folder: Path = POOL) -> Iterator[None]:
    """Let other tests wait that change the pool as a user does (labs do not)."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def size(ours: str = "-") -> int:
    """Pages of the pool, without surplus and without those of labs that are none of ours.

    Args:
        ours: How the names of labs begin whose pages count.
    """
    # Labs hold this lock while they change the pool and note what they took.
    with held(POOL.parent):
        total, surplus = (
            int((POOL / name).read_text()) for name in ("nr_hugepages", "surplus_hugepages")
        )
        others = 0
        for marker in Path("/run").glob("*-hugepages"):
            if marker.is_file() and not marker.name.startswith(ours):
                _, added, size_kb, _ = marker.read_text(encoding="ascii").split()
                others += int(added) if size_kb == "2048" else 0
    return total - surplus - others
