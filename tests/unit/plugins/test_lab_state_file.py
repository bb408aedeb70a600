"""The state file as modules write it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import lab_state_file as state_file

from orrery.state import LabState, Service, StateFile
from plugins.modules import lab_state


def lab(folder: Path, name: str, **sections: Any) -> Path:
    path = folder / name / "state.json"
    path.parent.mkdir()
    state_file.write(path, {**state_file.empty(name), **sections})
    return path


def test_it_is_the_file_that_orrery_reads(tmp_path: Path) -> None:
    state = state_file.with_value(
        state_file.empty("t"), "services", "engine", {"address": "127.0.0.1:3233"}
    )
    state = state_file.with_value(state, "packages", "", ["runit"])
    path = tmp_path / "state.json"
    state_file.write(path, state)
    assert StateFile(path).read() == LabState(
        lab_name="t",
        packages=["runit"],
        services={"engine": Service("engine", "127.0.0.1:3233")},
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_before_keeps_the_first_value_ever_written() -> None:
    state = state_file.with_value(state_file.empty("t"), "before", "k", "first")
    assert state_file.with_value(state, "before", "k", "second")["before"] == {"k": "first"}


def test_packages_are_named_once_and_taken_out_by_name() -> None:
    state = state_file.with_value(state_file.empty("t"), "packages", "a", ["b", "a"])
    assert state["packages"] == ["a", "b"]
    assert state_file.without(state, "packages", "", ["a"])["packages"] == ["b"]
    assert state_file.without(state, "packages", "")["packages"] == ["a", "b"]


def test_a_state_file_of_another_lab_is_refused(tmp_path: Path) -> None:
    path = lab(tmp_path, "one")
    with pytest.raises(state_file.StateFileError, match="belongs to the lab 'one', not to 'two'"):
        state_file.read(path, "two")


def test_a_damaged_state_file_is_refused_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    with pytest.raises(state_file.StateFileError, match="cannot be read"):
        state_file.read(path, "t")
    path.write_text(json.dumps({"schema": 99, "lab_name": "t"}))
    with pytest.raises(state_file.StateFileError, match=r"run that version's ./lab down"):
        state_file.read(path, "t")


def test_another_lab_counts_only_while_it_is_up(tmp_path: Path) -> None:
    mine = lab(tmp_path, "mine", facts={"up": True})
    lab(tmp_path, "closed", packages=["runit"])
    up = lab(tmp_path, "up", facts={"up": True})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "state.json").write_text("{")
    assert list(state_file.other_labs(mine, "mine")) == [up]


def test_an_entry_is_handed_over_to_the_lab_that_uses_the_same(tmp_path: Path) -> None:
    mine = lab(tmp_path, "mine", facts={"docker": {"owned": True}})
    other = lab(tmp_path, "other", facts={"docker": {"owned": False}})
    params = {"lab_name": "mine", "section": "facts", "key": "docker", "value": None}
    old = state_file.read(mine, "mine")
    new, owner = lab_state.hand_over(mine, old, params, dry=False)
    assert owner == "other"
    assert new["facts"] == {}
    assert state_file.read(other, "other")["facts"] == {"docker": {"owned": True}}


def test_nothing_is_handed_over_where_nobody_uses_the_same(tmp_path: Path) -> None:
    mine = lab(tmp_path, "mine", facts={"docker": {}})
    lab(tmp_path, "other", facts={"up": True})
    params = {"lab_name": "mine", "section": "facts", "key": "docker", "value": None}
    old = state_file.read(mine, "mine")
    assert lab_state.hand_over(mine, old, params, dry=False) == (old, "")


def test_a_service_needs_a_mapping() -> None:
    params = {"section": "services", "key": "engine", "value": "x", "state": "present"}
    assert lab_state.problem_with(params) == (
        "lab_state: service engine: a mapping is needed, 'x' found."
    )
