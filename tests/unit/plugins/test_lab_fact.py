"""An inventory reads what up found from the state file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from plugins.lookup import lab_fact


def look(path: Path, name: str) -> object:
    return lab_fact.LookupModule().run([str(path), name])[0]


def test_a_fact_is_read(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"facts": {"vm": {"port": 3344}}}))
    assert look(state, "vm") == {"port": 3344}


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert look(tmp_path / "gone.json", "vm") == {}
    (tmp_path / "state.json").write_text("{}")
    assert look(tmp_path / "state.json", "vm") == {}


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(AnsibleLookupError, match=r"state\.json: cannot be read"):
        look(tmp_path / "state.json", "vm")


def test_a_file_that_only_root_may_read_asks_for_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state.json"
    state.write_text("{}")
    monkeypatch.setattr(os, "access", lambda *_: False)
    fake = tmp_path / "sudo"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AnsibleLookupError, match="Run the command with sudo"):
        look(state, "vm")
