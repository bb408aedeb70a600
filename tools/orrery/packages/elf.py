"""What is needed of ELF files: the libraries of a program, and what a kernel module says of itself.

64 bits, little endian; the format is described in elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

IDENTITY = b"\x7fELF\x02\x01"
PROGRAM_LOAD, PROGRAM_DYNAMIC, PROGRAM_INTERPRETER, PROGRAM_NOTE = 1, 2, 3, 4
DYNAMIC_NEEDED, DYNAMIC_STRINGS = 1, 5


class ElfError(ValueError):
    """The bytes are no ELF file that can be read."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needed(data: bytes) -> tuple[str, ...]:
    """Names of the libraries that a program or library asks for; none for a static program.

    Raises:
        ElfError: The bytes are something else, or cut off.
    """
    segments = list(_segments(data))
    entries = [
        _unpack("<QQ", data, at)
        for segment in segments
        if segment.kind == PROGRAM_DYNAMIC
        for at in range(segment.offset, segment.offset + segment.size - 15, 16)
    ]
    tables = [value for tag, value in entries if tag == DYNAMIC_STRINGS]
    if not tables:
        return ()
    strings = _offset_of(tables[0], segments)
    return tuple(_text(data, strings + value) for tag, value in entries if tag == DYNAMIC_NEEDED)


def interpreter(data: bytes) -> str:
    """Path of the dynamic loader, or nothing for a static program.

    Raises:
        ElfError: The bytes are something else, or cut off.
    """
    for segment in _segments(data):
        if segment.kind == PROGRAM_INTERPRETER:
            return _text(data, segment.offset)
    return ""


def module_information(data: bytes) -> tuple[tuple[str, str], ...]:
    """Keys and values of a kernel module's section .modinfo, in its order.

    Raises:
        ElfError: The bytes are no module.
    """
    sections = dict(_sections(data))
    if ".modinfo" not in sections:
        raise ElfError("no section .modinfo")
    texts = sections[".modinfo"].split(b"\0")
    pairs = (text.decode(errors="replace").partition("=") for text in texts if b"=" in text)
    return tuple((key, value) for key, _, value in pairs)


def notes(data: bytes) -> tuple[tuple[bytes, int], ...]:
    """Owner and type of every note.

    Raises:
        ElfError: The bytes are something else, or cut off.
    """
    found = []
    for segment in _segments(data):
        at, end = segment.offset, segment.offset + segment.size
        while segment.kind == PROGRAM_NOTE and at + 12 <= end:
            owner, content, kind = _unpack("<III", data, at)
            found.append((data[at + 12 : at + 12 + owner], kind))
            at += 12 + owner + -owner % 4 + content + -content % 4
    return tuple(found)


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error as error:
        raise ElfError("the file is cut off") from error


def _segments(data: bytes) -> Iterator[_Segment]:
    _check(data)
    (offset,) = _unpack("<Q", data, 32)
    size, count = _unpack("<HH", data, 54)
    for number in range(count):
        kind, _, start, address, _, length = _unpack("<IIQQQQ", data, offset + number * size)
        yield _Segment(kind, start, address, length)


def _sections(data: bytes) -> Iterator[tuple[str, bytes]]:
    _check(data)
    (offset,) = _unpack("<Q", data, 40)
    size, count, names = _unpack("<HHH", data, 58)
    heads = [_unpack("<IIQQQQ", data, offset + number * size) for number in range(count)]
    if names >= len(heads):
        return
    for name, _, _, _, start, length in heads:
        yield _text(data, heads[names][4] + name), data[start : start + length]


def _check(data: bytes) -> None:
    if not data.startswith(IDENTITY):
        raise ElfError("no ELF file of 64 bits")


def _offset_of(address: int, segments: list[_Segment]) -> int:
    for segment in segments:
        inside = segment.address <= address < segment.address + segment.size
        if segment.kind == PROGRAM_LOAD and inside:
            return address - segment.address + segment.offset
    raise ElfError(f"nothing is loaded at {address:#x}")


def _text(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    if offset >= len(data) or end < 0:
        raise ElfError("the file is cut off")
    return data[offset:end].decode(errors="replace")
