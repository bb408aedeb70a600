from __future__ import annotations

import json
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from orrery.guest.image import build, contents

MAGIC = 0x6F727279


@pytest.fixture(scope="module")
def probe(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler: install gcc and libc6-dev")
    path = tmp_path_factory.mktemp("probe") / "orrery-probe"
    path.write_bytes(build.compile_probe(contents.load(checkout / "roles/guest_image/files")))
    path.chmod(0o755)
    return path


def run(probe: Path, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [str(probe), *words], capture_output=True, text=True, timeout=30, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until_bound(port: int) -> None:
    end = time.monotonic() + 10
    while f":{port:04X} " not in Path("/proc/net/udp").read_text(encoding="ascii"):
        assert time.monotonic() < end, f"nobody listens on {port}"
        time.sleep(0.01)


def datagram(number: int, magic: int = MAGIC) -> bytes:
    return struct.pack("<IIQq", magic, 64, number, time.time_ns()).ljust(64, b"\0")


def test_the_job_for_the_processor_gives_digits_of_pi_whatever_its_length(probe: Path) -> None:
    (short,), (long,) = run(probe, "cpu", "--work", "21"), run(probe, "cpu", "--work", "800")
    assert short["digits"] == long["digits"] == "31415926535897932384"
    assert short["checksum"] != long["checksum"]
    assert run(probe, "cpu", "--work", "800")[0]["checksum"] == long["checksum"]
    assert long["seconds"] > short["seconds"] > 0


def test_the_heartbeat_counts_and_its_clocks_agree(probe: Path) -> None:
    *_, summary = run(probe, "heartbeat", "--seconds", "1", "--gap-ms", "5000")
    assert 100 < summary["beats"] <= 1000
    assert summary["gaps"] == 0
    assert abs(summary["clock_difference_ms"]) < 50
    assert not summary["interrupted"]


def test_a_pause_is_one_gap_and_the_signal_still_gives_the_summary(probe: Path) -> None:
    argv = [str(probe), "heartbeat", "--seconds", "60", "--gap-ms", "150"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        time.sleep(0.2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        process.send_signal(signal.SIGCONT)
        gap = json.loads(process.stdout.readline())
        process.terminate()
        *_, last = process.stdout.read().splitlines()
        assert process.wait(10) == 0
    summary = json.loads(last)
    assert gap["gap_ms"] >= 350
    assert summary["largest_gap_ms"] >= gap["gap_ms"]
    assert summary["interrupted"]


def test_memory_is_written_at_the_rate_that_is_asked_for(probe: Path) -> None:
    words = ["dirty", "--mb", "4", "--seconds", "1", "--pattern", "byte"]
    (summary,) = run(probe, *words, "--pages-per-s", "2000")
    assert 1000 < summary["pages"] <= 2020
    (fast,) = run(probe, "dirty", "--mb", "4", "--seconds", "1")
    assert fast["pages"] > 10 * summary["pages"]
    assert fast["pattern"] == "random"


def test_what_is_sent_is_received_and_counted(probe: Path) -> None:
    port = free_port()
    words = ["receive", "--port", str(port), "--seconds", "20", "--idle-ms", "300"]
    argv = [str(probe), *words, "--bind", "127.0.0.1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as receiver:
        wait_until_bound(port)
        to = ["--to", "127.0.0.1", "--port", str(port)]
        (sent,) = run(probe, "send", *to, "--seconds", "1", "--rate", "500", "--size", "200")
        received = json.loads(receiver.communicate(timeout=20)[0])
    assert 200 < sent["sent"] <= 501
    assert received["received"] + received["lost"] == sent["sent"]
    assert received["bytes"] == received["received"] * 200
    assert received["first"] == 0


def test_lost_double_and_late_datagrams_are_told_apart(probe: Path) -> None:
    port = free_port()
    words = ["receive", "--port", str(port), "--seconds", "20", "--idle-ms", "800"]
    argv = [str(probe), *words, "--bind", "127.0.0.1"]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        wait_until_bound(port)
        sender.connect(("127.0.0.1", port))
        for number in (10, 11, 13, 12, 12):
            sender.send(datagram(number))
        sender.send(datagram(14, magic=1))
        sender.send(b"short")
        time.sleep(0.2)
        sender.send(datagram(20))
        received = json.loads(receiver.communicate(timeout=20)[0])
    assert (received["received"], received["duplicated"], received["reordered"]) == (5, 1, 1)
    assert (received["first"], received["last"], received["lost"]) == (10, 20, 6)
    assert 190 <= received["largest_gap_ms"] < 800
    assert received["gap_after"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a subcommand is needed"),
        (["sing"], "sing is no subcommand"),
        (["cpu"], "--work is needed"),
        (["cpu", "--work"], "--work needs a value"),
        (["cpu", "--work", "0"], "--work 0: a whole number from 1 to 50000 is needed"),
        (["cpu", "--work", "1x"], "--work 1x: a whole number"),
        (["cpu", "--works", "1"], "--works is no option here"),
        (["dirty", "--mb", "1", "--seconds", "1", "--pattern", "x"], "random or byte is needed"),
        (["send", "--to", "host", "--port", "1", "--seconds", "1"], "an IPv4 address is needed"),
        (["receive", "--port", "65536", "--seconds", "1"], "from 1 to 65535 is needed"),
        (["heartbeat", "--seconds", "99999999999999999999"], "from 1 to 86400 is needed"),
    ],
)
def test_a_wrong_command_line_is_named_and_the_usage_shown(
    probe: Path, words: list[str], message: str
) -> None:
    done = subprocess.run(
        [str(probe), *words], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "orrery-probe receive --port P" in done.stderr


def test_a_taken_port_is_named_with_the_reason(probe: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        words = ["receive", "--port", str(one.getsockname()[1]), "--seconds", "1"]
        argv = [str(probe), *words, "--bind", "127.0.0.1"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 3
    assert "127.0.0.1: Address already in use" in done.stderr
