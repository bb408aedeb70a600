from __future__ import annotations

import gzip
import struct

import pytest

from orrery.mnist import idx


def labels(values: bytes) -> bytes:
    return struct.pack(">HBBI", 0, 8, 1, len(values)) + values


def test_labels_are_read_with_and_without_gzip() -> None:
    for content in (labels(b"\1\2\3"), gzip.compress(labels(b"\1\2\3"))):
        found = idx.parse(content, "labels", dimensions=1)
        assert (found.shape, found.data, len(found)) == ((3,), b"\1\2\3", 3)


def test_an_image_is_its_part_of_the_data() -> None:
    content = struct.pack(">HBBIII", 0, 8, 3, 2, 2, 2) + bytes(range(8))
    found = idx.parse(content, "images", dimensions=3)
    assert found.item(1) == b"\4\5\6\7"
    with pytest.raises(IndexError, match="item 2 of 2"):
        found.item(2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "labels: 0 bytes found, an IDX header needs 8"),
        (b"<html>not found</html>", "labels: not an IDX file of unsigned bytes"),
        (struct.pack(">HBBI", 0, 0x0D, 1, 0), "labels: not an IDX file of unsigned bytes"),
        (struct.pack(">HBBIII", 0, 8, 3, 0, 0, 0), "labels: 3 dimensions found, 1 needed"),
        (labels(b"\1\2\3")[:-1], "labels: 2 bytes of data found, 3 needed"),
        (labels(b"\1\2\3") + b"x", "labels: 4 bytes of data found, 3 needed"),
        (gzip.compress(labels(b"\1"))[:-9], "labels: the gzip data ends too early"),
        (b"\x1f\x8bnonsense", "labels: damaged gzip data"),
    ],
    ids=["empty", "text", "floats", "images", "short", "long", "cut gzip", "bad gzip"],
)
def test_what_is_no_idx_file_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(idx.IdxError, match=message):
        idx.parse(content, "labels", dimensions=1)


def test_data_that_grows_beyond_the_limit_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(1_000_000))
    with pytest.raises(idx.IdxError, match="more than 1000 bytes when unpacked"):
        idx.unpack(bomb, "bomb", limit=1000)


def test_a_length_of_many_gigabytes_is_only_compared() -> None:
    content = struct.pack(">HBBIII", 0, 8, 3, 0xFFFFFFFF, 28, 28)
    with pytest.raises(idx.IdxError, match="0 bytes of data found, 3367254359280 needed"):
        idx.parse(content, "images", dimensions=3)
