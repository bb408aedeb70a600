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

from orrery.guest.image import build, contents

MAGIC = 0x6F72
HEAD = 16


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


def datagram(number: int, magic: int = MAGIC, says: int = 64) -> bytes:
    return struct.pack("<HHIq", magic, says, number, time.time_ns()).ljust(64, b"\0")


@contextlib.contextmanager
def receiving(probe: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A receiver on a free port of loopback that is there already."""
    port = free_port()
    words = ["receive", "--port", str(port), "--seconds", "20", "--bind", "127.0.0.1", *more]
    with subprocess.Popen([str(probe), *words], stdout=subprocess.PIPE, text=True) as receiver:
        try:
            wait_until_bound(port)
            yield receiver, port
        finally:
            receiver.kill()


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


@pytest.mark.parametrize("size", [HEAD, 18, 200, 1472])
def test_what_is_sent_is_received_and_counted(probe: Path, size: int) -> None:
    with receiving(probe, "--idle-ms", "300") as (receiver, port):
        to = ["--to", "127.0.0.1", "--port", str(port), "--size", str(size)]
        (sent,) = run(probe, "send", *to, "--seconds", "1", "--rate", "500")
        received = json.loads(receiver.communicate(timeout=20)[0])
    assert 200 < sent["sent"] <= 501
    assert (sent["size"], sent["bytes"]) == (size, sent["sent"] * size)
    assert received["received"] + received["lost"] == sent["sent"]
    assert received["bytes"] == received["received"] * size
    assert received["first"] == 0


def test_a_mix_has_its_sizes_in_turns_and_says_how_many_bytes_it_was(probe: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        to = ["--to", "127.0.0.1", "--port", str(one.getsockname()[1]), "--size", "imix"]
        (sent,) = run(probe, "send", *to, "--seconds", "1", "--rate", "60")
        sizes = [len(one.recv(2048)) for _ in range(sent["sent"])]
    assert sent["size"] == "imix"
    assert sent["bytes"] == sum(sizes)
    turn = sizes[:12]
    assert sorted(turn) == [18] * 7 + [524] * 4 + [1472]
    assert sizes == [turn[number % 12] for number in range(len(sizes))]
    # Nowhere more than two of a size, and no two that are not the small ones.
    assert not [one for one in zip(turn, [*turn[1:], turn[0]], strict=True) if min(one) > 18]


def test_what_is_queued_when_the_signal_comes_is_counted(probe: Path) -> None:
    with receiving(probe) as (receiver, port):
        receiver.send_signal(signal.SIGSTOP)
        to = ["--to", "127.0.0.1", "--port", str(port), "--size", "18"]
        (sent,) = run(probe, "send", *to, "--seconds", "1", "--rate", "200")
        receiver.terminate()
        receiver.send_signal(signal.SIGCONT)
        received = json.loads(receiver.communicate(timeout=20)[0])
    assert received["interrupted"]
    assert received["received"] == sent["sent"]


def test_a_receiver_ends_though_somebody_goes_on_sending(probe: Path) -> None:
    with receiving(probe) as (receiver, port):
        to = ["--to", "127.0.0.1", "--port", str(port)]
        argv = [str(probe), "send", *to, "--seconds", "20", "--rate", "1000"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as sender:
            try:
                time.sleep(0.1)
                began = time.monotonic()
                receiver.terminate()
                receiver.communicate(timeout=20)
                assert time.monotonic() - began < 5
            finally:
                sender.kill()


def test_lost_double_and_late_datagrams_are_told_apart(probe: Path) -> None:
    with (
        receiving(probe, "--idle-ms", "800") as (receiver, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", port))
        for number in (10, 11, 13, 12, 12):
            sender.send(datagram(number))
        sender.send(datagram(14, magic=1))
        sender.send(datagram(15, says=65))
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
        (
            ["send", "--to", "1.1.1.1", "--port", "1", "--seconds", "1", "--size", "15"],
            "from 16 to",
        ),
        (
            ["send", "--to", "1.1.1.1", "--port", "1", "--seconds", "1", "--size", "x"],
            "--size x: a",
        ),
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs before everything else")
def test_beats_run_before_other_programs_where_that_is_asked_for(probe: Path) -> None:
    words = ["heartbeat", "--seconds", "5", "--fifo", "7"]
    with subprocess.Popen([str(probe), *words], stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 4
        while os.sched_getscheduler(process.pid) != os.SCHED_FIFO and time.monotonic() < end:
            time.sleep(0.01)
        assert os.sched_getparam(process.pid).sched_priority == 7
        process.terminate()
