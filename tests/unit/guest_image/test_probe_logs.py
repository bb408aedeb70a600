"""What probes write down, and a service over TCP that notices what is lost or changed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.drill import logs
from orrery.guest.image import build, contents

HEAD = struct.Struct("<II")


@pytest.fixture(scope="module")
def probe(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler: install gcc and libc6-dev")
    path = tmp_path_factory.mktemp("probe") / "orrery-probe"
    path.write_bytes(build.compile_probe(contents.load(checkout / "roles/guest_image/files")))
    path.chmod(0o755)
    return path


def run(probe: Path, *words: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [str(probe), *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1])) if not code else {"said": done.stderr}


@contextlib.contextmanager
def serving(probe: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    words = ["serve", "--port", port, "--seconds", "60", "--bind", "127.0.0.1"]
    with subprocess.Popen([str(probe), *words], stdout=subprocess.PIPE, text=True) as service:
        try:
            end = time.monotonic() + 10
            table = Path("/proc/net/tcp")
            while f":{int(port):04X} 00000000:0000 0A" not in table.read_text(encoding="ascii"):
                assert time.monotonic() < end, f"nobody listens on {port}"
                time.sleep(0.01)
            yield service, port
        finally:
            service.kill()


def ended(service: subprocess.Popen[str]) -> list[dict[str, Any]]:
    service.terminate()
    return [json.loads(line) for line in service.communicate(timeout=20)[0].splitlines()]


def test_every_beat_is_in_the_log_with_both_clocks(probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "beats"
    before = time.time_ns()
    summary = run(probe, "heartbeat", "--seconds", "1", "--log", str(path))
    beats = logs.beats(path.read_bytes())
    assert len(beats) == summary["beats"]
    assert logs.backwards(beats) == 0
    assert before < beats[0].realtime_ns < beats[-1].realtime_ns < time.time_ns()


def test_every_datagram_is_in_the_log_with_when_it_came(probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "packets"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    words = ["receive", "--port", port, "--seconds", "20", "--bind", "127.0.0.1"]
    argv = [str(probe), *words, "--log", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as receiver:
        end = time.monotonic() + 10
        while f":{int(port):04X} " not in Path("/proc/net/udp").read_text(encoding="ascii"):
            assert time.monotonic() < end
            time.sleep(0.01)
        sent = run(probe, "send", "--to", "127.0.0.1", "--port", port, "--seconds", "1",
                   "--rate", "200")  # fmt: skip
        receiver.send_signal(signal.SIGTERM)
        summary = json.loads(receiver.communicate(timeout=20)[0])
    packets = logs.packets(path.read_bytes())
    assert len(packets) == summary["received"] == sent["sent"]
    assert [one.number for one in packets] == list(range(len(packets)))
    assert all(0 <= one.arrived_ns - one.sent_ns < 5e9 for one in packets)


def test_a_log_that_cannot_be_made_is_named(probe: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "log")
    said = run(probe, "heartbeat", "--seconds", "1", "--log", path, code=3)["said"]
    assert f"{path}: No such file or directory" in said


@pytest.mark.parametrize("pattern", ["random", "byte"])
@pytest.mark.parametrize("rate", ["0", "300", "5000"])
def test_memory_that_nobody_touched_holds_what_was_written(
    probe: Path, pattern: str, rate: str
) -> None:
    words = ["--mb", "2", "--seconds", "1", "--pattern", pattern, "--pages-per-s", rate]
    assert run(probe, "dirty", *words)["damaged_pages"] == 0


def test_a_page_that_somebody_changed_is_counted(probe: Path) -> None:
    argv = [str(probe), "dirty", "--mb", "2", "--seconds", "60", "--pages-per-s", "100"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        end = time.monotonic() + 10
        place = None
        while place is None:
            assert time.monotonic() < end, "the memory of the probe is not there"
            place = mapped(writer.pid, 2 << 20)
        with Path(f"/proc/{writer.pid}/mem").open("r+b", buffering=0) as memory:
            # The last page, which is not written again for five seconds.
            memory.seek(place + (2 << 20) - 4096)
            memory.write(os.urandom(8))
        writer.terminate()
        summary = json.loads(writer.communicate(timeout=20)[0])
    assert summary["damaged_pages"] == 1


def mapped(pid: int, size: int) -> int | None:
    """Where a process has anonymous memory of a size."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        low, high = (int(word, 16) for word in line.split()[0].split("-"))
        if size <= high - low < size + (1 << 20) and line.split()[4] == "0" and "[" not in line:
            return high - size if high - low != size else low
    return None


def test_every_message_is_answered_and_written_down(probe: Path, tmp_path: Path) -> None:
    path = tmp_path / "answers"
    with serving(probe) as (service, port):
        words = ["--to", "127.0.0.1", "--port", port, "--seconds", "1", "--rate", "100"]
        summary = run(probe, "ask", *words, "--log", str(path))
        (said,) = ended(service)
    assert summary["asked"] == summary["answered"] == said["messages"] > 10
    assert summary["lost_bytes"] == 0
    assert not summary["broken"]
    assert said["right"]
    answers = logs.packets(path.read_bytes())
    assert [one.number for one in answers] == list(range(summary["answered"]))


def test_a_stream_keeps_its_window_full_and_arrives_whole(probe: Path) -> None:
    with serving(probe) as (service, port):
        words = ["--to", "127.0.0.1", "--port", port, "--seconds", "1"]
        summary = run(probe, "ask", *words, "--size", "65536", "--window", "16")
        (said,) = ended(service)
    assert said["bytes"] == summary["answered"] * 65536
    assert summary["answered"] > 100


def test_a_service_that_goes_away_is_a_broken_connection(probe: Path) -> None:
    with serving(probe) as (service, port):
        words = ["ask", "--to", "127.0.0.1", "--port", port, "--seconds", "30", "--rate", "50"]
        with subprocess.Popen([str(probe), *words], stdout=subprocess.PIPE, text=True) as client:
            end = time.monotonic() + 10
            children = Path(f"/proc/{service.pid}/task/{service.pid}/children")
            while not children.read_text().strip():
                assert time.monotonic() < end
                time.sleep(0.01)
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
            summary = json.loads(client.communicate(timeout=20)[0])
    assert summary["broken"]
    assert summary["asked"] - summary["answered"] <= 1


@pytest.mark.parametrize(
    "message",
    [
        HEAD.pack(64, 1) + b"\0" * 56,
        HEAD.pack(64, 0) + b"\0" * 56,
        HEAD.pack(4, 0),
        HEAD.pack(1 << 20, 0),
    ],
    ids=["number", "content", "short", "long"],
)
def test_a_message_that_is_not_what_it_has_to_be_is_told(probe: Path, message: bytes) -> None:
    with serving(probe) as (service, port):
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as client:
            client.sendall(message)
            # What was not read any more makes it a reset.
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(4) == b""
        (said,) = ended(service)
    assert said == {"messages": 0, "bytes": 0, "right": False}


def test_what_is_written_to_a_disk_is_there_and_what_was_changed_is_counted(
    probe: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"\0" * (1 << 20))
    argv = [str(probe), "write", "--to", str(disk), "--mb", "1", "--seconds", "60"]
    with subprocess.Popen(
        [*argv, "--pages-per-s", "200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        end = time.monotonic() + 20
        while disk.read_bytes()[8 * 4096 : 8 * 4096 + 8] == b"\0" * 8:
            if writer.poll() is not None and "Invalid argument" in writer.communicate()[1]:
                pytest.skip("not here: this file system has no direct access: set TMPDIR")
            assert time.monotonic() < end
            time.sleep(0.01)
        with disk.open("r+b") as stream:
            stream.seek(0)
            stream.write(os.urandom(8))
            stream.flush()
            os.fsync(stream.fileno())
        writer.terminate()
        summary = json.loads(writer.communicate(timeout=20)[0])
    assert summary["damaged_pages"] == 1
    assert summary["pages"] >= 8


def test_a_disk_that_is_not_there_is_named(probe: Path, tmp_path: Path) -> None:
    words = ["--to", str(tmp_path / "none"), "--mb", "1", "--seconds", "1", "--pages-per-s", "1"]
    assert "none: No such file" in run(probe, "write", *words, code=3)["said"]


def test_a_service_ends_though_somebody_stays_connected(probe: Path) -> None:
    with (
        serving(probe) as (service, port),
        socket.create_connection(("127.0.0.1", int(port)), timeout=10) as client,
    ):
        client.sendall(b"half")
        assert ended(service) == []
        assert service.returncode == 0
