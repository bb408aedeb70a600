"""The action on real digits: as they are, inverted, and as all that users may send."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from orrery import shell
from orrery.mnist import images
from orrery.mnist.data import Examples
from tests.unit.mnist.conftest import ACTION

Main = Callable[[dict[str, Any]], dict[str, Any]]

BATCH = 1000


def encode(picture: Image.Image, name: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, name, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def digits(examples: Examples) -> list[Image.Image]:
    firsts = images.first_of_each_class(examples)
    return [Image.frombytes("L", (28, 28), examples.images.item(i)) for i in firsts.values()]


def read(main: Main, pictures: list[str]) -> list[int]:
    answer = main({"images": pictures})
    assert answer["code"] == 200, answer
    found: list[int] = answer["res"]
    return found


@pytest.mark.parametrize(("inverted", "needed"), [(False, 0.992), (True, 0.990)])
def test_all_ten_thousand_images_as_they_are_served(
    main: Main, examples: Examples, inverted: bool, needed: float
) -> None:
    right = 0
    for start in range(0, 10_000, BATCH):
        pictures = [
            base64.b64encode(images.picture(examples, index, inverted=inverted)).decode()
            for index in range(start, start + BATCH)
        ]
        labels = examples.labels.data[start : start + BATCH]
        right += sum(map(int.__eq__, read(main, pictures), labels))
    assert right / 10_000 >= needed


def test_one_picture_keeps_the_classic_shape(main: Main, examples: Examples) -> None:
    picture = base64.encodebytes(images.picture(examples, 0)).decode()
    answer = main({"image": picture})
    assert (answer["code"], answer["res"]) == (200, 7)
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert set(answer["measurement"]) == {"download_ms", "decode_ms", "inference_ms"}
    assert answer["measurement"]["download_ms"] == 0


def test_a_batch_is_answered_with_lists(main: Main, examples: Examples) -> None:
    pictures = [base64.b64encode(images.picture(examples, i)).decode() for i in range(3)]
    answer = main({"images": pictures})
    assert answer["res"] == [7, 2, 1]
    assert [len(row) for row in answer["probabilities"]] == [10, 10, 10]


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_format_is_read(main: Main, examples: Examples, name: str) -> None:
    assert read(main, [encode(digit, name) for digit in digits(examples)]) == list(range(10))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "CMYK"])
def test_every_kind_of_pixel_is_read(main: Main, examples: Examples, mode: str) -> None:
    def convert(digit: Image.Image) -> Image.Image:
        if mode == "I;16":
            content = b"".join(bytes((0, value)) for value in digit.tobytes())
            return Image.frombytes(mode, digit.size, content)
        return digit.convert(mode)

    name = "JPEG" if mode == "CMYK" else "PNG"
    pictures = [encode(convert(digit), name) for digit in digits(examples)]
    assert read(main, pictures) == list(range(10))


@pytest.mark.parametrize(
    "size", [(20, 20), (56, 56), (280, 280), (1200, 1200)], ids=lambda size: f"{size[0]}"
)
@pytest.mark.parametrize("inverted", [False, True])
def test_any_size_is_read_bright_or_dark(
    main: Main, examples: Examples, size: tuple[int, int], inverted: bool
) -> None:
    pictures = []
    for digit in digits(examples):
        scaled = digit.resize(size, Image.Resampling.BICUBIC)
        pictures.append(encode(scaled.point(lambda v: 255 - v) if inverted else scaled, "PNG"))
    assert read(main, pictures) == list(range(10))


def test_a_digit_somewhere_on_grey_paper_keeps_its_aspect_and_is_centred(
    main: Main, examples: Examples
) -> None:
    pictures = []
    for digit in digits(examples):
        paper = Image.new("L", (400, 260), 225)
        paper.paste(digit.resize((84, 84)).point(lambda v: 225 - v * 4 // 5), (270, 20))
        pictures.append(encode(paper, "JPEG", quality=70))
    assert read(main, pictures) == list(range(10))


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_transparent_paper_is_seen(main: Main, examples: Examples, ink: int) -> None:
    pictures = []
    for digit in digits(examples):
        picture = Image.new("LA", digit.size, (ink, 0))
        picture.putalpha(digit)
        pictures.append(encode(picture, "PNG"))
    assert read(main, pictures) == list(range(10))


def test_a_photograph_that_lies_on_its_side_is_turned(main: Main, examples: Examples) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [
        encode(digit.resize((112, 112)).rotate(90), "JPEG", exif=exif) for digit in digits(examples)
    ]
    assert read(main, pictures) == list(range(10))


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (3000, 1), (300, 200)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_an_empty_picture_gets_an_answer(main: Main, size: tuple[int, int], shade: int) -> None:
    assert main({"image": encode(Image.new("L", size, shade), "PNG")})["code"] == 200


def test_many_batches_do_not_fill_the_container() -> None:
    """Memory is looked at in a process of its own: it is the peak of the process that counts."""
    code = (
        "import resource, numpy\n"
        "from classify import model\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "session, pixels = model.load(), numpy.zeros((250, 1, 28, 28), numpy.uint8)\n"
        "model.probabilities(session, pixels[:1])\n"
        "before = peak()\n"
        "for _ in range(25): model.probabilities(session, pixels)\n"
        "print(peak() - before)\n"
    )
    env = {"PYTHONPATH": str(ACTION)}
    done = shell.run([sys.executable, "-c", code], timeout_s=120, env=env)
    assert int(done.stdout) < 24 * 1024
