"""One test at a time changes the kernel's pool, and finds it afterwards as it was."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import ansible.module_utils
import pytest

# Where Ansible would send the module_utils from.
UTILS = str(Path(__file__).resolve().parents[3] / "plugins" / "module_utils")
if UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(UTILS)

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class Pool:
    """The kernel's pool of 2 MB pages."""

    def size(self) -> int:
        """Pages of it; labs that are none of ours may come and go."""
        return size()

    def read(self, name: str) -> int:
        """One of its numbers."""
        return int((POOL / f"{name}_hugepages").read_text())

    def add(self, pages: int) -> None:
        """What a user does who needs more or fewer."""
        persistent = self.read("nr") - self.read("surplus")
        (POOL / "nr_hugepages").write_text(str(persistent + pages))


@pytest.fixture(autouse=True)
def pool() -> Iterator[Pool]:
    """The kernel's pool of 2 MB pages; tests of other files wait meanwhile (labs do not)."""
    if not POOL.exists():
        pytest.skip("not here: this kernel has no huge pages of 2 MB")
    handle = os.open(POOL, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = size()
        yield Pool()
        assert size() == before
    finally:
        os.close(handle)


def size() -> int:
    """Pages of the pool, without surplus and without those of labs that are none of ours."""
    total, surplus = (
        int((POOL / name).read_text()) for name in ("nr_hugepages", "surplus_hugepages")
    )
    others = 0
    for marker in Path("/run").glob("*-hugepages"):
        if marker.is_file() and not marker.name.startswith("t-huge"):
            _, added, size_kb, _ = marker.read_text(encoding="ascii").split()
            others += int(added) if size_kb == "2048" else 0
    return total - surplus - others
