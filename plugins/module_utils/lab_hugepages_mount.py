"""A lab's own mount of huge pages: is it there, make it, remove it, and use it once."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.lab_hugepages_pool import HugepagesError

Runner = Callable[[list[str]], tuple[int, str, str]]

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Python names it since 3.10; the kernel since 2.5.46.
MAP_POPULATE = getattr(mmap, "MAP_POPULATE", 0x8000)


@dataclass(frozen=True)
class Mount:
    """A mounted file system; sizes [kB] are 0 where it names none."""

    kind: str
    source: str
    page_kb: int
    size_kb: int


def in_kb(text: str) -> int:
    """A size as the kernel writes it, `1024M` or bytes, in kB; 0 when it is none."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text)
    return int(match.group(1)) * UNITS[match.group(2)] // 1024 if match else 0


def mounted_at(path: str, mountinfo: str) -> Mount | None:
    """What lies uppermost at a path in the text of /proc/self/mountinfo."""
    found = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        place = left.split()[4].encode().decode("unicode_escape")
        if place != path:
            continue
        kind, source, options = right.split()
        values = dict(part.partition("=")[::2] for part in options.split(","))
        sizes = (in_kb(values.get(name, "")) for name in ("pagesize", "size"))
        found = Mount(kind, source, *sizes)
    return found


def refuse_foreign(path: str, found: Mount | None, source: str) -> None:
    """Leave what somebody else mounted where it is.

    Raises:
        HugepagesError: There is something, and it is not ours.
    """
    if found is not None and (found.kind, found.source) != ("hugetlbfs", source):
        raise HugepagesError(
            f"hugepages: {found.source} ({found.kind}) is mounted at {path}, which is not the "
            "lab's. Set hugepages_mount to a folder of its own, or unmount it."
        )


def make_folders(path: Path) -> list[str]:
    """Make a folder and those above it; gives the new ones, the uppermost first."""
    made: list[str] = []
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
            made.append(str(folder))
    return made


def attach(run: Runner, path: str, source: str, page_kb: int, size_kb: int) -> None:
    """Mount pages of one size, as many as the lab has.

    Raises:
        HugepagesError: The kernel refuses.
    """
    options = f"pagesize={page_kb}K,size={size_kb}K,mode=0755"
    code, _, err = run(["mount", "-t", "hugetlbfs", "-o", options, source, path])
    if code != 0:
        raise HugepagesError(f"hugepages: cannot mount at {path}: {err.strip()}")


def detach(run: Runner, path: str) -> None:
    """Unmount; a program that has pages of it keeps them until it ends.

    Raises:
        HugepagesError: The kernel refuses.
    """
    code, _, err = run(["umount", "--lazy", path])
    if code != 0:
        raise HugepagesError(f"hugepages: cannot unmount {path}: {err.strip()}")


def remove_folders(made: list[str]) -> None:
    """Remove folders that we made, as far as nothing is in them."""
    for folder in reversed(made):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def resident_kb(smaps: str, name: str) -> int:
    """Huge pages that a mapping of a file really has, in the text of /proc/<pid>/smaps [kB]."""
    inside, found = False, 0
    for line in smaps.splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = name in line
        elif inside and line.startswith(("Shared_Hugetlb:", "Private_Hugetlb:")):
            found += int(line.split()[1])
    return found


def map_one_page(folder: Path, page_kb: int) -> None:
    """Map one huge page of the mount and write to it.

    Raises:
        HugepagesError: The kernel gives none.
    """
    length = page_kb * 1024
    handle, name = tempfile.mkstemp(prefix=".orrery-proof-", dir=folder)
    try:
        os.ftruncate(handle, length)
        # Filled at once: a page that is missing is seen in smaps then, instead of by SIGBUS.
        flags = mmap.MAP_SHARED | MAP_POPULATE
        with mmap.mmap(handle, length, flags, mmap.PROT_READ | mmap.PROT_WRITE) as page:
            smaps = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
            if resident_kb(smaps, name) != page_kb:
                raise HugepagesError(
                    f"hugepages: the kernel gave no page of {page_kb} kB at {folder}; a control "
                    "group may forbid it (hugetlb.*.max). Raise that limit."
                )
            page[0] = 1
    except OSError as error:
        raise HugepagesError(
            f"hugepages: a page of {folder} cannot be mapped though one is free: {error}. "
            "Look at HugePages_Free and HugePages_Rsvd in /proc/meminfo."
        ) from error
    finally:
        os.close(handle)
        Path(name).unlink()


def prove(folder: Path, page_kb: int, unclaimed: int) -> str:
    """Use a page of the mount; `in use` when all are, which proves as much.

    Args:
        folder: The mount.
        page_kb: Size of a page [kB].
        unclaimed: Pages of the pool that can be mapped now.

    Raises:
        HugepagesError: There are free ones, but none can be mapped.
    """
    if unclaimed < 1 or os.statvfs(folder).f_bavail < 1:
        return "in use"
    map_one_page(folder, page_kb)
    return "mapped"
