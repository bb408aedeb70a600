"""Talking to a guest: QEMU's monitor and the guest agent, both through QEMU's own library."""

from __future__ import annotations

import asyncio
import base64
import secrets
import shlex
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qemu.qmp import QMPClient
from qemu.qmp.error import QMPError

from orrery.errors import GuestError

CONNECT_TIMEOUT_S = 10.0
POLL_S = 0.02
LONGEST_POLL_S = 0.3
READ_SIZE = 1 << 16


class Channel:
    """A connection that speaks QEMU's protocol; closed at the end of a `with` block.

    Attributes:
        what: For messages, `monitor of guest a`.
        patience_s: How long the other side may take to answer a connection [s].
    """

    negotiate = True

    def __init__(self, path: Path, what: str, patience_s: float = CONNECT_TIMEOUT_S) -> None:
        self.path = path
        self.what = what
        self.patience_s = patience_s
        self._runner = asyncio.Runner()
        self._client = QMPClient(what)
        self._client.await_greeting = self.negotiate
        self._client.negotiate = self.negotiate

    def __enter__(self) -> Self:
        try:
            self._do(self._client.connect(str(self.path)), self.patience_s)
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            # A guest that is gone has closed the connection itself.
            self._runner.run(_quietly(self._client.disconnect(), self.patience_s))
        finally:
            self._runner.close()

    def execute(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Any:
        """Run a command of the protocol; its answer.

        Raises:
            GuestError: It was refused, or nothing came in time.
        """
        return self._do(self._client.execute(command, dict(arguments or {})), timeout_s, command)

    def _do(self, work: Coroutine[Any, Any, Any], timeout_s: float, command: str = "") -> Any:
        label = f"{self.what}: {command}" if command else self.what
        try:
            return self._runner.run(_bounded(work, timeout_s))
        except TimeoutError:
            raise GuestError(f"{label}: no answer within {timeout_s:g} s") from None
        except (QMPError, OSError, EOFError, asyncio.CancelledError) as error:
            reason = str(error) or type(error).__name__
            raise GuestError(f"{label}: {reason}") from error


class Monitor(Channel):
    """QMP of one guest."""


@dataclass(frozen=True)
class Ran:
    """A program that ended in the guest.

    Attributes:
        seconds: Wall time as the host saw it [s].
    """

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @classmethod
    def of(cls, argv: Sequence[str], status: Mapping[str, Any], seconds: float) -> Ran:
        """What the agent's answer to `guest-exec-status` says of a program that ended."""
        out, err = (
            base64.b64decode(status.get(key, "")).decode("utf-8", errors="replace")
            for key in ("out-data", "err-data")
        )
        code = int(status["exitcode"]) if "exitcode" in status else -int(status.get("signal", 1))
        return cls(tuple(argv), code, out, err, seconds)


class Agent(Channel):
    """The guest agent of one guest: runs programs in it without its measured interface."""

    negotiate = False

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._synchronise()
        except BaseException:
            super().__exit__(None, None, None)
            raise
        return self

    def run(self, argv: Sequence[str], *, timeout_s: float, check: bool = True) -> Ran:
        """Run a program in the guest to its end.

        Raises:
            GuestError: It failed (with `check`), is missing, or did not end in time.
        """
        began = time.monotonic()
        pid = self.start(argv)
        words = shlex.join(argv)
        answer = self._await(
            lambda: self.execute("guest-exec-status", {"pid": pid}),
            lambda status: bool(status["exited"]),
            timeout_s,
            f"{self.what}: {words} did not end within {timeout_s:g} s",
        )
        ran = Ran.of(argv, answer, time.monotonic() - began)
        if check and ran.returncode != 0:
            last = "\n".join((ran.stderr or ran.stdout).strip().splitlines()[-6:])
            raise GuestError(f"{self.what}: {words}: exit code {ran.returncode}\n{last}")
        return ran

    def start(self, argv: Sequence[str]) -> int:
        """Start a program in the guest; its process id there.

        Raises:
            GuestError: It is missing there.
        """
        request = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        return int(self.execute("guest-exec", request)["pid"])

    def read(self, path: str) -> bytes:
        """A file of the guest; the agent reads it itself, which costs far less than a program.

        Raises:
            GuestError: There is none.
        """
        parts = []
        handle = self.execute("guest-file-open", {"path": path, "mode": "r"})
        try:
            ended = False
            while not ended:
                part = self.execute("guest-file-read", {"handle": handle, "count": READ_SIZE})
                parts.append(base64.b64decode(part["buf-b64"]))
                ended = bool(part["eof"])
        finally:
            self.execute("guest-file-close", {"handle": handle})
        return b"".join(parts)

    def _synchronise(self) -> None:
        """Skip what an earlier, broken off connection left unread."""
        number = secrets.randbelow(1 << 30)
        self._await(
            lambda: self.execute("guest-sync", {"id": number}),
            lambda answer: answer == number,
            CONNECT_TIMEOUT_S,
            f"{self.what}: it does not answer",
        )

    @staticmethod
    def _await(
        ask: Callable[[], Any], done: Callable[[Any], bool], timeout_s: float, otherwise: str
    ) -> Any:
        end = time.monotonic() + timeout_s
        pause = POLL_S
        while not done(answer := ask()):
            if time.monotonic() > end:
                raise GuestError(otherwise)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL_S)
        return answer


async def _bounded(work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
    # Python 3.11's wait_for forgets Ctrl-C when it comes together with the answer.
    async with asyncio.timeout(timeout_s):
        return await work


async def _quietly(work: Coroutine[Any, Any, Any], timeout_s: float) -> None:
    try:
        await asyncio.wait_for(work, timeout_s)
    except (QMPError, OSError, EOFError, TimeoutError):
        return
