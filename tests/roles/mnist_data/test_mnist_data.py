from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]


def variables(tmp_path: Path, source: object) -> dict[str, Any]:
    return {
        "lab_name": "t-mnistdata",
        "lab_state_dir": str(tmp_path / "state"),
        "lab_cache_dir": str(tmp_path / "cache"),
        "lab_python": sys.executable,
        "mnist_source": source,
    }


def test_defaults_make_everything_once_repair_it_and_take_it_back(
    run_role: RunRole, tmp_path: Path, mnist_dir: Path
) -> None:
    values = variables(tmp_path, ["", "/nowhere", str(mnist_dir)])
    served = tmp_path / "state" / "data" / "mnist"
    assert run_role("mnist_data", values).changed == 2
    assert (served / "digits-inverted" / "7.png").is_file()
    state = json.loads((tmp_path / "state" / "state.json").read_text(encoding="utf-8"))
    assert state["facts"]["mnist_folder"] == str(served)
    assert run_role("mnist_data", values).changed == 0
    (served / "digits" / "7.png").write_bytes(b"damaged")
    assert run_role("mnist_data", values).changed == 1
    absent = {**values, "mnist_data_state": "absent"}
    assert run_role("mnist_data", absent).changed == 2
    assert not served.exists()
    assert (tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz").is_file()


def test_check_mode_works_before_there_is_a_python_of_the_lab(
    run_role: RunRole, tmp_path: Path
) -> None:
    values = {**variables(tmp_path, "http://127.0.0.1:9/"), "lab_python": "/nonexistent/python"}
    assert not run_role("mnist_data", values, check=True).failed
    assert not (tmp_path / "state").exists()


def test_rejects_a_source_without_the_files(run_role: RunRole, tmp_path: Path) -> None:
    values = variables(tmp_path, str(tmp_path / "empty"))
    text = run_role("mnist_data", values, expect_failure=True).text
    assert f"{tmp_path}/empty: no train-images-idx3-ubyte.gz there" in text
    assert "Set mnist_source to a mirror's URL or to a folder with the four files." in text


def test_rejects_an_empty_source(run_role: RunRole, tmp_path: Path) -> None:
    text = run_role("mnist_data", variables(tmp_path, []), expect_failure=True).text
    assert "mnist_source is empty. Set it to a mirror's URL" in text
