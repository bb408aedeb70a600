"""A guest that does not get ready is told apart: crashed, ended, late; and tried again or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import GuestError
from orrery.guest.lifecycle import Guests
from orrery.guest.machine import Accel
from orrery.guest.registry import Entry
from orrery.guest.waiting import CrashError, Standstill, Waiting, telling
from orrery.guest.wish import Wish
from orrery.state import LabState

WISH = Wish("a", Accel.TCG, backend=None)


def waiting(tmp_path: Path, code: str) -> Waiting:
    process = shell.start([sys.executable, "-c", code])
    (tmp_path / "qemu.log").write_text("its last words\n")
    return Waiting("a", Accel.TCG, tmp_path, process)


@pytest.mark.parametrize("number", ["SIGABRT", "SIGSEGV"])
def test_a_fault_of_qemu_is_a_crash(tmp_path: Path, number: str) -> None:
    code = "import os, resource, signal; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    code += f"os.kill(os.getpid(), signal.{number})"
    with pytest.raises(CrashError, match=r"(?s)ended by signal \d+ before.*its last words"):
        waiting(tmp_path, code).until_ready(20, lambda _: "")


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_another_end_is_none(tmp_path: Path, code: str) -> None:
    with pytest.raises(GuestError, match="before the guest was ready") as found:
        waiting(tmp_path, code).until_ready(20, lambda _: "")
    assert not isinstance(found.value, CrashError)


def test_a_guest_that_is_late_or_hopeless_says_so(tmp_path: Path) -> None:
    one = waiting(tmp_path, "import time; time.sleep(60)")
    try:
        with pytest.raises(GuestError, match=r"not ready after 0.1 s \(tcg\)"):
            one.until_ready(0.1, lambda _: "")
        with pytest.raises(GuestError, match="guest a: no chance: its last words"):
            one.until_ready(20, lambda said: f"no chance: {said.strip()}")
        (tmp_path / "console.log").write_text("booting\r\nREADY 1.6\r\n")
        one.until_ready(20, lambda _: "")
    finally:
        shell.stop(one.process)


def test_a_guest_that_stands_still_under_tcg_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.guest.waiting.IDLE_WINDOW_S", 1.0)
    one = waiting(tmp_path, "import time; time.sleep(60)")
    try:
        with pytest.raises(CrashError, match="guest a: it stands still before it is ready"):
            one.until_ready(20, lambda _: "")
    finally:
        shell.stop(one.process)


def test_a_guest_that_works_does_not_stand_still() -> None:
    seen = Standstill(10.0, since=100.0)
    assert not seen.noticed(105.0, 0.1), "the window is not over"
    assert not seen.noticed(110.0, 2.0), "it worked"
    assert seen.noticed(120.5, 2.3), "it did a twentieth of one CPU's work and less"
    assert not seen.noticed(125.0, 2.3), "another window has begun"


def test_the_line_of_a_panic_is_shown_even_when_much_follows() -> None:
    lines = ["Kernel panic - not syncing", *(f"frame {number}" for number in range(20))]
    assert telling("\n".join(lines))[0] == lines[0]


class Crashing(Guests):
    """Guests whose first starts crash."""

    def __init__(self, crashes: int) -> None:
        self.said: list[str] = []
        super().__init__(LabState("t-crash"), say=self.said.append)
        self.crashes = crashes

    def _start(self, *_: Any) -> Entry:
        if self.crashes:
            self.crashes -= 1
            raise CrashError("guest a: QEMU ended by signal 6 before the guest was ready.\nmore")
        return Entry("a", 11)


def test_a_crash_under_tcg_is_tried_once_more_and_said() -> None:
    guests = Crashing(1)
    assert guests.start(WISH).name == "a"
    assert guests.said == [
        "guest a: QEMU ended by signal 6 before the guest was ready. It is started once more."
    ]
    with pytest.raises(CrashError):
        Crashing(2).start(WISH)


def test_a_crash_under_kvm_is_not_tried_again() -> None:
    guests = Crashing(1)
    with pytest.raises(CrashError):
        guests.start(Wish("a", Accel.KVM, backend=None))
