"""Ansible's exit codes are mapped by the role that failed, and one run at a time is allowed."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from orrery.errors import ConfigurationError, HostError
from orrery.lab import converge
from orrery.lab.settings import Settings

PLAY = """
- name: Try
  hosts: localhost
  connection: local
  gather_facts: false
  {what}
"""


@pytest.fixture
def settings(tmp_path: Path, checkout: Path) -> Settings:
    (tmp_path / "ansible.cfg").write_text(
        f"[defaults]\ncallback_plugins = {checkout}/plugins/callback\nstdout_callback = lab\n"
        f"strategy_plugins = {checkout}/plugins/strategy\n"
        f"roles_path = {tmp_path}\n[inventory]\nunparsed_is_failed = true\n"
    )
    inventory = tmp_path / "hosts.yml"
    python = f"{{ansible_python_interpreter: {sys.executable}}}"
    inventory.write_text(f"all: {{hosts: {{localhost: {python}}}}}\n")
    return Settings(tmp_path, "t-converge", inventory, ())


def _play(settings: Settings, what: str) -> str:
    (settings.checkout / "play.yml").write_text(PLAY.format(what=what))
    return "play.yml"


def _role(settings: Settings, name: str, tasks: str) -> str:
    folder = settings.checkout / name / "tasks"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text(tasks)
    return f"roles: [{name}]"


def test_changes_and_messages_are_counted(settings: Settings) -> None:
    what = "tasks: [{name: Say, debug: {msg: hello}}, {name: Go, command: 'true'}]"
    result = converge.playbook(settings, _play(settings, what))
    assert (result.changed, result.failed) == (1, 0)
    assert result.changed_tasks == ("Go",)
    assert result.messages == ("hello",)


def test_a_play_without_hosts_is_not_printed(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    text = PLAY.format(what="tasks: [{name: Say, debug: {msg: hello}}]")
    nobody = text.replace("name: Try", "name: Nobody").replace("localhost", "nobody", 1)
    settings.inventory.write_text(settings.inventory.read_text() + "nobody: {hosts: {}}\n")
    (settings.checkout / "play.yml").write_text(f"{text}{nobody}")
    converge.playbook(settings, "play.yml")
    said = capfd.readouterr().out
    assert "Try" in said
    assert "Nobody" not in said


def test_a_host_is_worked_on_with_one_python_that_stays() -> None:
    assert converge.strategy({})["ANSIBLE_STRATEGY"] == "lab_mitogen"
    assert converge.strategy({"ANSIBLE_STRATEGY": "linear"}) == {}


@pytest.mark.parametrize("strategy", ["lab_mitogen", "linear"])
def test_changes_are_counted_under_every_strategy(
    settings: Settings, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_STRATEGY", strategy)
    what = "tasks: [{name: Say, debug: {msg: hello}}, {name: Go, command: 'true'}]"
    result = converge.playbook(settings, _play(settings, what))
    assert (result.changed_tasks, result.messages) == (("Go",), ("hello",))


def test_what_is_started_under_it_runs_on_every_processor(settings: Settings) -> None:
    print_ours = f"{sys.executable} -c 'import os; print(sorted(os.sched_getaffinity(0)))'"
    tasks = [
        {"name": "Ask", "ansible.builtin.shell": print_ours, "register": "found"},
        {"name": "Say", "ansible.builtin.debug": {"msg": "{{ found.stdout }}"}},
    ]
    what = f"tasks: {json.dumps(tasks)}"
    result = converge.playbook(settings, _play(settings, what))
    assert result.messages == (str(sorted(os.sched_getaffinity(0))),)


@pytest.mark.parametrize(
    ("role", "play", "code"),
    [
        ("preflight", "Check the host", 3),
        ("docker", "Deploy the functions", 3),
        ("whisk_embedded", "Deploy the functions", 6),
        ("mnist_data", "Deploy the MNIST actions", 2),
        ("", f"{converge.VERIFY_PLAYS}'s datapath", 20),
    ],
)
def test_the_failed_role_decides_the_exit_code(role: str, play: str, code: int) -> None:
    failure = {"role": role, "play": play, "task": "Break", "message": "port 3233 is taken"}
    error = converge.error_for("site.yml", 2, {"failures": [failure]})
    assert error.exit_code == code
    assert str(error).endswith("Break\nport 3233 is taken")


@pytest.mark.parametrize("code", [99, 130, -2])
def test_an_interrupted_playbook_is_an_interruption(code: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        converge.error_for("site.yml", code, {})


def test_a_role_that_fails_is_named(settings: Settings) -> None:
    what = _role(settings, "docker", "- name: Break\n  fail: {msg: port 3233 is taken}\n")
    with pytest.raises(HostError, match="docker: Break\nport 3233 is taken"):
        converge.playbook(settings, _play(settings, what))


def test_a_playbook_that_cannot_be_read_is_a_configuration_error(settings: Settings) -> None:
    (settings.checkout / "play.yml").write_text("- hosts: [")
    with pytest.raises(ConfigurationError, match="play.yml could not be run"):
        converge.playbook(settings, "play.yml")


def test_a_second_run_of_one_lab_is_refused(settings: Settings) -> None:
    with converge.exclusively(settings, "up"):
        with (
            pytest.raises(HostError, match=r"is being worked on by ./lab up \(pid \d+\)"),
            converge.exclusively(settings, "down"),
        ):
            pass
        other = Settings(settings.checkout, "t-other", settings.inventory, ())
        with converge.exclusively(other, "up"):
            pass
    with converge.exclusively(settings, "up"):
        pass


def test_not_root_without_a_terminal_names_the_sudoers_line(
    settings: Settings, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bin" / "sudo"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=":")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    local = Settings(checkout, "t-converge", checkout / "inventory" / "local", ())
    with pytest.raises(HostError, match=r"Add this line\s+with visudo(.|\n)*NOPASSWD: ALL"):
        converge.playbook(local, "site.yml")
