"""Archives in the "newc" format that Linux unpacks as its initial file system.

The format is described in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import itertools
import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = "070701"
TRAILER = "TRAILER!!!"
BLOCK = 512


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or device; all belong to root and have no time.

    Attributes:
        path: Below the root, without a slash at its beginning.
        mode: Type and permissions, as in `stat.st_mode`.
        data: Content of a file, or target of a symbolic link.
        device: Major and minor number of a device.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(path, stat.S_IFREG | mode, data)


def folder(path: str, mode: int = 0o755) -> Entry:
    """A folder."""
    return Entry(path, stat.S_IFDIR | mode)


def link(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Entry:
    """A character device."""
    return Entry(path, stat.S_IFCHR | mode, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive: the same entries give the same bytes, in whatever order they come.

    Raises:
        ValueError: Two entries have the same path.
    """
    ordered = sorted(with_parents(entries), key=lambda entry: entry.path.split("/"))
    for one, two in itertools.pairwise(ordered):
        if one.path == two.path:
            raise ValueError(f"cpio: {one.path} is there twice")
    parts = [_record(number, entry) for number, entry in enumerate(ordered, start=1)]
    parts.append(_record(0, Entry(TRAILER, 0)))
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % BLOCK)


def with_parents(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with the folders above them that are not among them."""
    given = list(entries)
    there = {entry.path for entry in given}
    above = {
        path
        for entry in given
        for path in (
            "/".join(entry.path.split("/")[:n]) for n in range(1, entry.path.count("/") + 1)
        )
    }
    return given + [folder(path) for path in sorted(above - there)]


def _record(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, uid, gid, links, time, size, device of the file system, device, name, check
    fields = [number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0]
    fields += [*entry.device, len(name), 0]
    head = (MAGIC + "".join(f"{value:08X}" for value in fields)).encode() + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
