"""The check of a datapath without guests, on the lab's own switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.network import check, layout
from orrery.state import StateFile
from tests.support import live_switch

pytestmark = [pytest.mark.root, pytest.mark.lab]


def test_the_lab_s_switch_passes_and_keeps_nothing_of_it(lab_state_path: Path) -> None:
    state = StateFile(lab_state_path).read()
    switch = layout.switch(state)
    with live_switch.held():
        before = [port.name for port in switch.ports()]
        pid = switch.pid()
        held = check.ports(switch, str(layout.part(state, "ovs")["bridge"]))
        assert "get their memory pool" in held
        assert switch.pid() == pid
        assert [port.name for port in switch.ports()] == before
