"""Bad input gets a code and a sentence, never a key `error`, and never ends the process."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from orrery.mnist import images
from orrery.mnist.data import Examples

Main = Callable[[dict[str, Any]], dict[str, Any]]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return images.PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def refused(main: Main, parameters: dict[str, Any], code: int, message: str) -> None:
    answer = main(parameters)
    assert set(answer) == {"code", "res", "message"}
    assert (answer["code"], answer["res"]) == (code, None)
    assert message in answer["message"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "exactly one of url, urls, image or images is needed; none of them given"),
        ({"url": "http://x/", "image": "x"}, "needed; url and image given"),
        ({"image": 7}, "image has to be a text, not a number"),
        ({"image": None}, "image has to be a text, not null"),
        ({"url": ["http://x/"]}, "url has to be a text, not a list"),
        ({"url": {"a": 1}}, "url has to be a text, not an object"),
        ({"image": True}, "image has to be a text, not true or false"),
        ({"images": "abc"}, "images has to be a list with at least one entry"),
        ({"images": []}, "images has to be a list with at least one entry"),
        ({"urls": ["http://x/", 3]}, "urls[1] has to be a text, not a number"),
        ({"image": "not base64!"}, "the picture is not valid base64"),
        ({"image": "ümlaut"}, "the picture is not valid base64"),
        ({"images": ["AAAA", "%"]}, "entry 0: not a picture"),
    ],
)
def test_wrong_types_are_named(main: Main, parameters: dict[str, Any], message: str) -> None:
    refused(main, parameters, 415 if "not a picture" in message else 400, message)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n",
        b"RIFF\0\0\0\0WAVE",
        images.PNG_SIGNATURE,
        png(28, 28),
        png(28, 28, chunk(b"IDAT", b"garbage")),
        b"\xff\xd8\xff\xe0nonsense",
        b"GIF89a",
        b"P6 28",
        b"BM" + bytes(60),
        b"II*\0\x08\0\0\0\xff\xff",
    ],
    ids=["empty", "text", "svg", "eps", "wave", "signature", "no data", "bad data", "jpeg", "gif",
         "ppm", "bmp", "tiff"],
)  # fmt: skip
def test_what_is_no_picture_is_415(main: Main, content: bytes) -> None:
    refused(main, {"image": b64(content)}, 415, "")


def test_a_picture_that_is_cut_short_is_415(main: Main, examples: Examples) -> None:
    buffer = io.BytesIO()
    Image.frombytes("L", (28, 28), examples.images.item(0)).resize((300, 300)).save(buffer, "JPEG")
    refused(main, {"image": b64(buffer.getvalue()[:-1500])}, 415, "the picture is damaged")


def test_a_header_that_promises_too_many_pixels_is_413(main: Main) -> None:
    for side in (4000, 9000, 60_000):
        refused(main, {"image": b64(png(side, side))}, 413, "pixels")


def test_a_small_file_that_unpacks_to_many_pixels_is_413(main: Main) -> None:
    buffer = io.BytesIO()
    Image.new("L", (5000, 2000)).save(buffer, "PNG")
    assert len(buffer.getvalue()) < 100_000
    refused(main, {"image": b64(buffer.getvalue())}, 413, "9000000 are allowed")


def test_a_text_chunk_that_unpacks_to_a_gigabyte_does_no_harm(main: Main) -> None:
    text = zlib.compress(bytes(50_000_000))
    bomb = png(28, 28, chunk(b"zTXt", b"Comment\0\0" + text))
    refused(main, {"image": b64(bomb)}, 415, "")


def test_a_file_above_the_limit_is_413(main: Main, action: ModuleType) -> None:
    large = "A" * (action.MAX_BODY * 3 // 2 + 4)
    refused(main, {"image": large}, 413, f"larger than {action.MAX_BODY} bytes")
    refused(main, {"image": b64(bytes(action.MAX_BODY + 1))}, 413, "larger than")


def test_a_batch_above_the_limit_is_413(main: Main, action: ModuleType) -> None:
    many = ["AAAA"] * (action.MAX_BATCH + 1)
    refused(main, {"images": many}, 413, "images has 1001 entries, 1000 are allowed")


def test_the_action_still_works_after_bad_input(main: Main, examples: Examples) -> None:
    refused(main, {"image": b64(png(28, 28))}, 415, "damaged")
    assert main({"image": b64(images.picture(examples, 0))})["res"] == 7
