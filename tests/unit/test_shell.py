"""Programs are run with argument lists and timeouts, and errors say enough."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from orrery import shell


def test_output_and_exit_code_are_kept() -> None:
    done = shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout_s=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_a_failure_holds_the_command_the_code_and_the_last_lines() -> None:
    with pytest.raises(shell.CommandError) as caught:
        shell.run(["sh", "-c", "seq 100 >&2; exit 7"], timeout_s=20)
    text = str(caught.value)
    assert "exit code 7" in text
    assert text.endswith("99\n100")
    assert "\n50\n" not in text
    assert caught.value.returncode == 7


def test_a_missing_program_is_named() -> None:
    with pytest.raises(shell.CommandError, match="no-such-program: cannot be started"):
        shell.run(["no-such-program"], timeout_s=20)


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(shell.CommandError, match="true: cannot be started: No such file"):
        shell.start(["true"], stdout=tmp_path / "gone" / "log")


def test_what_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(shell.CommandError, match="did not end within 0.5 s"):
        shell.run(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], timeout_s=0.5)
    child = int(note.read_text())
    end = time.monotonic() + 20
    while _alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(child)


def test_a_stopped_daemon_that_ignores_term_is_killed() -> None:
    process = shell.start(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
    assert shell.stop(process, timeout_s=0.5) < 0


def test_a_program_that_is_talked_to_sees_the_end_of_its_pipe() -> None:
    process = shell.start(["cat"], pipes=True)
    with process:
        out, _ = process.communicate(b"hello", timeout=20)
    assert (out, process.returncode) == (b"hello", 0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
