"""The way into the VM is what the state file says, and a VM that is not there is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from orrery import shell
from orrery.errors import ConfigurationError, GuestError
from orrery.ssh import Login
from orrery.state import LabState, StateFile
from orrery.vm import connect, tasks
from tests.support import vm


def test_a_login_trusts_the_known_key_only(tmp_path: Path) -> None:
    login = connect.login(vm.spec(tmp_path))
    text = " ".join(map(str, login.argv("uptime", batch=True)))
    assert f"-i {tmp_path}/vm/keys/id_ed25519 -p 18499" in text
    assert "StrictHostKeyChecking=yes" in text
    assert "HostKeyAlias=lab-vm" in text
    assert "BatchMode=yes" in text
    assert text.endswith("orrery@127.0.0.1 -- uptime")


def test_a_session_has_no_command_and_may_ask() -> None:
    login = Login("127.0.0.1", 22, "me", Path("/k"), Path("/h"), "a")
    words = login.argv()
    assert words[-1] == "me@127.0.0.1"
    assert "BatchMode=yes" not in words


def test_the_fact_leads_to_the_same_way_in(tmp_path: Path) -> None:
    spec = vm.spec(tmp_path)
    fact = connect.fact(spec, running=True, boot_s=41.5)
    there = connect.login_of(fact)
    assert there == Login(**{**vars(connect.login(spec)), "control": None})
    assert (fact["driver"], fact["accel"], fact["boot_s"]) == ("qemu", "tcg", 41.5)
    assert fact["monitor"] == str(spec.monitor)


def test_a_lab_without_a_vm_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r"has no VM. \./lab up -i inventory/vm"):
        connect.of(LabState("t-vm"))


def test_a_vm_that_is_stopped_is_not_waited_for() -> None:
    stopped = LabState("t-vm", facts={"vm": {"name": "lab-vm", "running": False}})
    with pytest.raises(GuestError, match="VM lab-vm is stopped"):
        connect.of(stopped)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A lab with a VM; the options that name it."""
    spec = vm.spec(tmp_path)
    spec.run_dir.mkdir()
    spec.console_log.write_text("Linux version\nlab-vm login: ")
    state = LabState("t-vm", facts={"vm": connect.fact(spec, running=True)})
    monkeypatch.setattr(
        "orrery.lab.settings.Settings.state_file", StateFile(tmp_path / "state.json")
    )
    StateFile(tmp_path / "state.json").write(state)
    return spec


def test_ssh_runs_a_command_and_hands_its_code_on(
    known: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = []

    def stream(argv: list[Any], **_: Any) -> int:
        ran.append(argv)
        return 0 if len(ran) == 1 else 3

    monkeypatch.setattr(shell, "stream", stream)
    inventory = str(tmp_path)
    tasks.ssh(Context(), inventory=inventory, command="uptime", json=str(tmp_path / "out.json"))
    assert ran[0][-1] == "uptime"
    assert (tmp_path / "out.json").read_text().count('"code": 0') == 1
    with pytest.raises(Exit, match="ssh ended with code 3") as caught:
        tasks.ssh(Context(), inventory=inventory, command="false")
    assert caught.value.code == 4


def test_the_console_shows_what_it_said(
    known: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks.console(Context(), inventory=str(tmp_path), log=True)
    assert capsys.readouterr().out == "Linux version\nlab-vm login: "


def test_a_console_that_is_not_there_is_said(known: Any, tmp_path: Path) -> None:
    with pytest.raises(Exit, match="console of VM lab-vm: No such file"):
        tasks.console(Context(), inventory=str(tmp_path))
    known.console_log.unlink()
    with pytest.raises(Exit, match="The VM has not run since the host was booted"):
        tasks.console(Context(), inventory=str(tmp_path))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ssh", "--", "ls", "-l", "/"], ["ssh", "--command", "ls -l /"]),
        (["ssh", "-i", "x", "--", "uptime"], ["ssh", "-i", "x", "--command", "uptime"]),
        (["ssh"], ["ssh"]),
        (["status", "--", "x"], ["status", "--", "x"]),
    ],
)
def test_what_is_behind_two_dashes_is_the_command(
    tmp_path: Path, words: list[str], expected: list[str]
) -> None:
    checkout = Path(__file__).resolve().parents[3]
    (tmp_path / "lab").write_text((checkout / "lab").read_text())
    (tmp_path / "requirements.lock").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".lock").touch()
    fab = tmp_path / ".venv" / "bin" / "fab"
    fab.write_text('#!/bin/sh\nshift 2\nprintf "%s\\n" "$@"\n')
    fab.chmod(0o755)
    said = shell.run(["sh", tmp_path / "lab", *words], timeout_s=20).stdout
    assert said.splitlines() == expected
