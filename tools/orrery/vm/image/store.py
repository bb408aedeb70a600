"""The cache of images: one folder for each, complete or not there."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError, HostError
from orrery.packages.store import WORK_PREFIX, digest, locked, write
from orrery.shell import CommandError
from orrery.vm.image.bootstrap import NO_SPACE
from orrery.vm.image.image import MB, Image

WHAT = "VM image"
MANIFEST = "manifest.json"
ID_LENGTH = 12
Make = Callable[[Path, Path], Image]
"""Gets a folder to work in, and one for what comes out; paths in the image are below the latter."""


def identity(parts: list[str]) -> str:
    """Twelve hexadecimal digits over what decides an image's content."""
    return digest(parts)[:ID_LENGTH]


@dataclass(frozen=True)
class Store:
    """Images below `vm` of the cache that labs share.

    Attributes:
        cache: That cache.
    """

    cache: Path

    @property
    def folder(self) -> Path:
        """Where images are."""
        return self.cache / "vm"

    def of(self, name: str, identity: str) -> Path:
        """Folder of one image."""
        return self.folder / f"{name}-{identity}"

    def find(self, name: str, identity: str) -> Image | None:
        """An image that is there, and as it was when it was verified."""
        return complete(self.of(name, identity))

    def recall(self, key: str) -> tuple[Image, str] | None:
        """The image that a question led to earlier, with the note of that time."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._answer(key).read_text(encoding="utf-8"))
            image = complete(self.folder / kept["folder"])
            if image is not None:
                return image, str(kept["note"])
        return None

    def remember(self, key: str, image: Image, note: str) -> None:
        """Keep what a question led to."""
        data = {"folder": self.of(image.name, image.id).name, "note": note}
        write(self._answer(key), json.dumps(data).encode())

    def _answer(self, key: str) -> Path:
        return self.folder / f"answer-{key}.json"

    def have(self, name: str, identity: str, space_mb: int, make: Make) -> tuple[Image, bool]:
        """Have an image: found, or made beside its place and moved there as a whole.

        Args:
            name: Of the image.
            identity: Over what decides its content.
            space_mb: Needed while it is made [MB].
            make: Makes it.

        Returns:
            The image, and whether it was made now.

        Raises:
            OrreryError: It cannot be made; nothing of it is left then.
        """
        with locked(self.folder, WHAT):
            found = self.find(name, identity)
            if found is not None:
                return found, False
            self._check_space(space_mb)
            target = self.of(name, identity)
            try:
                with tempfile.TemporaryDirectory(dir=self.folder, prefix=WORK_PREFIX) as made:
                    _build(Path(made), target, make)
            except (OSError, CommandError) as error:
                if not _is_full(error):
                    raise
                raise HostError(self._full(space_mb)) from error
        image = complete(target)
        if image is None:
            raise HostError(f"{WHAT}: {target} was changed while it was made. Run it again.")
        return image, True

    def _check_space(self, space_mb: int) -> None:
        if shutil.disk_usage(self.folder).free < space_mb * MB:
            raise HostError(self._full(space_mb))

    def _full(self, space_mb: int) -> str:
        free_mb = shutil.disk_usage(self.folder).free // MB
        return (
            f"{WHAT}: {free_mb} MB are free in {self.folder}, and {space_mb} MB are needed while "
            "an image is made. Free them, or set lab_cache_dir to a larger disk."
        )


def _build(work: Path, target: Path, make: Make) -> None:
    work.chmod(0o755)
    scratch, ready = work / "work", work / "ready"
    for folder in (scratch, ready):
        folder.mkdir()
        folder.chmod(0o755)
    image = make(scratch, ready)
    files = {path.name: path for path in sorted(ready.iterdir())}
    for path in files.values():
        path.chmod(0o444)
    moved = _moved(image.as_mapping(), ready, target)
    stamps = {name: _stamp(path) for name, path in files.items()}
    data = {"image": moved, "files": stamps}
    write(ready / MANIFEST, json.dumps(data, indent=2).encode())
    if target.exists():
        shutil.rmtree(target)
    ready.replace(target)


def _moved(mapping: dict[str, Any], old: Path, new: Path) -> dict[str, Any]:
    return {
        key: value.replace(str(old), str(new)) if isinstance(value, str) else value
        for key, value in mapping.items()
    }


def _stamp(path: Path) -> list[int]:
    look = path.stat()
    return [look.st_size, look.st_mtime_ns]


def complete(folder: Path) -> Image | None:
    """The image in a folder; None where there is none, or files are not as they were."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        stamps = {name: _stamp(folder / name) for name in data["files"]}
        image = Image.from_mapping(data["image"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigurationError):
        return None
    return image if stamps == data["files"] and image.disk.parent == folder else None


def _is_full(error: OSError | CommandError) -> bool:
    if isinstance(error, CommandError):
        return NO_SPACE in str(error)
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
