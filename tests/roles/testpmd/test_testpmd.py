from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orrery.network.testpmd import prepare
from orrery.network.testpmd.program import Program
from orrery.packages import unpacked
from tests.support.roles import RoleRun

pytestmark = pytest.mark.root

RunRole = Callable[..., RoleRun]

LAB = "t-testpmd"


@pytest.fixture
def variables(tmp_path: Path, lab_state_path: Path) -> dict[str, Any]:
    """A lab of the test's own that has the DPDK of this host."""
    facts = json.loads(lab_state_path.read_text(encoding="utf-8"))["facts"]
    state = {"schema": 1, "lab_name": LAB, "facts": {"dpdk": facts["dpdk"]}}
    (tmp_path / "state").mkdir()
    (tmp_path / "state/state.json").write_text(json.dumps(state), encoding="utf-8")
    return {
        "lab_name": LAB,
        "lab_python": sys.executable,
        "lab_state_dir": str(tmp_path / "state"),
    }


def facts(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "state/state.json").read_text())["facts"]
    return found


@pytest.mark.lab
def test_defaults_unpack_it_once_and_install_nothing(
    run_role: RunRole, tmp_path: Path, variables: dict[str, Any]
) -> None:
    before = unpacked.STATUS.read_bytes()
    run_role("testpmd", variables)
    fact = facts(tmp_path)["testpmd"]
    assert fact["version"] == facts(tmp_path)["dpdk"]["version"]
    folder = Path(fact["libraries"]).parent
    assert unpacked.complete(folder) is not None
    assert folder.stat().st_mode & 0o777 == 0o755
    drivers = tuple(Path(one) for one in fact["drivers"])
    found = Program(Path(fact["program"]), Path(fact["libraries"]), drivers, fact["version"])
    prepare.prove(found)
    assert unpacked.STATUS.read_bytes() == before

    again = run_role("testpmd", variables)
    assert again.changed == 0, again.changed_tasks
    checked = run_role("testpmd", variables, check=True)
    assert checked.changed == 0, checked.changed_tasks

    run_role("testpmd", {**variables, "testpmd_state": "absent"})
    assert "testpmd" not in facts(tmp_path)
    assert Path(fact["program"]).is_file(), "the cache is of all labs"


@pytest.mark.lab
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"testpmd_offline": "true"}, "and --offline forbids to fetch them"),
        ({"lab_package_mirror": "http://127.0.0.1:9/debian"}, "lists cannot be refreshed"),
    ],
)
def test_what_cannot_be_had_is_done_without_and_said(
    run_role: RunRole, tmp_path: Path, variables: dict[str, Any], more: dict[str, str], reason: str
) -> None:
    values = {**variables, "lab_cache_dir": str(tmp_path / "cache"), **more}
    run = run_role("testpmd", values)
    assert "dpdk-testpmd cannot be had" in run.text
    assert reason in run.text
    assert reason in facts(tmp_path)["testpmd_why"]
    assert "testpmd" not in facts(tmp_path)
    again = run_role("testpmd", values)
    assert again.changed == 0, again.changed_tasks
    run_role("testpmd", variables)
    assert "testpmd_why" not in facts(tmp_path)


def test_check_mode_on_a_bare_host_writes_nothing(run_role: RunRole, tmp_path: Path) -> None:
    for python in (sys.executable, "/opt/t-testpmd/none"):
        values = {
            "lab_name": LAB,
            "lab_python": python,
            "lab_state_dir": str(tmp_path / "none"),
            "lab_cache_dir": str(tmp_path / "cache"),
        }
        run_role("testpmd", values, check=True)
        assert not (tmp_path / "none").exists()
        assert not (tmp_path / "cache").exists()


def test_rejects_a_cache_that_is_no_absolute_path(run_role: RunRole) -> None:
    values = {"lab_name": LAB, "lab_python": sys.executable, "testpmd_cache_dir": "cache"}
    run = run_role("testpmd", values, expect_failure=True)
    assert "testpmd_cache_dir is 'cache'; an absolute path is needed." in run.text
