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
from orrery.measure.cpu import process_seconds

READY_TIMEOUT_S = {Accel.KVM: 30.0, Accel.TCG: 90.0}
DISK_READY_TIMEOUT_S = {Accel.KVM: 120.0, Accel.TCG: 600.0}
POLL_S = 0.02
LOG_LINES = 8
CRASHES = (-signal.SIGABRT, -signal.SIGSEGV)
"""How a fault of QEMU ends it. KILL is what a host without memory sends, and no fault."""

IDLE_WINDOW_S = 10.0
DISK_IDLE_WINDOW_S = 60.0
"""A system that starts from a disk waits for devices and addresses on its way."""
IDLE_SHARE = 0.05
"""A guest on its way that uses less of one CPU over that window waits for what never comes."""

Judge = Callable[[str], str]


class CrashError(GuestError):
    """QEMU ended by a fault of its own, or its guest stands still by one."""


@dataclass
class Standstill:
    """Notices that a program does nothing for as long as a window.

    TCG with threads loses a guest's timer interrupt once in some thousand starts (seen in QEMU
    10.0.2: `rcu_preempt kthread timer wakeup didn't happen`), and the guest sleeps for ever.

    Attributes:
        since: When the window began [s].
        used_s: Processor time of the program at that moment [s].
    """

    window_s: float
    since: float
    used_s: float = 0.0

    def noticed(self, now: float, used_s: float) -> bool:
        """Whether it stood still; asked as often as one likes."""
        if now - self.since < self.window_s:
            return False
        still = used_s - self.used_s < IDLE_SHARE * (now - self.since)
        self.since, self.used_s = now, used_s
        return still


@dataclass(frozen=True)
class Waiting:
    """A guest on its way.

    Attributes:
        folder: Its run files.
        disk: Whether it starts from a disk.
    """

    name: str
    accel: Accel
    folder: Path
    process: shell.Process
    disk: bool = False

    def until_ready(self, limit_s: float, hopeless: Judge) -> None:
        """Wait until the guest says that it is ready.

        Raises:
            CrashError: QEMU ended by a fault of its own, or the guest stands still under TCG.
            GuestError: QEMU ended, it took too long, or is hopeless.
        """
        window_s = DISK_IDLE_WINDOW_S if self.disk else IDLE_WINDOW_S
        usual_s = DISK_READY_TIMEOUT_S if self.disk else READY_TIMEOUT_S
        standstill = Standstill(window_s, time.monotonic())

        def ready() -> bool:
            reason = hopeless((self.folder / "qemu.log").read_text(errors="replace"))
            if reason:
                raise GuestError(f"guest {self.name}: {reason}")
            if is_ready(self.folder / "console.log"):
                return True
            # Under KVM a guest that does not run is what a trial is there to find out.
            used_s = process_seconds(self.process.pid)
            if self.accel is Accel.TCG and standstill.noticed(time.monotonic(), used_s):
                raise CrashError(
                    f"guest {self.name}: it stands still before it is ready (no work for "
                    f"{standstill.window_s:g} s).\n{self.last_words()}"
                )
            return False

        self.until(ready, limit_s or usual_s[self.accel], "the guest is not ready")

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
