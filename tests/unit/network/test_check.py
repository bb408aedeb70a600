"""A datapath without guests is checked by a port, its memory pool and the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orrery.errors import VerifyError
from orrery.network import check
from orrery.network.switch import Switch


@dataclass(frozen=True)
class PlayedSwitch(Switch):
    """A switch that answers from a script."""

    pool: str = ""
    there: list[str] = field(default_factory=list)

    def vsctl(self, *words: str, wait: bool = True) -> str:
        if "add-port" in words:
            self.there.append(words[2])
        if "del-port" in words and words[-1] in self.there:
            self.there.remove(words[-1])
        return '"up"\n' if "link_state" in words else ""

    def appctl(self, *words: str) -> str:
        return self.pool


def played(tmp_path: Path, pool: str, log: str) -> PlayedSwitch:
    (tmp_path / "log").write_text(log, encoding="utf-8")
    return PlayedSwitch("unix:/db", "/control", tmp_path / "log", tmp_path, pool=pool)


def test_a_pool_and_a_clean_log_are_enough(tmp_path: Path) -> None:
    switch = played(tmp_path, "mempool <ovs1234>@0x17f\n", "")
    assert "get their memory pool" in check.ports(switch, "br-ovs")
    assert switch.there == []


def test_a_port_without_pool_is_an_error_and_goes(tmp_path: Path) -> None:
    line = '2026|00031|netdev_dpdk|ERR|Failed to create mempool "ovs" with a request of 262144\n'
    switch = played(tmp_path, "Not allocated\n", line)
    with pytest.raises(VerifyError, match=r"with no memory pool.*librte-mempool-ring"):
        check.ports(switch, "br-ovs")
    assert switch.there == []


def test_an_error_in_the_log_is_shown(tmp_path: Path) -> None:
    line = "2026|00032|bridge|ERR|something broke\n"
    switch = played(tmp_path, "mempool <ovs1234>@0x17f\n", line)
    with pytest.raises(VerifyError, match="something broke"):
        check.ports(switch, "br-ovs")
