"""The lab's state file survives what can happen to it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError
from orrery.state import LabState, Service, StateFile


def test_what_is_written_is_read_back_and_private(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "lab" / "state.json")
    state = LabState(
        "orrery",
        packages=["nginx-light"],
        services={"engine": Service("engine", "127.0.0.1:3233", "http://127.0.0.1:3233/ping")},
        facts={"acceleration": "tcg"},
        before={"vm.nr_hugepages": "0"},
    )
    file.write(state)
    assert file.read() == state
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["state.json"]


def test_a_missing_lab_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such lab on this host. Run ./lab up"):
        StateFile(tmp_path / "state.json").read()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no JSON object"),
        (json.dumps({"schema": 99, "lab_name": "x"}), "schema 99 found, 1 needed"),
        (json.dumps({"schema": 1}), "schema 1 found, 1 needed"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        StateFile(path).read()


def test_unknown_fields_of_a_service_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    service = {"address": "a:1", "colour": "red"}
    path.write_text(json.dumps({"schema": 1, "lab_name": "x", "services": {"s": service}}))
    assert StateFile(path).read().services == {"s": Service("s", "a:1")}
