"""MNIST's images as PNG files, and the ten samples that `verify` sends.

Standard library only: roles run it on hosts that have neither NumPy nor Pillow.
"""

from __future__ import annotations

import struct
import zlib

from orrery.mnist.data import Examples

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CLASSES = 10
INVERT = bytes(255 - value for value in range(256))
"""Table for bytes.translate: dark on white instead of bright on black."""


def png(pixels: bytes, width: int, height: int) -> bytes:
    """Encode 8-bit grey pixels as a PNG file (W3C PNG, third edition).

    Raises:
        ValueError: There are not width x height pixels.
    """
    if len(pixels) != width * height:
        raise ValueError(f"{len(pixels)} pixels found, {width} x {height} needed")
    # Filter type 0 stands in front of every row.
    rows = b"".join(b"\0" + pixels[top * width : (top + 1) * width] for top in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def picture(examples: Examples, index: int, *, inverted: bool = False) -> bytes:
    """One image as a PNG file: bright on black as in MNIST, or inverted."""
    _count, height, width = examples.images.shape
    pixels = examples.images.item(index)
    return png(pixels.translate(INVERT) if inverted else pixels, width, height)


def first_of_each_class(examples: Examples) -> dict[int, int]:
    """Index of the first image of each digit, in the set's file order."""
    return {digit: examples.labels.data.index(digit) for digit in range(CLASSES)}


def samples(examples: Examples) -> dict[str, bytes]:
    """The pictures that the file server offers, by their path below the data folder."""
    firsts = first_of_each_class(examples)
    return {
        f"{folder}/{digit}.png": picture(examples, index, inverted=inverted)
        for folder, inverted in (("digits", False), ("digits-inverted", True))
        for digit, index in firsts.items()
    }
