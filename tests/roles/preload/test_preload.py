"""The role preload: one host collects and packs, the other gets one archive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]


def inputs(folder: Path, checkout: Path) -> dict[str, Any]:
    """Both hosts are this one; the receiver's cache is the sender's."""
    (folder / "built").mkdir(exist_ok=True)
    (folder / "built" / "orrery-0-py3-none-any.whl").write_text("a wheel")
    (folder / "cache" / "mnist").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "mnist" / "t10k-labels-idx1-ubyte").write_text("labels")
    lock = checkout / "roles" / "mnist_actions" / "files" / "classify" / "requirements.lock"
    return {
        "lab_name": "t-preload",
        "preload_from": "localhost",
        "preload_cache_dir": str(folder / "cache"),
        "preload_venv": "",
        "preload_wheel_dir": str(folder / "built"),
        "preload_lock": str(lock),
        "preload_image_locks": [str(lock)],
        "preload_base_image_method": "registry",
    }


def test_wheels_and_data_arrive_and_a_second_run_sends_nothing(
    run_role: RunRole, tmp_path: Path, checkout: Path
) -> None:
    variables = inputs(tmp_path, checkout)
    assert run_role("preload", variables).changed > 0
    cargo = tmp_path / "cache" / "cargo"
    assert list((cargo / "wheels").glob("numpy-*.whl"))
    assert (cargo / "orrery" / "orrery-0-py3-none-any.whl").read_text() == "a wheel"
    assert (cargo / "requirements.lock").is_file()
    assert list((tmp_path / "cache" / "installed").glob("*.tar"))
    assert run_role("preload", variables).changed == 0

    (tmp_path / "built" / "orrery-0-py3-none-any.whl").write_text("another wheel")
    again = run_role("preload", variables)
    assert {
        "present | Pack what this host will need",
        "present | Load it over the connection",
    } <= set(again.changed_tasks)
    run_role("preload", {**variables, "preload_state": "absent"})
    assert not cargo.exists()


def test_without_another_host_nothing_is_loaded(
    run_role: RunRole, tmp_path: Path, checkout: Path
) -> None:
    variables = {**inputs(tmp_path, checkout), "preload_from": ""}
    assert run_role("preload", variables).changed == 0
    assert not (tmp_path / "cache" / "cargo").exists()


def test_rejects_a_cargo_without_the_wheel_of_this_tree(
    run_role: RunRole, tmp_path: Path, checkout: Path
) -> None:
    variables = {**inputs(tmp_path, checkout), "preload_wheel_dir": str(tmp_path / "gone")}
    run = run_role("preload", variables, expect_failure=True)
    assert f"cargo: there is no {tmp_path}/gone, which is to be loaded." in run.text
