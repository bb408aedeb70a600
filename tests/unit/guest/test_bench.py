"""Guests of a measurement are taken away, each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orrery.errors import GuestError, HostError
from orrery.guest import bench, tasks
from orrery.guest.bench import GuestFigures, GuestScenario
from orrery.lab import converge
from orrery.lab.command import Lab
from orrery.lab.settings import Settings
from orrery.network.backends import Backend
from orrery.state import LabState


class Guests:
    """Guests that start; the second one does not stop."""

    def __init__(self, folder: Path) -> None:
        self.registry = self
        self.folder = folder
        self.stopped: list[str] = []

    def of(self, name: str) -> Path:
        return self.folder

    def start(self, name: str) -> str:
        return name

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        if name == "two":
            raise GuestError("process 7 did not end within 5 s")


def test_a_guest_that_does_not_stop_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orrery.guest.choose.wish", lambda _, name, **__: name)
    guests: Any = Guests(tmp_path)
    with (
        pytest.raises(GuestError, match="did not end"),
        bench.started(guests, Backend.VHOST_USER, ["one", "two", "three"]) as entries,
    ):
        assert [str(entry) for entry in entries] == ["one", "two", "three"]
    assert sorted(guests.stopped) == ["one", "three", "two"]


def test_nothing_is_measured_beside_another_measurement_of_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converge, "LOCK_DIR", tmp_path)
    settings = Settings(tmp_path, "t", tmp_path, ())
    monkeypatch.setattr(Lab, "state", lambda self: LabState("t"))

    def measure(_: Any) -> GuestFigures:
        raise AssertionError("it was measured")

    with (
        converge.exclusively(settings, "bench"),
        pytest.raises(HostError, match=r"is being worked on by ./lab bench"),
    ):
        tasks._recorded(Lab(settings), GuestScenario(), 3, "tcg", "", measure)
