"""The only place that runs programs: argument lists, timeouts, and errors that say enough."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from orrery.errors import HostError

Process = subprocess.Popen[bytes]
"""A program that `start` started."""

LAST_LINES = 12
"""Lines of a failed program's output that an error repeats."""


@dataclass(frozen=True)
class Completed:
    """A program that ended.

    Attributes:
        seconds: Wall time [s].
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class CommandError(HostError):
    """A program failed, is missing, or did not end in time."""

    def __init__(self, argv: Sequence[str], returncode: int | None, output: str, why: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        last = "\n".join(output.strip().splitlines()[-LAST_LINES:])
        text = f"{shlex.join(argv)}: {why}"
        super().__init__(f"{text}\n{last}" if last else text)


def run(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: Program and arguments; no shell reads them.
        timeout_s: When the program and its children are killed [s].
        cwd: Working directory.
        env: Variables added to this process's own.
        stdin: Text for its standard input; nothing is typed where it is None.
        check: Whether an exit code other than 0 is an error.

    Raises:
        CommandError: It is missing, exceeded the time, or (with `check`) failed.
    """
    words = [str(word) for word in argv]
    began = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(words, None, "", f"cannot be started: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _kill_group(process)
            out, err = process.communicate()
            why = f"did not end within {timeout_s:g} s"
            raise CommandError(words, None, err or out, why) from error
        except BaseException:
            _kill_group(process)
            raise
    done = Completed(tuple(words), process.returncode, out, err, time.monotonic() - began)
    if check and done.returncode != 0:
        raise CommandError(words, done.returncode, err or out, f"exit code {done.returncode}")
    return done


def stream(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run a program that talks to the terminal itself; Ctrl-C reaches it, too, and it may clean up.

    Returns:
        Its exit code, negative for a signal.

    Raises:
        CommandError: It is missing or exceeded the time.
        KeyboardInterrupt: After the program has ended.
    """
    words = [str(word) for word in argv]
    process: Process | None = None
    try:
        with _interrupt_deferred():
            process = subprocess.Popen(words, cwd=cwd, env={**os.environ, **(env or {})})
        return process.wait(timeout_s)
    except OSError as error:
        raise CommandError(words, None, "", f"cannot be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        why = f"did not end within {timeout_s:g} s"
        raise CommandError(words, None, "", why) from error
    except KeyboardInterrupt:
        if process is not None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                process.wait(30)
        raise
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Keep Ctrl-C until a program that is being started is known, so that it can be told."""
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or before is not signal.default_int_handler:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def start(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: Path | None = None,
    descriptors: Sequence[int] = (),
    pipes: bool = False,
) -> Process:
    """Start a program that goes on, in a session of its own; its output goes to a file or nowhere.

    Args:
        argv: Program and arguments; no shell reads them.
        cwd: Working directory.
        env: Variables added to this process's own.
        stdout: File that gets its output and its errors; None is for nowhere.
        descriptors: Open files that it inherits under their numbers.
        pipes: Whether it is talked to: `stdin` and `stdout` of the process are pipes then. The
            first one ends with this process, whatever that ends by.

    Raises:
        CommandError: It cannot be started.
    """
    words = [str(word) for word in argv]
    with contextlib.ExitStack() as stack:
        try:
            sink: IO[bytes] | int = subprocess.PIPE if pipes else subprocess.DEVNULL
            if stdout is not None:
                sink = stack.enter_context(stdout.open("ab"))
            return subprocess.Popen(
                words,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=tuple(descriptors),
            )
        except OSError as error:
            raise CommandError(words, None, "", f"cannot be started: {error.strerror}") from error


def become(argv: Sequence[str | Path]) -> NoReturn:
    """Put a program in the place of this process, with its environment and descriptors.

    Raises:
        CommandError: It cannot be started.
    """
    words = [str(word) for word in argv]
    try:
        os.execvp(words[0], words)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        raise CommandError(words, None, "", f"cannot be started: {error.strerror}") from error


def ended(process: Process, timeout_s: float) -> bool:
    """Wait for the end of a program that `start` started; whether it came in time."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
    return process.poll() is not None


def stop(process: Process, *, timeout_s: float = 10.0) -> int:
    """End a program that `start` started: TERM, then KILL for its whole group.

    Returns:
        Its exit code, negative for a signal.
    """
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            process.wait()
    return process.returncode


def _kill_group(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
