"""What is done before the switch starts in the lab's namespace."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NoReturn

import pytest

from orrery import shell
from orrery.network import enter
from orrery.network.layout import Layout
from orrery.network.testpmd import wiring
from orrery.state import LabState, StateFile

NETWORK = {"namespace": "t-enter", "lan_bridge": "br-lan", "lan_address": "10.161.35.1/24"}


class BecameError(Exception):
    """Stands for the program that takes this process's place."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines of programs that were put in this process's place."""
    found: list[list[str]] = []

    def become(argv: list[str | Path]) -> NoReturn:
        found.append([str(word) for word in argv])
        raise BecameError

    monkeypatch.setattr(shell, "become", become)
    monkeypatch.setattr(Layout, "restore", lambda self: False)
    return found


def listener(path: Path) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


def state_file(folder: Path, **facts: object) -> Path:
    path = folder / "state.json"
    StateFile(path).write(LabState("t-enter", facts={"network": NETWORK, **facts}))
    return path


def test_sockets_at_which_nobody_listens_go_before_the_switch_starts(
    tmp_path: Path, became: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "ovs"
    run.mkdir()
    for name in ("eng-vu-0a1b-0", "eng-pvp-0a1b-0", "db.sock"):
        listener(run / name).close()
    (run / "eng-note").write_text("no socket")
    path = state_file(tmp_path, ovs={"control": str(run / "vswitchd.ctl")})
    with listener(run / "eng-vu2-0a1b-0"), pytest.raises(BecameError):
        enter.main(["--state-file", str(path), "--", "switch", "--there"])
    left = sorted(one.name for one in run.iterdir())
    assert left == ["db.sock", "eng-note", "eng-vu2-0a1b-0"]
    assert became == [["ip", "netns", "exec", "t-enter", "switch", "--there"]]
    assert capsys.readouterr().err.count("socket of a switch that was killed") == 2


def test_a_lab_without_a_switch_yet_has_nothing_to_be_removed(
    tmp_path: Path, became: list[list[str]]
) -> None:
    before = sorted(Path().iterdir())
    with pytest.raises(BecameError):
        enter.main(["--state-file", str(state_file(tmp_path)), "--", "switch"])
    assert sorted(Path().iterdir()) == before
    assert len(became) == 1


def test_a_folder_that_is_not_there_has_no_sockets(tmp_path: Path) -> None:
    assert wiring.forget_dead_sockets(tmp_path / "none") == []
