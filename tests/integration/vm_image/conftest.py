"""A site of images on loopback, and the program with a cache of its own."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import shell
from tests.integration.vm_image.site import NAME, Images, Signer, Site, server


@pytest.fixture
def site() -> Iterator[Site]:
    """A server of files on loopback."""
    made = Site("")
    serving = server(made)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield made
    serving.shutdown()
    serving.server_close()
    thread.join(10)


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small qcow2 disk with something in it."""
    folder = tmp_path_factory.mktemp("disk")
    raw, packed = folder / "raw", folder / NAME
    raw.write_bytes(bytes(range(256)) * 16384)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed)]
    shell.run(argv, timeout_s=60)
    return packed.read_bytes()


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """The program with a cache of its own."""
    return Images(tmp_path, sys.executable)


@pytest.fixture(scope="session")
def signers() -> Iterator[tuple[Signer, Signer]]:
    """The publisher, and somebody else."""
    # gpg's agent has its socket here: the path has to be short.
    with tempfile.TemporaryDirectory(prefix="orrery-gpg-") as name:
        made = (Signer.make(Path(name) / "a", "publisher"), Signer.make(Path(name) / "b", "other"))
        yield made
        for one in made:
            one.end()
