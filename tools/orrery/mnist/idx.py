"""Reader of the IDX format in which MNIST comes (yann.lecun.com/exdb/mnist, "The IDX file format").

Standard library only: roles run it on hosts that have neither NumPy nor Pillow.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

from orrery.errors import ConfigurationError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08
MAX_BYTES = 64 * 1024 * 1024
"""The largest MNIST file has 47,040,016 bytes; anything above this is not MNIST."""


class IdxError(ConfigurationError):
    """A file is not what it is said to be."""


@dataclass(frozen=True)
class IdxArray:
    """An array of unsigned bytes.

    Attributes:
        shape: Length of each dimension, for images (count, rows, columns).
        data: The bytes in C order.
    """

    shape: tuple[int, ...]
    data: bytes

    def __len__(self) -> int:
        return self.shape[0]

    def item(self, index: int) -> bytes:
        """The bytes of one image, or the single byte of one label.

        Raises:
            IndexError: There is no such item.
        """
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"item {index} of {self.shape[0]}")
        size = math.prod(self.shape[1:])
        return self.data[index * size : (index + 1) * size]


def unpack(content: bytes, name: str, *, limit: int = MAX_BYTES) -> bytes:
    """Undo gzip where the content is gzip; return it as it is otherwise.

    Raises:
        IdxError: It is damaged, cut short, or grows beyond `limit` bytes.
    """
    if not content.startswith(GZIP_MAGIC):
        return content
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = stream.decompress(content, limit + 1)
    except zlib.error as error:
        raise IdxError(f"{name}: damaged gzip data: {error}") from error
    if len(plain) > limit:
        raise IdxError(f"{name}: more than {limit} bytes when unpacked")
    if not stream.eof:
        raise IdxError(f"{name}: the gzip data ends too early")
    return plain


def parse(content: bytes, name: str, *, dimensions: int, limit: int = MAX_BYTES) -> IdxArray:
    """Read an IDX file, compressed by gzip or not.

    Args:
        content: The whole file.
        name: What messages call it.
        dimensions: How many dimensions it must have: 3 for images, 1 for labels.
        limit: Largest accepted size when unpacked [bytes].

    Raises:
        IdxError: It is not such a file.
    """
    plain = unpack(content, name, limit=limit)
    header = 4 + 4 * dimensions
    if len(plain) < header:
        raise IdxError(f"{name}: {len(plain)} bytes found, an IDX header needs {header}")
    zero, kind, found = struct.unpack_from(">HBB", plain)
    if zero != 0 or kind != UNSIGNED_BYTE:
        raise IdxError(f"{name}: not an IDX file of unsigned bytes (begins with {plain[:4].hex()})")
    if found != dimensions:
        raise IdxError(f"{name}: {found} dimensions found, {dimensions} needed")
    shape = struct.unpack_from(f">{dimensions}I", plain, 4)
    needed = math.prod(shape)
    if len(plain) - header != needed:
        raise IdxError(f"{name}: {len(plain) - header} bytes of data found, {needed} needed")
    return IdxArray(shape=shape, data=plain[header:])
