"""A VM counts as ready when SSH answers and cloud-init is done, and says why it is not."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import GuestError
from orrery.guest.registry import LAB_MARK
from orrery.guest.waiting import Standstill
from orrery.vm import ready as readiness
from orrery.vm import running as runs
from orrery.vm.running import Run, running
from orrery.vm.spec import VmSpec
from tests.support import vm

RESULT = json.dumps({"v1": {"errors": []}})


@contextlib.contextmanager
def greeting(text: bytes) -> Iterator[int]:
    """A port that says something to everybody who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError), server.accept()[0] as one:
                    one.sendall(text)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        stop.set()
        thread.join()


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[VmSpec]:
    """A VM whose QEMU is this process, and that greets."""
    with greeting(b"SSH-2.0-x\r\n") as port:
        found = vm.spec(tmp_path, ssh_port=port)
        found.run_dir.mkdir()
        Run(os.getpid(), time.monotonic()).write(found.run_dir)
        yield found


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "GONE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(runs, "environment", lambda _: {LAB_MARK: "t-vm"})


def answers(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, str, str]) -> list[str]:
    """Let ssh answer with codes, output and errors in their order; the commands it got."""
    left, asked = list(found), []

    def run(argv: list[Any], *, check: bool = True, **_: Any) -> shell.Completed:
        asked.append(str(argv[-1]))
        code, out, err = left.pop(0) if len(left) > 1 else left[0]
        if check and code != 0:
            raise shell.CommandError([str(word) for word in argv], code, err, f"exit code {code}")
        return shell.Completed((), code, out, err, 0.1)

    monkeypatch.setattr(shell, "run", run)
    return asked


def test_a_vm_that_answers_is_ready_and_that_is_kept(
    spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers(monkeypatch, (0, "", ""), (0, RESULT, ""))
    first = readiness.wait(spec, 10)
    assert len(asked) == 2
    # It answered at once: how long that took nobody has seen.
    assert (first.boot_s, first.cloud_init_s) == (0.0, 0.0)
    assert readiness.wait(spec, 10) == first
    assert asked[2:] == ["true"]


def test_another_start_is_waited_for_anew(spec: VmSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, (0, RESULT, ""))
    readiness.wait(spec, 10)
    Run(os.getpid(), time.monotonic()).write(spec.run_dir)
    readiness.wait(spec, 10)
    assert len(asked) == 4


def test_a_start_that_is_watched_has_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with greeting(b"SSH-2.0-x\r\n") as port:
        spec = vm.spec(tmp_path, ssh_port=port)
        spec.run_dir.mkdir()
        Run(os.getpid(), time.monotonic() - 30).write(spec.run_dir)
        answers(monkeypatch, (0, RESULT, ""))
        banner, first = readiness.Waiting._banner, [False]
        monkeypatch.setattr(
            readiness.Waiting,
            "_banner",
            lambda self, limit_s: first.pop() if first else banner(self, limit_s),
        )
        found = readiness.wait(spec, 10)
    assert 30 <= found.boot_s <= found.cloud_init_s < 40


def test_a_refused_key_is_no_matter_of_waiting(
    spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, (255, "", "orrery@127.0.0.1: Permission denied (publickey)."))
    with pytest.raises(GuestError, match="says 'Permission denied'.*did not get that far"):
        readiness.wait(spec, 60)


def test_silence_ends_with_the_last_lines_of_the_console(tmp_path: Path) -> None:
    with greeting(b"") as port:
        spec = vm.spec(tmp_path, ssh_port=port)
        spec.run_dir.mkdir()
        Run(os.getpid(), time.monotonic()).write(spec.run_dir)
        spec.console_log.write_text("starting\nKernel panic - not syncing: no root\n")
        text = r"(?s)SSH does not answer in time \(tcg; vm_ready_timeout_s\).*Kernel panic"
        with pytest.raises(GuestError, match=text):
            readiness.wait(spec, 0.5)


def test_a_vm_that_is_gone_is_not_waited_for_to_the_end(tmp_path: Path) -> None:
    spec = vm.spec(tmp_path)
    spec.run_dir.mkdir()
    (spec.run_dir / "qemu.log").write_text("Could not set up host forwarding rule\n")
    with pytest.raises(GuestError, match=r"(?s)it does not run.*host forwarding rule"):
        readiness.wait(spec, 60)


def test_a_vm_that_is_killed_while_its_greeting_is_waited_for_may_come_back(
    spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, (0, RESULT, ""))
    banner, runs_now = readiness.Waiting._banner, iter([False, False, True, True])
    slow = iter([True, True])

    def killed(self: readiness.Waiting, limit_s: float) -> bool:
        if next(slow, False):
            time.sleep(0.5)
            return False
        return banner(self, limit_s)

    # Longer than GONE_TIMEOUT_S passes in the first greeting, and it is gone only afterwards.
    monkeypatch.setattr(readiness, "GONE_TIMEOUT_S", 0.9)
    monkeypatch.setattr(readiness.Waiting, "_banner", killed)
    monkeypatch.setattr(readiness.Waiting, "_runs", lambda _: next(runs_now))
    assert readiness.wait(spec, 20).boot_s > 0


def test_a_process_of_another_lab_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(os.getpid(), 1.0).write(tmp_path)
    assert running(tmp_path, "t-vm") is not None
    assert running(tmp_path, "t-vm2") is None


class PausedMonitor:
    """A monitor of a VM that cannot write; it goes on when there is space."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.asked: list[str] = []

    def __call__(self, *_: Any) -> PausedMonitor:
        return self

    def __enter__(self) -> PausedMonitor:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, command: str) -> Any:
        self.asked.append(command)
        return {"status": self.states.pop(0)} if command == "query-status" else {}


def test_a_vm_whose_disk_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "Monitor", PausedMonitor("io-error", "io-error"))
    waiting = readiness.Waiting(vm.spec(tmp_path), time.monotonic() + 1)
    with pytest.raises(GuestError, match="it is paused, because its disk could not be written"):
        waiting._not_paused()


def test_a_vm_that_waited_for_space_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = PausedMonitor("io-error", "running")
    monkeypatch.setattr(readiness, "Monitor", monitor)
    readiness.Waiting(vm.spec(tmp_path), time.monotonic() + 1)._not_paused()
    assert monitor.asked == ["query-status", "cont", "query-status"]


def test_a_qemu_that_stands_still_is_ended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(readiness, "process_seconds", lambda _: 1.0)
    spec = vm.spec(tmp_path)
    spec.run_dir.mkdir()
    Run(os.getpid(), time.monotonic()).write(spec.run_dir)
    waiting = readiness.Waiting(spec, time.monotonic() + 1)
    still = Standstill(0.0, time.monotonic() - 60, 1.0)
    assert waiting._shaken(still) is None
    assert waiting._shaken(None) is None
    assert killed == [os.getpid()]
