"""Waiting for a guest that is being started, and what it said when that fails."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orrery import shell
from orrery.errors import GuestError
from orrery.guest.machine import Accel

READY_TIMEOUT_S = {Accel.KVM: 30.0, Accel.TCG: 90.0}
POLL_S = 0.02
LOG_LINES = 8
CRASHES = (-signal.SIGABRT, -signal.SIGSEGV)
"""How a fault of QEMU ends it. KILL is what a host without memory sends, and no fault."""

Judge = Callable[[str], str]


class CrashError(GuestError):
    """QEMU ended by a fault of its own."""


@dataclass(frozen=True)
class Waiting:
    """A guest on its way.

    Attributes:
        folder: Its run files.
    """

    name: str
    accel: Accel
    folder: Path
    process: shell.Process

    def until_ready(self, limit_s: float, hopeless: Judge) -> None:
        """Wait until the guest says that it is ready.

        Raises:
            CrashError: QEMU ended by a fault of its own.
            GuestError: QEMU ended, it took too long, or is hopeless.
        """

        def ready() -> bool:
            reason = hopeless((self.folder / "qemu.log").read_text(errors="replace"))
            if reason:
                raise GuestError(f"guest {self.name}: {reason}")
            return is_ready(self.folder / "console.log")

        self.until(ready, limit_s or READY_TIMEOUT_S[self.accel], "the guest is not ready")

    def until(
        self, done: Callable[[], bool], timeout_s: float, otherwise: str, *, poll_s: float = POLL_S
    ) -> None:
        """Wait until something holds, for as long as QEMU runs.

        Raises:
            CrashError: QEMU ended by a fault of its own.
            GuestError: QEMU ended, or it took too long.
        """
        end = time.monotonic() + timeout_s
        while not done():
            code = self.process.poll()
            if code is not None:
                kind = CrashError if code in CRASHES else GuestError
                raise kind(
                    f"guest {self.name}: QEMU ended {how(code)} before the guest was ready.\n"
                    f"{self.last_words()}"
                )
            if time.monotonic() > end:
                raise GuestError(
                    f"guest {self.name}: {otherwise} after {timeout_s:g} s ({self.accel}).\n"
                    f"{self.last_words()}"
                )
            time.sleep(poll_s)

    def last_words(self) -> str:
        """The ends of the logs."""
        said = []
        for name in ("qemu.log", "console.log"):
            with contextlib.suppress(OSError):
                text = (self.folder / name).read_text(errors="replace")
                said += [f"{name}: {line}" for line in telling(text)]
        return "\n".join(said) or "(neither QEMU nor the guest said anything)"


def telling(text: str) -> list[str]:
    """The lines of a log that tell most: those about a panic, and the last ones."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    panics = [line for line in lines[:-LOG_LINES] if "Kernel panic" in line]
    return panics + lines[-LOG_LINES:]


def is_ready(console_log: Path) -> bool:
    """Whether the guest has said that it is ready."""
    try:
        text = console_log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith("READY ") for line in text.splitlines())


def how(code: int) -> str:
    """How a process ended."""
    return f"with code {code}" if code >= 0 else f"by signal {-code}"
