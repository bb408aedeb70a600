"""ansible-playbook in a process that has Ansible loaded already.

Tests of roles run playbooks by the hundred, and loading Ansible takes longer than many of them. So
the server of `multiprocessing` loads it once and forks for each run, which gets environment, folder
and session of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.ansible_loaded"])


def run(
    argv: Sequence[str | Path], log: Path, *, cwd: Path, env: Mapping[str, str], timeout_s: float
) -> int:
    """Run ansible-playbook with these arguments; its exit code.

    Args:
        argv: Arguments, without the program.
        log: Gets all that it prints.
        cwd: Working directory.
        env: Variables added to this process's own.
        timeout_s: When it is killed, with what it has started [s].

    Raises:
        AssertionError: It did not end.
    """
    words = [str(word) for word in argv]
    variables = {**os.environ, **env}
    process = _context.Process(target=_playbook, args=(words, str(log), str(cwd), variables))
    process.start()
    try:
        process.join(timeout_s)
        ended = process.exitcode is not None
    finally:
        _kill(process)
    assert ended, f"it did not end within {timeout_s:.0f} s:\n{log.read_text()}"
    return int(process.exitcode or 0)


def _kill(process: ForkServerProcess) -> None:
    """End a run that goes on, with what it has started."""
    if process.exitcode is None and process.pid is not None:
        # Just forked, it has no session of its own yet.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def _playbook(argv: list[str], log: str, cwd: str, variables: dict[str, str]) -> None:
    os.setsid()
    with Path(os.devnull).open("rb") as nothing, Path(log).open("wb") as output:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    from tests.support import ansible_loaded

    ansible_loaded.main(["ansible-playbook", *argv])
