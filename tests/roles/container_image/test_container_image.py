"""An image of our own, named after what it holds, on the lab's base image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.state import StateFile
from tests.support.roles import RoleRun

pytestmark = [pytest.mark.root, pytest.mark.lab]

RunRole = Callable[..., RoleRun]


@pytest.fixture
def values(lab_state_path: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    text = tmp_path / "greeting.txt"
    text.write_text("hello\n")
    yield {
        "lab_name": "t-img",
        "container_image_name": "try",
        "container_image_base": StateFile(lab_state_path).read().facts["base_image"]["name"],
        "container_image_files": [{"src": str(text), "dest": "/opt/try/greeting.txt"}],
    }
    for image in _images():
        shell.run(["docker", "rmi", "--force", image], timeout_s=60, check=False)


def _images() -> list[str]:
    shown = ["--format", "{{.Repository}}:{{.Tag}}"]
    return shell.run(["docker", "images", *shown, "t-img/try"], timeout_s=60).stdout.split()


def _in_image(image: str, *words: str) -> str:
    argv = ["docker", "run", "--rm", "--network", "none", image, *words]
    return shell.run(argv, timeout_s=120).stdout.strip()


def test_the_tag_follows_the_content(run_role: RunRole, values: dict[str, Any]) -> None:
    assert run_role("container_image", values).changed == 1
    (first,) = _images()
    assert _in_image(first, "cat", "/opt/try/greeting.txt") == "hello"
    assert _in_image(first, "id", "-u") == "10001"
    imported = "import orrery.runtime, importlib.util as u; print(u.find_spec('orrery.engine'))"
    assert _in_image(first, "python3", "-c", imported) == "None"
    assert run_role("container_image", values).changed == 0
    Path(values["container_image_files"][0]["src"]).write_text("goodbye\n")
    assert run_role("container_image", values).changed == 1
    (second,) = _images()
    assert second != first
    absent = {**values, "container_image_state": "absent"}
    assert run_role("container_image", absent).changed == 1
    assert _images() == []


def test_a_missing_base_image_names_its_role(run_role: RunRole, values: dict[str, Any]) -> None:
    wrong = {**values, "container_image_base": "t-img/none:1"}
    run = run_role("container_image", wrong, expect_failure=True)
    assert "there is no base image 't-img/none:1'. The role base_image provides one" in run.text


def test_a_missing_file_is_named(run_role: RunRole, values: dict[str, Any]) -> None:
    files = [{"src": "/nowhere/greeting.txt", "dest": "/opt/try/greeting.txt"}]
    run = run_role(
        "container_image", {**values, "container_image_files": files}, expect_failure=True
    )
    assert "there is no /nowhere/greeting.txt" in run.text
