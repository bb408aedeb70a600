"""Whose engine it is, and who gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_state_file as state_file

from plugins.modules import lab_docker_engine

RECORD = {"owned": True, "socket": "/s", "packages": ["docker.io", "runc"]}


def write_lab(folder: Path, name: str, **sections: Any) -> Path:
    path = folder / name / "state.json"
    path.parent.mkdir()
    state_file.write(path, {**state_file.empty(name), **sections})
    return path


def mine(folder: Path) -> tuple[Path, state_file.State]:
    path = write_lab(
        folder,
        "mine",
        facts={"docker": RECORD},
        packages=["docker.io", "runc", "nginx"],
        services={"docker": {"name": "docker"}},
        before={"docker": {"config": None}},
    )
    return path, state_file.read(path, "mine")


def test_containers_without_a_labs_name_are_foreign() -> None:
    listed: list[dict[str, Any]] = [
        {"Names": ["/mine-classify-1"]},
        {"Names": ["/web"]},
        {"Names": ["/minecraft"]},
        {"Names": [], "Id": "0123456789abcdef"},
    ]
    assert lab_docker_engine.foreign_containers(listed, ["mine", "other"]) == [
        "0123456789ab",
        "minecraft",
        "web",
    ]


def test_another_lab_gets_the_engine_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    path, state = mine(tmp_path)
    other = write_lab(tmp_path, "other", facts={"docker": {"owned": False, "socket": "/s"}})
    engine = {"recorded": RECORD, "heirs": ["other"], "foreign": ["web"]}
    params = {"path": str(path), "lab_name": "mine"}
    left, owner = lab_docker_engine.release(params, state, engine, dry=False)
    assert owner == "other"
    assert left == {**state_file.empty("mine"), "packages": ["nginx"]}
    got = state_file.read(other, "other")
    assert got["facts"]["docker"] == RECORD
    assert got["packages"] == ["docker.io", "runc"]
    assert got["before"] == {"docker": {"config": None}}


def test_the_host_gets_an_engine_that_runs_containers_of_others(tmp_path: Path) -> None:
    path, state = mine(tmp_path)
    engine = {"recorded": RECORD, "heirs": [], "foreign": ["web"]}
    params = {"path": str(path), "lab_name": "mine"}
    left, owner = lab_docker_engine.release(params, state, engine, dry=False)
    assert owner == "the host"
    assert left["packages"] == ["nginx"]


def test_an_engine_that_nobody_else_needs_is_kept_for_removal(tmp_path: Path) -> None:
    path, state = mine(tmp_path)
    engine = {"recorded": RECORD, "heirs": [], "foreign": []}
    params = {"path": str(path), "lab_name": "mine"}
    assert lab_docker_engine.release(params, state, engine, dry=False) == (state, "")


def test_settings_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    assert lab_docker_engine.read_config(path) == {}
    path.write_text("{x}")
    with pytest.raises(ValueError, match=r"daemon\.json: holds no JSON .* Correct it\."):
        lab_docker_engine.read_config(path)


def test_data_with_an_image_or_a_volume_is_not_idle(tmp_path: Path) -> None:
    assert lab_docker_engine.idle_on_disk(tmp_path)
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "metadata.db").touch()
    assert lab_docker_engine.idle_on_disk(tmp_path)
    (tmp_path / "volumes" / "data").mkdir()
    assert not lab_docker_engine.idle_on_disk(tmp_path)


def test_nobody_listens_at_a_socket_that_is_not_there(tmp_path: Path) -> None:
    assert lab_docker_engine.listener_pid(str(tmp_path / "socket")) == 0
