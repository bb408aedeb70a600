"""The action classify on the running lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]


@pytest.fixture
def values(lab_state_path: Path) -> dict[str, str]:
    state = StateFile(lab_state_path).read()
    return {
        "lab_name": state.lab_name,
        "container_image_base": state.facts["base_image"]["name"],
        "mnist_actions_apihost": state.facts["api_url"],
        "mnist_actions_credentials": state.facts["credentials_file"],
    }


def test_defaults_find_the_action_of_the_lab_as_it_should_be(
    run_role: RunRole, values: dict[str, str]
) -> None:
    again = run_role("mnist_actions", values)
    assert again.changed == 0, again.output


def test_another_limit_would_change_the_action_and_nothing_else(
    run_role: RunRole, values: dict[str, str]
) -> None:
    checked = run_role("mnist_actions", {**values, "mnist_actions_memory_mb": "512"}, check=True)
    assert checked.changed_tasks == ("present | Deploy classify",)
    assert run_role("mnist_actions", values).changed == 0


def test_missing_credentials_are_named(
    run_role: RunRole, values: dict[str, str], tmp_path: Path
) -> None:
    wrong = {**values, "mnist_actions_credentials": str(tmp_path / "none.json")}
    run = run_role("mnist_actions", wrong, expect_failure=True)
    assert str(tmp_path / "none.json") in run.text
