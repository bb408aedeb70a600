"""The role that finds out how guests run here, with the running lab's switch and image."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery.state import StateFile
from tests.support import live_switch
from tests.support.roles import RoleRun

# Tests that kill the switch make these wait.
pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.timeout(600)]

RunRole = Callable[..., RoleRun]
NAME = "t-guests"
RUN = Path("/run") / NAME


@pytest.fixture
def values(lab_state_path: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A lab that has the running lab's switch and image, and neither guests nor answers."""
    state = StateFile(lab_state_path).read()
    lab = tmp_path / "lab"
    lab.mkdir()
    data = {**state.as_mapping(), "lab_name": NAME, "services": {}, "packages": []}
    data["facts"] = {k: v for k, v in state.facts.items() if not k.startswith("accel")}
    data["facts"].pop("interrupts_why", None)
    # Guests of the running lab come and go meanwhile, and each of the two sweeps its sockets.
    data["facts"]["ovs"] = {**state.facts["ovs"], "vhost_dir": str(tmp_path)}
    (lab / "state.json").write_text(json.dumps(data))
    with live_switch.held():
        yield {
            "lab_name": NAME,
            "lab_state_dir": str(lab),
            "lab_python": f"/opt/{state.lab_name}/venv/bin/python",
        }
    shutil.rmtree(RUN, ignore_errors=True)


def test_what_was_tried_is_remembered_and_forgotten(
    values: dict[str, Any], run_role: RunRole, tmp_path: Path
) -> None:
    run_role("guests", values)
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert facts["acceleration"]["wanted"] == "auto"
    assert facts["acceleration"]["chosen"] in ("kvm", "tcg")
    assert facts["acceleration_why"].startswith(facts["acceleration"]["chosen"])
    assert "vhost-user" in facts["interrupts_why"]
    assert set(json.loads((RUN / "trials.json").read_text())["verdicts"]) >= {"accel"}
    assert run_role("guests", values).changed == 0
    assert run_role("guests", values, check=True).changed == 0

    forced = run_role("guests", {**values, "lab_accel": "tcg"})
    assert "tcg, because lab_accel says so" in forced.text

    run_role("guests", {**values, "guests_state": "absent"})
    facts = StateFile(tmp_path / "lab" / "state.json").read().facts
    assert not {"acceleration", "acceleration_why", "interrupts_why"} & set(facts)


def test_a_word_that_is_no_acceleration_is_refused(
    values: dict[str, Any], run_role: RunRole
) -> None:
    run = run_role("guests", {**values, "lab_accel": "xen"}, expect_failure=True)
    assert "value of guests_accel must be one of: auto, kvm, tcg, got: xen" in run.text
