from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from orrery.mnist import data, images
from orrery.mnist.data import Part
from tests.unit.mnist.conftest import Server

SMALL = Part.TEST_LABELS


def only(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work with one small file instead of four."""
    monkeypatch.setattr(data, "Part", [part])


def test_the_test_set_is_what_it_is_known_to_be(examples: data.Examples) -> None:
    assert examples.images.shape == (10_000, 28, 28)
    assert list(examples.labels.data[:5]) == [7, 2, 1, 0, 4]


def test_four_files_come_from_a_folder_and_the_second_time_nothing_is_done(
    mnist_dir: Path, tmp_path: Path
) -> None:
    made = data.ensure([str(mnist_dir)], tmp_path / "cache")
    assert made == [part.value.packed for part in Part]
    assert data.ensure(["/nowhere"], tmp_path / "cache") == []


def test_a_damaged_file_is_made_again(
    mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    data.ensure([str(mnist_dir)], tmp_path)
    path = tmp_path / SMALL.value.packed
    path.write_bytes(path.read_bytes()[:-100])
    assert data.ensure([f"file://{mnist_dir}"], tmp_path) == [SMALL.value.packed]
    assert data.is_intact(SMALL, tmp_path)


def test_uncompressed_files_are_taken_too(
    mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    plain = gzip.decompress((mnist_dir / SMALL.value.packed).read_bytes())
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / SMALL.value.name).write_bytes(plain)
    data.ensure([str(tmp_path / "source")], tmp_path / "cache")
    assert data.is_intact(SMALL, tmp_path / "cache")


def test_the_first_source_that_has_a_good_file_wins(
    mnist_dir: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    server.serve({f"/mnist/{SMALL.value.packed}": (mnist_dir / SMALL.value.packed).read_bytes()})
    said: list[str] = []
    sources = ["/nowhere", f"{server.url}/wrong", f"{server.url}/mnist/"]
    data.ensure(sources, tmp_path / "cache", say=said.append)
    assert said == [f"{SMALL.value.packed}: from {server.url}/mnist/"]


def test_wrong_bytes_are_refused_and_every_source_is_named_with_its_reason(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    server.serve({f"/{SMALL.value.packed}": gzip.compress(b"not labels")})
    with pytest.raises(data.DataError) as caught:
        data.ensure([str(tmp_path / "empty"), server.url], tmp_path / "cache")
    text = str(caught.value)
    assert f"{tmp_path / 'empty'}: no t10k-labels-idx1-ubyte.gz there" in text
    assert f"{server.url}: t10k-labels-idx1-ubyte: md5" in text
    assert f"found, {SMALL.value.md5} needed" in text
    assert "Set mnist_source to a mirror's URL" in text
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_resumed_download_that_is_wrong_is_made_once_more(
    mnist_dir: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    content = (mnist_dir / SMALL.value.packed).read_bytes()
    server.serve({f"/{SMALL.value.packed}": content})
    (tmp_path / f".{SMALL.value.packed}.part").write_bytes(b"x" * 100)
    data.ensure([server.url], tmp_path)
    assert server.ranges == ["bytes=100-", ""]
    assert data.is_intact(SMALL, tmp_path)


def test_an_interrupted_download_goes_on_where_it_stopped(
    mnist_dir: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(SMALL, monkeypatch)
    content = (mnist_dir / SMALL.value.packed).read_bytes()
    server.serve({f"/{SMALL.value.packed}": content})
    (tmp_path / f".{SMALL.value.packed}.part").write_bytes(content[:100])
    data.ensure([server.url], tmp_path)
    assert server.ranges == ["bytes=100-"]
    assert [path.name for path in tmp_path.iterdir()] == [SMALL.value.packed]


def test_no_source_at_all_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match="Set mnist_source to a URL or to a folder"):
        data.ensure([], tmp_path)


def test_the_samples_are_the_first_of_each_class_in_file_order(examples: data.Examples) -> None:
    firsts = images.first_of_each_class(examples)
    assert firsts == {0: 3, 1: 2, 2: 1, 3: 18, 4: 4, 5: 8, 6: 11, 7: 0, 8: 61, 9: 7}
    names = set(images.samples(examples))
    assert names == {f"{f}/{d}.png" for f in ("digits", "digits-inverted") for d in range(10)}


def test_a_png_holds_the_same_pixels_and_its_inverse_the_opposite(examples: data.Examples) -> None:
    import io

    from PIL import Image

    plain, inverted = (
        Image.open(io.BytesIO(images.picture(examples, 5, inverted=flag))) for flag in (False, True)
    )
    assert plain.tobytes() == examples.images.item(5)
    assert inverted.tobytes() == bytes(255 - value for value in plain.tobytes())
    with pytest.raises(ValueError, match="3 pixels found, 2 x 2 needed"):
        images.png(b"abc", 2, 2)
