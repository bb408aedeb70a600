"""TERM presses the power button; a QEMU that ends by itself ends the service."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from orrery import shell
from orrery.guest.registry import alive
from orrery.vm.running import Run
from orrery.vm.spec import VmSpec, description
from tests.support import vm

FAKE = """#!/bin/sh
echo {said}
exec sleep {seconds}
"""


def supervised(folder: Path, said: str = "hello", seconds: str = "60") -> tuple[VmSpec, Path]:
    """A VM whose QEMU is a shell script, and whose disk needs no growing."""
    program = folder / "qemu"
    program.write_text(FAKE.format(said=said, seconds=seconds))
    program.chmod(0o755)
    spec = vm.spec(folder, program=program, disk_gb=0)
    spec.folder.mkdir()
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(spec.disk), "1M"]
    shell.run(argv, timeout_s=20)
    description(spec.folder).write_text(spec.text())
    return spec, folder / "log"


def start(spec: VmSpec, log: Path) -> shell.Process:
    argv: list[str | Path] = [sys.executable, "-m", "orrery.vm.supervise", spec.folder]
    tools = str(Path(__file__).resolve().parents[3] / "tools")
    return shell.start(argv, stdout=log, env={"PYTHONPATH": tools})


def started(spec: VmSpec) -> Run:
    end = time.monotonic() + 20
    while (run := Run.read(spec.run_dir)) is None or not alive(run.pid):
        assert time.monotonic() < end, "QEMU was not started"
        time.sleep(0.02)
    return run


def gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


@pytest.fixture(autouse=True)
def qemu_img_is_there() -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("there is no qemu-img: run ./lab up first")


def test_a_qemu_that_ends_is_reported_with_its_words(tmp_path: Path) -> None:
    spec, log = supervised(tmp_path, said="no such device", seconds="0")
    assert start(spec, log).wait(30) == 1
    assert "QEMU ended with code 0.\nno such device" in log.read_text()


def test_a_vm_that_is_removed_is_switched_off_at_once(tmp_path: Path) -> None:
    spec, log = supervised(tmp_path)
    process = start(spec, log)
    run = started(spec)
    (spec.run_dir / "discard").touch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert gone(run.pid)


def test_a_vm_that_does_not_listen_is_switched_off(tmp_path: Path) -> None:
    spec, log = supervised(tmp_path)
    process = start(spec, log)
    run = started(spec)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert gone(run.pid)
    assert "it did not shut down, and is switched off" in log.read_text()


def test_qemu_does_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    spec, log = supervised(tmp_path)
    process = start(spec, log)
    run = started(spec)
    process.kill()
    process.wait(10)
    assert gone(run.pid)
