"""Guests of the running lab, made for tests and gone afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from orrery import shell
from orrery.errors import OrreryError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import Entry
from orrery.network.backends import Backend
from orrery.state import LabState, StateFile

Running = Callable[..., AbstractContextManager[list[Entry]]]


@pytest.fixture
def lab_state(lab_state_path: Path) -> LabState:
    """The running lab's state."""
    return StateFile(lab_state_path).read()


@pytest.fixture
def guests(lab_state: LabState) -> Guests:
    """The running lab's guests."""
    return Guests(lab_state)


@pytest.fixture
def running(guests: Guests) -> Running:
    """Start guests at once, `running({"t-a": {...}})`; they are stopped in the end."""

    @contextlib.contextmanager
    def start(wanted: dict[str, dict[str, Any]]) -> Iterator[list[Entry]]:
        wishes = [
            choose.wish(guests, name, **{"backend": Backend.VHOST_USER, **values})
            for name, values in wanted.items()
        ]
        try:
            with ThreadPoolExecutor(max_workers=len(wishes)) as pool:
                yield list(pool.map(guests.start, wishes))
        finally:
            for name in wanted:
                with contextlib.suppress(OrreryError):
                    guests.stop(name)

    return start


@pytest.fixture
def in_guest(guests: Guests) -> Callable[..., str]:
    """Run a program in a guest: `in_guest(entry, "ping", "-c", "1", address)`; what it printed."""

    def run(entry: Entry, *argv: str, check: bool = True, timeout_s: float = 30) -> str:
        with guests.agent(entry) as agent:
            ran = agent.run(argv, timeout_s=timeout_s, check=check)
        return ran.stdout + ran.stderr

    return run


@pytest.fixture
def lab(checkout: Path, lab_state: LabState, tmp_path: Path) -> Callable[..., Any]:
    """Run `./lab TASK` for the running lab: `lab("guest.list")`; exit code, text, JSON."""

    def run(*words: str, timeout_s: float = 200) -> tuple[int, str, Any]:
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        argv: list[str | Path] = [checkout / "lab", *words]
        argv += ["-e", f"lab_name={lab_state.lab_name}", "-j", answer]
        done = shell.run(argv, timeout_s=timeout_s, cwd=checkout, check=False)
        data = json.loads(answer.read_text()) if answer.exists() else None
        return done.returncode, done.stdout + done.stderr, data

    return run
