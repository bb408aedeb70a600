"""The base image from the archive that ./lab up has cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orrery import shell
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]


@pytest.fixture
def values(lab_state_path: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {"lab_name": "t-base", "base_image_state_file": str(tmp_path / "state.json")}
    listed = shell.run(
        ["docker", "images", "--quiet", "--filter", "label=orrery.lab=t-base"], timeout_s=60
    )
    for image in set(listed.stdout.split()):
        shell.run(["docker", "rmi", "--force", image], timeout_s=60, check=False)


def _images() -> list[str]:
    shown = ["--format", "{{.Repository}}:{{.Tag}}"]
    return shell.run(["docker", "images", *shown, "t-base/base"], timeout_s=60).stdout.split()


def test_a_forced_bootstrap_is_made_once_says_why_and_is_removed(
    run_role: RunRole, values: dict[str, str]
) -> None:
    forced = {**values, "base_image_method": "bootstrap"}
    first = run_role("base_image", forced)
    assert first.changed > 0
    assert "bootstrap, because base_image_method is bootstrap" in first.text
    (name,) = _images()
    python = ["docker", "run", "--rm", "--network", "none", name, "python3", "--version"]
    assert shell.run(python, timeout_s=120).stdout.startswith("Python 3.")
    assert run_role("base_image", forced).changed == 0
    absent = {**forced, "base_image_state": "absent"}
    assert run_role("base_image", absent).changed > 0
    assert _images() == []
    assert run_role("base_image", absent).changed == 0


def test_a_forced_registry_that_does_not_answer_names_the_variable(
    run_role: RunRole, values: dict[str, str]
) -> None:
    forced = {
        **values,
        "base_image_method": "registry",
        "base_image_registry_image": "127.0.0.1:1/no/such:image",
        "base_image_pull_timeout_s": "30",
    }
    run = run_role("base_image", forced, expect_failure=True)
    assert "Set base_image_method to auto or bootstrap" in run.text
    assert _images() == []


def test_another_method_is_refused(run_role: RunRole, values: dict[str, str]) -> None:
    run = run_role("base_image", {**values, "base_image_method": "guess"}, expect_failure=True)
    assert "base_image_method" in run.output
