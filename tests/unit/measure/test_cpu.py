"""Processor time is read from what the kernel prints."""

from __future__ import annotations

import os
import time
from pathlib import Path

from orrery.measure.cpu import TICKS_PER_S, busy_seconds, process_seconds


def test_a_process_that_works_uses_its_time() -> None:
    before, own = process_seconds(os.getpid()), time.process_time()
    while time.process_time() - own < 0.2:
        pass
    assert 0.1 < process_seconds(os.getpid()) - before < 2.0


def test_a_process_that_is_gone_uses_none(tmp_path: Path) -> None:
    assert process_seconds(1, tmp_path) == 0.0


def test_a_name_with_spaces_and_brackets_is_skipped(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    fields = " ".join(str(number) for number in range(3, 53))
    (folder / "stat").write_text(f"7 (a) b) {fields}\n")
    assert process_seconds(7, tmp_path) == (14 + 15) / TICKS_PER_S


def test_what_is_not_idle_is_busy() -> None:
    text = "cpu  100 10 50 9000 400 5 35 20 77 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
    assert busy_seconds(text) == (100 + 10 + 50 + 5 + 35 + 20) / TICKS_PER_S
    assert busy_seconds("") == 0.0
