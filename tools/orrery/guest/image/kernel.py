"""The kernel without its own unpacker: emulated, that alone costs half a second of every start.

QEMU starts an unpacked kernel directly where it has the entry point of PVH guests. The header of
a packed one is described in the kernel's Documentation/arch/x86/boot.rst; the note of the entry
point in Xen's docs/misc/pvh.pandoc.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import tempfile
from pathlib import Path

from orrery import shell
from orrery.guest.image.needs import MissingProgramError
from orrery.packages import elf

SECTOR = 512
MAGIC_AT, MAGIC = 0x202, b"HdrS"
SETUP_SECTORS_AT, PAYLOAD_AT = 0x1F1, 0x248
GZIP, XZ, ZSTD, LZ4 = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18"
PVH_NOTE_OWNER, PVH_NOTE_TYPE = b"Xen\0", 18
ZSTD_TIMEOUT_S = 60
LZ4_LONG, LZ4_SHORTEST_MATCH = 15, 4


class PackedError(ValueError):
    """The kernel is packed in a way that is not understood."""


def startable(image: bytes) -> tuple[bytes, bool]:
    """What QEMU starts fastest.

    Args:
        image: A kernel as its package has it.

    Returns:
        The unpacked kernel, and True; or the image as it is, and False, where it cannot be
        unpacked or has no entry point for QEMU.

    Raises:
        MissingProgramError: It is packed with zstd, which is not there.
    """
    try:
        unpacked = unpack(payload(image))
        return (unpacked, True) if has_pvh_entry(unpacked) else (image, False)
    except (PackedError, elf.ElfError):
        return image, False


def payload(image: bytes) -> bytes:
    """The packed kernel inside its boot image.

    Raises:
        PackedError: It is no boot image of version 2.08 or newer.
    """
    if image[MAGIC_AT : MAGIC_AT + 4] != MAGIC:
        raise PackedError("no boot image")
    offset, length = struct.unpack_from("<II", image, PAYLOAD_AT)
    start = ((image[SETUP_SECTORS_AT] or 4) + 1) * SECTOR + offset
    return image[start : start + length]


def unpack(data: bytes) -> bytes:
    """The kernel, whatever it is packed with; the size behind it is left out.

    Raises:
        PackedError: It is packed in another way, or damaged.
        MissingProgramError: It is packed with zstd, which is not there.
    """
    try:
        if data.startswith(XZ):
            return lzma.LZMADecompressor().decompress(data)
        if data.startswith(GZIP):
            return gzip.decompress(data[:-4])
        if data.startswith(LZ4):
            return unpack_lz4(data)
        if data.startswith(ZSTD):
            return unpack_zstd(data[:-4])
    except (lzma.LZMAError, OSError, EOFError, IndexError, struct.error) as error:
        raise PackedError(str(error)) from error
    raise PackedError(f"unknown packing {data[:4].hex()}")


def unpack_zstd(data: bytes) -> bytes:
    """Unpack with the program zstd.

    Raises:
        MissingProgramError: It is not there.
    """
    MissingProgramError.look_for("zstd", ("zstd",), "the distribution packs its kernel with it")
    with tempfile.TemporaryDirectory(prefix="orrery-") as name:
        packed, target = Path(name) / "it.zst", Path(name) / "it"
        packed.write_bytes(data)
        shell.run(["zstd", "-q", "-d", packed, "-o", target], timeout_s=ZSTD_TIMEOUT_S)
        return target.read_bytes()


def unpack_lz4(data: bytes) -> bytes:
    """Unpack LZ4's legacy frames: blocks with their size before them, up to the end.

    Raises:
        IndexError: It is damaged.
        struct.error: It is cut off.
    """
    out, at = bytearray(), len(LZ4)
    # The last four bytes are the size of the kernel.
    while at < len(data) - 4:
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        out += _lz4_block(data[at : at + size])
        at += size
    return bytes(out)


def _lz4_block(data: bytes) -> bytearray:
    out, at = bytearray(), 0
    while at < len(data):
        token = data[at]
        count, at = _lz4_length(data, at + 1, token >> 4)
        out += data[at : at + count]
        at += count
        if at >= len(data):
            break
        distance = data[at] | data[at + 1] << 8
        count, at = _lz4_length(data, at + 2, token & LZ4_LONG)
        count += LZ4_SHORTEST_MATCH
        start = len(out) - distance
        if start < 0 or distance == 0:
            raise IndexError("a match before the beginning")
        # A match may reach into what it makes.
        pattern = out[start : start + count]
        out += (pattern * (count // len(pattern) + 1))[:count]
    return out


def _lz4_length(data: bytes, at: int, first: int) -> tuple[int, int]:
    length = first
    more = first == LZ4_LONG
    while more:
        length += data[at]
        more = data[at] == 0xFF
        at += 1
    return length, at


def has_pvh_entry(data: bytes) -> bool:
    """Whether QEMU can start this ELF file by itself.

    Raises:
        elf.ElfError: It is no ELF file.
    """
    return any(owner == PVH_NOTE_OWNER and kind == PVH_NOTE_TYPE for owner, kind in elf.notes(data))
