"""cloud-init's own errors are shown."""

from __future__ import annotations

import json

import pytest

from orrery import shell
from orrery.errors import GuestError
from orrery.vm import cloud_init


def result(*errors: str) -> str:
    return json.dumps({"v1": {"datasource": "DataSourceNoCloud", "errors": list(errors)}})


class Machine:
    """Answers command lines with texts, in their order."""

    def __init__(self, *answers: str | shell.CommandError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, command: str) -> shell.Completed:
        self.asked.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, shell.CommandError):
            raise answer
        return shell.Completed(("ssh",), 0, answer, "", 0.1)


def test_a_result_without_errors_is_enough() -> None:
    machine = Machine(result())
    cloud_init.finish("lab-vm", machine)
    assert len(machine.asked) == 1


def test_errors_are_shown_with_the_end_of_its_output() -> None:
    machine = Machine(result("('scripts-user', RuntimeError('x'))"), "no such file\nFailed\n")
    text = r"(?s)VM lab-vm: cloud-init failed: \('scripts-user'.*cloud-init-output.log:\nno such"
    with pytest.raises(GuestError, match=text):
        cloud_init.finish("lab-vm", machine)


def test_output_that_cannot_be_read_hides_no_error() -> None:
    failed = shell.CommandError(["ssh"], 1, "sudo: a password is required", "exit code 1")
    with pytest.raises(GuestError, match=r"(?s)cloud-init failed: broken.*a password is required"):
        cloud_init.finish("lab-vm", Machine(result("broken"), failed))


def test_no_end_of_it_is_said_as_such() -> None:
    slow = shell.CommandError(["ssh"], None, "", "did not end within 600 s")
    with pytest.raises(GuestError, match=r"cloud-init is not done in time \(vm_ready_timeout_s\)"):
        cloud_init.finish("lab-vm", Machine(slow))


def test_a_connection_that_breaks_is_said_with_its_words() -> None:
    broken = shell.CommandError(["ssh"], 255, "Connection reset by peer", "exit code 255")
    with pytest.raises(GuestError, match="ssh ended with code 255: Connection reset by peer"):
        cloud_init.finish("lab-vm", Machine(broken))


def test_what_is_no_result_is_an_error_of_its_own() -> None:
    with pytest.raises(GuestError, match="cloud-init's result is none"):
        cloud_init.parse("cat: /run/cloud-init/result.json: No such file")
