"""An archive that comes as a stream is unpacked when it is the expected one."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.modules import lab_unload

STAMP = "cargo/loaded-1"


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        member = tarfile.TarInfo("cargo/a")
        member.size = 3
        made.addfile(member, io.BytesIO(b"one"))
        made.addfile(tarfile.TarInfo(STAMP))
    return buffer.getvalue()


@pytest.fixture
def served() -> Callable[[bytes], str]:
    """Hand bytes out to the first who connects; where."""

    def serve(data: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))

        def once() -> None:
            with listener, listener.accept()[0] as connection:
                connection.sendall(data)

        threading.Thread(target=once, daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    return serve


def test_what_was_expected_is_unpacked(tmp_path: Path, served: Callable[[bytes], str]) -> None:
    data = archive()
    digest = hashlib.sha256(data).hexdigest()
    lab_unload.unload(served(data), digest, len(data), tmp_path / "cache", STAMP, 5)
    assert (tmp_path / "cache" / "cargo" / "a").read_bytes() == b"one"
    assert (tmp_path / "cache" / "cargo" / "loaded-1").is_file()


def test_a_cut_archive_is_refused_and_nothing_is_unpacked(
    tmp_path: Path, served: Callable[[bytes], str]
) -> None:
    data = archive()
    digest = hashlib.sha256(data).hexdigest()
    with pytest.raises(lab_unload.UnloadError, match="sent an archive of checksum"):
        lab_unload.unload(served(data[:-600]), digest, len(data), tmp_path, STAMP, 5)
    assert list(tmp_path.iterdir()) == []


def test_an_endless_stream_is_cut_off(tmp_path: Path, served: Callable[[bytes], str]) -> None:
    with pytest.raises(lab_unload.UnloadError, match="sends more than 1000 bytes"):
        lab_unload.unload(served(b"x" * 5000), "", 1000, tmp_path, STAMP, 5)


def test_the_stamp_comes_when_all_else_is_on_the_disk(
    tmp_path: Path, served: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def sync() -> None:
        seen.append(((tmp_path / "cargo/a").exists(), (tmp_path / STAMP).exists()))

    monkeypatch.setattr("os.sync", sync)
    data = archive()
    digest = hashlib.sha256(data).hexdigest()
    lab_unload.unload(served(data), digest, len(data), tmp_path, STAMP, 5)
    assert seen == [(True, False), (True, True)]
