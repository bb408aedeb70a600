"""Huge pages for a guest's memory: counted before QEMU would just say that it has none."""

from __future__ import annotations

from pathlib import Path

from orrery.errors import HostError, UsageError

POOLS = Path("/sys/kernel/mm/hugepages")


def require(memory_mb: int, size_kb: int) -> None:
    """Refuse memory for which there are not enough free huge pages of a size.

    Raises:
        UsageError: The memory is no whole number of pages.
        HostError: Too few are free.
    """
    needed, rest = divmod(memory_mb * 1024, size_kb)
    if rest:
        raise UsageError(
            f"--memory {memory_mb}: with huge pages of {size_kb} kB it has to be a multiple of "
            f"{size_kb // 1024} MB"
        )
    free = available(size_kb)
    if free < needed:
        raise HostError(
            f"huge pages of {size_kb} kB: {free} free, {needed} needed for "
            f"{memory_mb} MB. Set hugepages_count and run ./lab up, stop a guest that has some, or "
            "use --memory-backing memfd."
        )


def available(size_kb: int) -> int:
    """Huge pages of a size that are nobody's.

    Raises:
        HostError: The host has none of that size.
    """
    pool = POOLS / f"hugepages-{size_kb}kB"
    try:
        # Reserved pages are free still, and somebody's already.
        free, reserved = (
            int((pool / f"{kind}_hugepages").read_text(encoding="ascii"))
            for kind in ("free", "resv")
        )
    except OSError as error:
        raise HostError(f"{error.filename}: {error.strerror}. Run ./lab up.") from error
    return free - reserved
