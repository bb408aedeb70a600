"""Zip files of actions: looked at, never unpacked here."""

from __future__ import annotations

import base64
import binascii
import io
import stat
import struct
import zipfile
from typing import Final

from orrery.engine.errors import MalformedError

MAX_ENTRIES: Final = 20_000
MAX_DIRECTORY_BYTES: Final = 4 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE: Final = b"PK\x05\x06"


def check_zip(code: str) -> None:
    """Refuse base64 that is no zip, reaches out of its folder or unpacks to too much.

    Raises:
        MalformedError: With a sentence that says what is wrong.
    """
    try:
        data = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("the action's code is not valid base64") from None
    _check_directory_size(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise MalformedError(f"the action's zip file cannot be read: {error}") from None
    if len(entries) > MAX_ENTRIES:
        raise MalformedError(f"the zip file has {len(entries)} entries, {MAX_ENTRIES} are allowed")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        raise MalformedError(
            f"the zip file unpacks to {total} bytes, {MAX_UNPACKED_BYTES} are allowed"
        )
    for entry in entries:
        _check_entry(entry)


def is_zip(code: str) -> bool:
    """Whether base64 begins like a zip file."""
    return code.startswith("UEsDB")


def _check_directory_size(data: bytes) -> None:
    """Look at the end record first: zipfile would read a directory of any size."""
    position = data.rfind(_END_SIGNATURE)
    if position < 0 or len(data) - position < _END.size:
        raise MalformedError(
            "the action's code looks like base64 but is not a zip file: binary code of this kind "
            "has to be a zip with __main__.py; plain source must not consist of base64 "
            "characters only"
        )
    _, _, _, _, entries, size, _, _ = _END.unpack_from(data, position)
    if size > MAX_DIRECTORY_BYTES or entries > MAX_ENTRIES:
        raise MalformedError(f"the zip file has too many entries, {MAX_ENTRIES} are allowed")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    # zipfile cuts names at a NUL and turns the platform's separator into a slash; the name as
    # it stands in the file is the one an unpacker in the container may see.
    name = entry.orig_filename
    parts = name.replace("\\", "/").split("/")
    drive = len(parts[0]) == 2 and parts[0].endswith(":")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or drive:
        raise MalformedError(
            f"the zip file has an entry outside its own folder: {name!r}. "
            "Entries must be relative paths without '..'"
        )
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise MalformedError(f"the zip file has an entry that is no file, folder or link: {name!r}")
