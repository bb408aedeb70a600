"""Unpacks the zip of an action into one folder, and nowhere else."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from io import BytesIO
from pathlib import Path, PurePosixPath

MAX_MEMBERS = 20_000
MAX_TOTAL_BYTES = 512 * 1024 * 1024
COPY_BYTES = 1 << 20


class ArchiveError(Exception):
    """A zip that is refused; the message is shown to the user."""


def extract(data: bytes, target: Path) -> None:
    """Unpack a zip into an existing empty folder.

    Every name is checked before the first byte is written, symbolic links are made after all
    files (so nothing is written through them) and must point inside.

    Raises:
        ArchiveError: Not a zip, an unsafe member, or too much in it.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            _check(members)
            links = [member for member in members if _is_link(member)]
            left = MAX_TOTAL_BYTES
            for member in members:
                if not _is_link(member):
                    left -= _write(archive, member, target, left)
            _link(archive, links, target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"The action's code is not a usable zip archive: {error}") from error
    except OSError as error:
        raise ArchiveError(f"The zip archive could not be unpacked: {error.strerror}") from error


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"The zip archive has {len(members)} members, {MAX_MEMBERS} allowed.")
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL_BYTES:
        raise ArchiveError(f"The zip archive holds {total} bytes, {MAX_TOTAL_BYTES} allowed.")
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if not parts or parts[0] == "/" or ".." in parts or parts[0].endswith(":"):
            raise ArchiveError(f"The zip archive has an unsafe member: {member.filename!r}")


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one file or folder; the size is counted as read, not as the zip claims."""
    path = target / member.filename
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(member) as source, path.open("wb") as sink:
        while chunk := source.read(COPY_BYTES):
            written += len(chunk)
            if written > left:
                raise ArchiveError(f"The zip archive holds more than {MAX_TOTAL_BYTES} bytes.")
            sink.write(chunk)
    mode = (member.external_attr >> 16) & 0o777
    if mode:
        path.chmod(mode | stat.S_IRUSR)
    return written


def _link(archive: zipfile.ZipFile, links: list[zipfile.ZipInfo], target: Path) -> None:
    root = os.path.realpath(target)
    made = []
    for member in links:
        path = target / member.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.fsdecode(archive.read(member)))
        made.append((member, path))
    # Only when all links exist is it known where each of them really leads.
    for member, path in made:
        resolved = os.path.realpath(path)
        if resolved != root and not resolved.startswith(root + os.sep):
            shutil.rmtree(target, ignore_errors=True)
            raise ArchiveError(f"The zip archive has an unsafe link: {member.filename!r}")
