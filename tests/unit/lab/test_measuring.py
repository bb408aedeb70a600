"""A long measurement ends in good order, and says how to go on."""

from __future__ import annotations

import asyncio
import io
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from orrery.lab import measuring
from orrery.measure.journal import Journal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_an_interruption_also_for_what_waits(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("in good order")

    with measuring.interruptible(), pytest.raises(KeyboardInterrupt):
        asyncio.run(work())
    assert ended == ["in good order"]
    assert signal.getsignal(number) is before


def test_a_request_to_end_is_heard_in_the_background_too() -> None:
    """A shell starts background jobs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), measuring.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_that_is_broken_off_says_how_to_go_on(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    with Journal.create(tmp_path / "j.jsonl", {}) as journal:
        journal.append({"what": "trial"})
        with (
            pytest.raises(KeyboardInterrupt),
            measuring.resumable(console, journal, "drill", ["--moves", "3"], "moves"),
        ):
            raise KeyboardInterrupt
    assert "Finished moves are kept" in out.getvalue()
    assert f"./lab drill --moves 3 --resume {tmp_path / 'j.jsonl'}" in out.getvalue()


def test_a_journal_without_anything_is_removed(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "j.jsonl", {}) as journal:
        console = Console(file=io.StringIO())
        with (
            pytest.raises(KeyboardInterrupt),
            measuring.resumable(console, journal, "drill", [], "moves"),
        ):
            raise KeyboardInterrupt
    assert not (tmp_path / "j.jsonl").exists()


def test_without_a_terminal_each_block_is_one_line() -> None:
    out = io.StringIO()
    with measuring.progress(Console(file=out, width=200), "moves") as (tell, say):
        tell(0, 2, "idle: move 1", 1)
        tell(1, 2, "busy: move 1", 1)
        tell(2, 2, "idle: move 2", 2)
        say("a move failed")
    assert out.getvalue().splitlines() == [
        "0 of 2 moves: idle: move 1",
        "2 of 2 moves: idle: move 2",
        "a move failed",
    ]


def test_durations_and_versions_are_for_people() -> None:
    assert measuring.duration(5) == "5 s"
    assert measuring.duration(125) == "2 min 5 s"
    facts = {"qemu": {"version": "10.0.2"}, "guest_image": {"kernel_version": "6.1"}}
    assert measuring.versions(facts) == {"qemu": "10.0.2", "guest kernel": "6.1"}
