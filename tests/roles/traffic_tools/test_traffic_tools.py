"""The programs on this host, where the running lab has them already, and without changing it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]
NONE_SUCH = "t-no-such-package"


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    return {"lab_name": "t-traffic", "lab_state_dir": str(tmp_path / "lab")}


def test_defaults_have_the_programs_and_remember_their_versions(
    run_role: RunRole, values: dict[str, Any], tmp_path: Path
) -> None:
    run_role("traffic_tools", values)
    state = StateFile(tmp_path / "lab" / "state.json").read()
    assert {"iperf3", "ethtool", "sockperf"} <= set(state.facts["traffic_tools"])
    for program in ("iperf3", "ethtool", "sockperf"):
        assert shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert run_role("traffic_tools", values).changed == 0
    assert run_role("traffic_tools", values, check=True).changed == 0

    absent = {**values, "traffic_tools_state": "absent"}
    run_role("traffic_tools", absent)
    assert "traffic_tools" not in StateFile(tmp_path / "lab" / "state.json").read().facts
    assert run_role("traffic_tools", absent).changed == 0


def test_check_mode_on_a_bare_host_writes_nothing(
    run_role: RunRole, values: dict[str, Any], tmp_path: Path
) -> None:
    assert run_role("traffic_tools", values, check=True).changed > 0
    assert not (tmp_path / "lab").exists()


def test_what_apt_does_not_know_is_said_and_left_out(
    run_role: RunRole, values: dict[str, Any], tmp_path: Path
) -> None:
    run = run_role("traffic_tools", {**values, "traffic_tools_optional_packages": [NONE_SUCH]})
    assert f"apt knows no package {NONE_SUCH}; rows that need it are skipped" in run.text
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert NONE_SUCH not in facts["traffic_tools"]


def test_rejects_a_name_that_is_no_package(run_role: RunRole, values: dict[str, Any]) -> None:
    bad = {**values, "traffic_tools_packages": ["iperf3; true"]}
    text = run_role("traffic_tools", bad, expect_failure=True).text
    assert "packages: 'iperf3; true' is no package name." in text
