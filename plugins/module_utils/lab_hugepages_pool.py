"""The kernel's pools of huge pages: what is in them, and whose share is which."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The kernel stops at the first page that it cannot find; asked again it may have moved others away.
ATTEMPTS = 3


class HugepagesError(Exception):
    """Pages cannot be had, for a reason that the text tells, with what to do."""


@dataclass(frozen=True)
class Counts:
    """One look at a pool [pages].

    Attributes:
        total: All pages, with those beyond the pool's size.
        free: Those that nobody has mapped.
        reserved: Free ones that are promised already.
        surplus: Those in use that the kernel takes back as soon as they are freed.
    """

    total: int
    free: int
    reserved: int
    surplus: int

    @property
    def persistent(self) -> int:
        """The size of the pool: what was written to nr_hugepages last, as far as it was had."""
        return self.total - self.surplus

    @property
    def unclaimed(self) -> int:
        """Pages that can be mapped now."""
        return self.free - self.reserved


class Pool:
    """Pages of one size, of the whole host or of one NUMA node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self) -> bool:
        """Whether this kernel has pages of that size."""
        return (self.folder / "nr_hugepages").exists()

    def counts(self) -> Counts:
        """What is in it; a node counts no reservations."""
        return Counts(
            total=self._number("nr_hugepages"),
            free=self._number("free_hugepages"),
            reserved=self._number("resv_hugepages"),
            surplus=self._number("surplus_hugepages"),
        )

    def resize(self, pages: int) -> Counts:
        """Ask for a size, and look at what it came to.

        A pool that shrinks below what is in use takes nothing from anybody: the kernel counts those
        pages as surplus and takes each back when it is freed
        (Documentation/admin-guide/mm/hugetlbpage.rst).
        """
        for _ in range(ATTEMPTS):
            before = self.counts().persistent
            self._write(pages)
            after = self.counts()
            if after.persistent >= pages or after.persistent <= before:
                break
        return after

    def _write(self, pages: int) -> None:
        (self.folder / "nr_hugepages").write_text(f"{pages}\n", encoding="ascii")

    def _number(self, name: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            return int((self.folder / name).read_text(encoding="ascii"))
        return 0


@dataclass(frozen=True)
class Share:
    """What the state file says of a lab's pages.

    Attributes:
        size_kb: Size of a page [kB].
        node: NUMA node as text; empty when the kernel spreads.
        added: Pages that the lab added to the pool and has not given back.
        surplus: Surplus pages of others that became part of the pool when ours were added.
        found: Size of the pool without the labs' pages; -1 when it is not known.
    """

    size_kb: int
    node: str = ""
    added: int = 0
    surplus: int = 0
    found: int = -1

    def left(self, persistent: int, others: int) -> int:
        """How many are still in a pool of that size, `others` being the shares of other labs.

        A pool that somebody lowered lost the labs' pages first, down to what was found. One that is
        smaller yet was changed by somebody who gave back pages of his own, and ours are in it.
        """
        base = self.found if 0 <= self.found <= persistent else 0
        return max(0, min(self.added, persistent - others - base))


@dataclass(frozen=True)
class Marker:
    """What /run says of a lab's pages; the script that adds them at boot writes it, too.

    Whatever state files there are: by these the labs of a host know of each other's pages.
    """

    boot_id: str
    added: int
    size_kb: int
    node: str = ""

    def text(self) -> str:
        """The line in the file."""
        return f"{self.boot_id} {self.added} {self.size_kb} {self.node or '-'}\n"

    def share(self) -> Share:
        """The lab's share."""
        return Share(self.size_kb, self.node, self.added)


def read_marker(path: Path) -> Marker | None:
    """The marker, or nothing when there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        boot_id, added, size_kb, node = path.read_text(encoding="ascii").split()
        return Marker(boot_id, int(added), int(size_kb), node.replace("-", ""))
    return None


def share_of(record: dict[str, Any], marker: Marker | None, boot_id: str) -> Share:
    """A lab's share as it is since this boot: pages that were added before it are gone.

    Args:
        record: The fact `hugepages` of a state file.
        marker: What the lab's marker says.
        boot_id: The kernel's id of this boot.
    """
    if record.get("boot_id") == boot_id:
        return Share(
            int(record.get("size_kb", 0)),
            str(record.get("node", "")),
            int(record.get("added", 0)),
            int(record.get("surplus", 0)),
            int(record.get("found", -1)),
        )
    if marker is not None and marker.boot_id == boot_id:
        return marker.share()
    return Share(int(record.get("size_kb", 0)), str(record.get("node", "")))


def in_pool(share: Share, size_kb: int, node: str) -> bool:
    """Whether a share counts in a pool; that of the whole host has those of its nodes in it."""
    return share.size_kb == size_kb and node in ("", share.node)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other labs, and their scripts at boot, from counting while we change the pool.

    The lock is on sysfs' own folder, so that no file is left behind.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def available_kb(meminfo: str) -> int:
    """MemAvailable in the text of /proc/meminfo [kB]."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0])
    raise HugepagesError("hugepages: /proc/meminfo names no MemAvailable; Linux 3.14 is needed.")


def refuse_too_much(
    count: int, size_kb: int, held: int, available: int, max_share_percent: int
) -> None:
    """Leave the host enough memory for all else.

    Args:
        count: Pages that are wanted.
        size_kb: Size of a page [kB].
        held: Pages that we have of them.
        available: Memory that is available [kB]; what we hold is no part of it.
        max_share_percent: How much of it may be taken.

    Raises:
        HugepagesError: They are more than that.
    """
    limit = (available + held * size_kb) * max_share_percent // 100
    if count * size_kb <= limit:
        return
    fitting = limit // size_kb
    way = f"Set hugepages_count to {fitting} or less, or" if fitting else "Set"
    raise HugepagesError(
        f"hugepages: {count} pages of {size_kb} kB are {count * size_kb // 1024} MB, more than "
        f"{max_share_percent} % of the {(available + held * size_kb) // 1024} MB that are "
        f"available. {way} hugepages_max_share_percent higher."
    )


def too_few(got: int, count: int, size_kb: int) -> HugepagesError:
    """What to say when the kernel could not find as many pages as were wanted."""
    size = f"{size_kb // 1048576}G" if size_kb >= 1048576 else f"{size_kb // 1024}M"
    return HugepagesError(
        f"hugepages: {got} of {count} pages of {size_kb} kB could be had, memory is fragmented. "
        "Set hugepages_count lower, drop caches and let the kernel move pages together "
        "(echo 3 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory), or reserve "
        f"at boot: hugepagesz={size} hugepages={count} on the kernel's command line."
    )
