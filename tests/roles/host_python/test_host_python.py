"""The role host_python: the environment of the lab's services."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orrery import shell
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]


def inputs(folder: Path) -> dict[str, str]:
    return {
        "lab_name": "t-hostpy",
        "lab_state_dir": str(folder / "state"),
        "host_python_prefix": str(folder / "opt"),
    }


def test_the_environment_holds_the_lock_and_this_tree(run_role: RunRole, tmp_path: Path) -> None:
    variables = inputs(tmp_path)
    assert run_role("host_python", variables, check=True).changed > 0
    assert not (tmp_path / "opt" / "venv").exists()

    assert run_role("host_python", variables).changed > 0
    python = tmp_path / "opt" / "venv" / "bin" / "python"
    question = "import orrery, uvicorn; print(orrery.__file__)"
    answer = shell.run([python, "-I", "-c", question], timeout_s=60).stdout
    assert answer.startswith(str(tmp_path / "opt" / "venv"))
    assert len(list((tmp_path / "state" / "wheels").glob("orrery-*.whl"))) == 1

    assert run_role("host_python", variables).changed == 0
    run_role("host_python", {**variables, "host_python_state": "absent"})
    assert not (tmp_path / "opt" / "venv").exists()
    assert not (tmp_path / "state" / "wheels").exists()


def test_rejects_an_interpreter_that_is_not_there(run_role: RunRole, tmp_path: Path) -> None:
    variables = {**inputs(tmp_path), "host_python_interpreter": "/no/such/python"}
    run = run_role("host_python", variables, expect_failure=True)
    assert "host_python_interpreter" in run.text
    assert sys.executable not in run.text
