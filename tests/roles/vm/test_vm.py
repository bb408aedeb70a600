"""The role vm, up to where a VM would start; what runs is tests/smoke/vm's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]

LAB = "t-vm"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, Any]:
    """A lab of its own, with an image that is a file of the test's."""
    if shutil.which("qemu-img") is None:
        pytest.skip("there is no qemu-img: run ./lab up first")
    state = tmp_path / "lab"
    state.mkdir()
    program = {"program": "/usr/bin/qemu-system-x86_64", "version": "10.0.2", "origin": "found"}
    content = {"schema": 1, "lab_name": LAB, "facts": {"qemu": program}}
    (state / "state.json").write_text(json.dumps(content))
    disk = tmp_path / "disk.qcow2"
    shell.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], timeout_s=20)
    return {
        "lab_name": LAB,
        "lab_port_base": free_port() - 11,
        "lab_python": sys.executable,
        "lab_state_dir": str(state),
        "lab_run_dir": str(tmp_path / "run"),
        "lab_log_dir": str(tmp_path / "log"),
        "lab_prefix": str(tmp_path / "opt"),
        "lab_cache_dir": str(tmp_path / "cache"),
        "vm_image": "debian-12",
        "vm_image_source": str(disk),
        "vm_accel": "tcg",
        "vm_driver": "qemu",
        "vm_free_gb": 0,
        "vm_memory_mb": 512,
        "vm_disk_gb": 2,
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def made(variables: dict[str, Any]) -> list[str]:
    """What there is of a VM."""
    places = [Path(variables[f"lab_{name}_dir"]) / "vm" for name in ("state", "run", "log")]
    return [str(path) for path in places if path.exists()]


def test_check_on_a_bare_host_makes_nothing(run_role: RunRole, variables: dict[str, Any]) -> None:
    run_role("vm", variables, check=True)
    assert made(variables) == []


def test_check_before_there_is_a_python_of_the_lab_goes_through(
    run_role: RunRole, variables: dict[str, Any], tmp_path: Path
) -> None:
    run_role("vm", {**variables, "lab_python": str(tmp_path / "none")}, check=True)


def test_absent_on_a_bare_host_changes_nothing(
    run_role: RunRole, variables: dict[str, Any]
) -> None:
    assert run_role("vm", {**variables, "vm_state": "absent"}).changed == 0


def test_rejects_an_image_that_nobody_knows(run_role: RunRole, variables: dict[str, Any]) -> None:
    values = {**variables, "vm_image": "debian-99", "vm_image_source": ""}
    run = run_role("vm", values, expect_failure=True)
    assert "vm_image is 'debian-99', possible are ubuntu-24.04, ubuntu-22.04, debian-12" in run.text


def test_rejects_more_memory_than_there_is_before_anything_is_made(
    run_role: RunRole, variables: dict[str, Any]
) -> None:
    run = run_role("vm", {**variables, "vm_memory_mb": 1 << 24}, expect_failure=True)
    assert "of memory are needed (16777216 and 512 for QEMU)" in run.text
    assert "Set vm_memory_mb to" in run.text
    assert made(variables) == []


def test_rejects_a_port_that_is_taken_and_names_who_has_it(
    run_role: RunRole, variables: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        run = run_role("vm", {**variables, "vm_ssh_port": port}, expect_failure=True)
    assert f"port {port} of 127.0.0.1 is taken by" in run.text
    assert f"(pid {os.getpid()})" in run.text
    assert made(variables) == []


@pytest.mark.parametrize("state", ["started", "stopped"])
def test_rejects_to_start_or_stop_what_is_not_there(
    run_role: RunRole, variables: dict[str, Any], state: str
) -> None:
    run = run_role("vm", {**variables, "vm_state": state}, expect_failure=True)
    assert f"vm_state is {state}, and there is no VM in" in run.text


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system that is full with less than an empty disk takes."""
    folder = Path(tempfile.mkdtemp(prefix="t-vm-"))
    shell.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], timeout_s=20)
    yield folder
    with contextlib.suppress(shell.CommandError):
        shell.run(["umount", "--lazy", folder], timeout_s=20)
    folder.rmdir()


def test_a_disk_that_is_full_is_said_and_leaves_no_half_overlay(
    run_role: RunRole, variables: dict[str, Any], small_disk: Path
) -> None:
    values = {**variables, "vm_folder": str(small_disk / "vm")}
    run = run_role("vm", values, expect_failure=True)
    assert "No space left on device" in run.text
    assert not list((small_disk / "vm").glob("*disk.qcow2*"))
    again = run_role("vm", {**values, "vm_free_gb": 1}, expect_failure=True)
    assert "GB are free in" in again.text
    assert "set vm_folder to another disk" in again.text
