"""The four files of MNIST: where they come from, how they are checked, what is in them."""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from orrery.errors import ConfigurationError
from orrery.mnist import idx
from orrery.mnist.download import DownloadError, Limits, Network, fetch


@dataclass(frozen=True)
class MnistFile:
    """One of the four files.

    Attributes:
        name: Published name without `.gz`.
        md5: Checksum of the uncompressed file (gzip wrappers differ between mirrors).
        size: Size of the uncompressed file [bytes].
        dimensions: 3 for images, 1 for labels.
    """

    name: str
    md5: str
    size: int
    dimensions: int

    @property
    def packed(self) -> str:
        """Name of the compressed file, as mirrors offer it and as it is cached."""
        return f"{self.name}.gz"


class Part(Enum):
    """Which of the four files."""

    TRAIN_IMAGES = MnistFile(
        "train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", 47_040_016, 3
    )
    TRAIN_LABELS = MnistFile(
        "train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 60_008, 1
    )
    TEST_IMAGES = MnistFile(
        "t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 7_840_016, 3
    )
    TEST_LABELS = MnistFile("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 10_008, 1)


@dataclass(frozen=True)
class Examples:
    """Images and the digits on them.

    Attributes:
        images: Shape (count, 28, 28); 0 is background, 255 is ink.
        labels: Shape (count,), digits 0 to 9.
    """

    images: idx.IdxArray
    labels: idx.IdxArray


class DataError(ConfigurationError):
    """MNIST cannot be had, or a file of it is damaged."""


def check(part: Part, content: bytes) -> bytes:
    """Unpack one file and compare its checksum.

    Returns:
        The uncompressed file.

    Raises:
        DataError: It is not the published file.
    """
    file = part.value
    try:
        plain = idx.unpack(content, file.packed, limit=file.size)
    except idx.IdxError as error:
        raise DataError(str(error)) from error
    found = hashlib.md5(plain, usedforsecurity=False).hexdigest()
    if found != file.md5:
        raise DataError(f"{file.name}: md5 {found} found, {file.md5} needed")
    return plain


def is_intact(part: Part, folder: Path) -> bool:
    """Whether a folder holds this file, compressed and undamaged."""
    path = folder / part.value.packed
    try:
        check(part, path.read_bytes())
    except (OSError, DataError):
        return False
    return True


def load(folder: Path, *, train: bool) -> Examples:
    """Read the training or the test set from a folder of the files, compressed or not.

    Raises:
        DataError: A file is missing or is not the published one.
    """
    wanted = (
        (Part.TRAIN_IMAGES, Part.TRAIN_LABELS) if train else (Part.TEST_IMAGES, Part.TEST_LABELS)
    )
    images, labels = (
        idx.parse(
            check(part, _read_local(part, folder)),
            part.value.name,
            dimensions=part.value.dimensions,
        )
        for part in wanted
    )
    return Examples(images, labels)


def ensure(
    sources: Sequence[str],
    cache: Path,
    *,
    network: Network | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> list[str]:
    """See to it that a folder holds the four files, checked.

    Args:
        sources: URLs of folders, or local folders; the first that has a good file wins.
        cache: Folder that gets them, compressed.
        network: Proxy and certificates for URLs.
        say: Gets one line for every file that is obtained.

    Returns:
        Names of the files that were missing or damaged and now are there.

    Raises:
        DataError: A file could not be had; tells why for each source.
    """
    if not sources:
        raise DataError("no source of MNIST given. Set mnist_source to a URL or to a folder.")
    made = []
    for part in Part:
        if is_intact(part, cache):
            continue
        cache.mkdir(parents=True, exist_ok=True)
        origin = _obtain(part, sources, cache, network or Network())
        say(f"{part.value.packed}: from {origin}")
        made.append(part.value.packed)
    return made


def _obtain(part: Part, sources: Sequence[str], cache: Path, network: Network) -> str:
    reasons = []
    for source in sources:
        try:
            if source.startswith(("http://", "https://")):
                _from_url(part, source, cache, network)
            else:
                content = _read_local(part, Path(source.removeprefix("file://")))
                check(part, content)
                store(part, content, cache)
        except (DataError, DownloadError) as error:
            reasons.append(f"  {source}: {error}")
        else:
            return source
    text = "\n".join(reasons)
    raise DataError(
        f"{part.value.packed} could not be obtained:\n{text}\n"
        "Set mnist_source to a mirror's URL or to a folder with the four files."
    )


def _from_url(part: Part, source: str, cache: Path, network: Network) -> None:
    """Download into the cache; a resumed download that fails its checksum is made once more."""
    file = part.value
    partial = cache / f".{file.packed}.part"
    # gzip never adds more than a few bytes per block to what it cannot compress.
    limits = Limits(max_bytes=file.size + 65536)
    url = f"{source.rstrip('/')}/{file.packed}"
    for attempt in ("resumed", "fresh"):
        resumed = fetch(url, partial, limits=limits, network=network)
        content = partial.read_bytes()
        partial.unlink()
        try:
            check(part, content)
        except DataError:
            if attempt == "fresh" or not resumed:
                raise
        else:
            store(part, content, cache)
            return


def _read_local(part: Part, folder: Path) -> bytes:
    """Read a file from a folder, by its published name, compressed or not."""
    file = part.value
    for name in (file.packed, file.name):
        path = folder / name
        try:
            # Checked before reading: a source may be any path a user typed.
            if path.is_file() and path.stat().st_size <= idx.MAX_BYTES:
                return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
    raise DataError(f"{folder}: no {file.packed} there")


def store(part: Part, content: bytes, folder: Path) -> None:
    """Put a checked file into a folder, compressed, in one step."""
    packed = content if content.startswith(idx.GZIP_MAGIC) else gzip.compress(content, 6, mtime=0)
    write_atomically(folder / part.value.packed, packed)


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace a file as a whole; a crash leaves the old one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
