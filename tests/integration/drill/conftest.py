"""A guest of the running lab that can be moved, on the lab's own switch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery import shell
from orrery.drill import home
from orrery.guest.lifecycle import Guests
from orrery.state import StateFile
from tests.support import live_switch


@pytest.fixture
def guests(lab_state_path: Path) -> Iterator[Guests]:
    """The running lab's guests; nobody kills the switch meanwhile."""
    found = Guests(StateFile(lab_state_path).read())
    probe = Path(str(found.state.facts["guest_image"]["probe"]))
    said = shell.run([probe], timeout_s=10, check=False).stderr
    if "orrery-probe write" not in said:
        pytest.skip("the lab's guest image is older than this tree: run ./lab up")
    with live_switch.held():
        home.sweep(found)
        try:
            yield found
        finally:
            home.sweep(found)
