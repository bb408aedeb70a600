"""A mount of a few huge pages, which only one test at a time makes."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
MARKER = Path("/run/t-dpdk-hugepages")
PAGES = 12


@pytest.fixture
def huge_dir(tmp_path: Path) -> Iterator[Path]:
    """Twelve pages of 2 MB, and a mount that holds no more than these."""
    if not POOL.exists():
        pytest.skip("not here: this kernel has no huge pages of 2 MB")
    folder = tmp_path / "huge"
    folder.mkdir()
    options = f"pagesize=2M,size={PAGES * 2}M"
    argv = ["mount", "-t", "hugetlbfs", "-o", options, "t-dpdk", str(folder)]
    handle = os.open(POOL, os.O_RDONLY)
    try:
        # Tests of the role hugepages count the pool's pages and hold this lock meanwhile.
        fcntl.flock(handle, fcntl.LOCK_EX)
        _add(PAGES)
        # Labs that come and go meanwhile count these as a lab's, too.
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        MARKER.write_text(f"{boot_id} {PAGES} 2048 -\n")
        subprocess.run(argv, check=True, timeout=10)
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)
        _add(-PAGES)
        MARKER.unlink()
    finally:
        os.close(handle)


def _add(pages: int) -> None:
    total, surplus = (
        int((POOL / name).read_text()) for name in ("nr_hugepages", "surplus_hugepages")
    )
    (POOL / "nr_hugepages").write_text(str(total - surplus + pages))
