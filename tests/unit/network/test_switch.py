"""What ovs-vsctl, ovs-appctl and the switch's log say is read as it is meant."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from orrery.errors import HostError
from orrery.network import switch

POLLED = """Displaying last 60 seconds pmd usage %
pmd thread numa_id 0 core_id 1:
  isolated : false
  port: vh-a              queue-id:  0 (enabled)   pmd usage:  0 %
  port: vh-a              queue-id:  1 (disabled)  pmd usage:  0 %
  overhead:  0 %
pmd thread numa_id 0 core_id 3:
  isolated : false
  port: vh-b              queue-id:  0 (enabled)   pmd usage: NOT AVAIL
"""

LOG = """2026-11-25T00:33:19Z|00001|vlog|INFO|opened log file
2026-11-25T00:33:19Z|00014|dpdk|ERR|EAL: from an earlier run
2026-11-25T00:35:19Z|00001|vlog|INFO|opened log file
2026-11-25T00:35:20Z|00016|dpdk|INFO|VHOST_CONFIG: read message VHOST_USER_SET_VRING_ERR
2026-11-25T00:35:21Z|00020|netdev_dpdk|ERR|Failed to create mempool "ovs1"
2026-11-25T00:35:22Z|00001|netdev_dpdk(ovs_vhost2)|INFO|first line of another thread
2026-11-25T00:35:23Z|00021|bridge|EMER|gone
"""


def test_every_polled_queue_has_its_core() -> None:
    assert switch.parse_polled(POLLED) == [
        switch.PolledQueue("vh-a", 0, 1, True),
        switch.PolledQueue("vh-a", 1, 1, False),
        switch.PolledQueue("vh-b", 0, 3, True),
    ]


def test_custom_counters_of_a_port_are_read() -> None:
    text = """OFPST_PORT reply (OF1.4) (xid=0x4): 1 ports
  port  9: rx pkts=4, bytes=336, drop=0, errs=?, frame=?, over=?, crc=?
           CUSTOM Statistics
                      ovs_tx_retries=0, rx_q0_good_packets=5,
                      rx_q1_good_packets=4,
"""
    assert switch.parse_counters(text) == {
        "ovs_tx_retries": 0,
        "rx_q0_good_packets": 5,
        "rx_q1_good_packets": 4,
    }


def test_a_port_says_what_it_has_received_and_sent_and_leaves_out_what_it_does_not_count() -> None:
    text = """OFPST_PORT reply (OF1.4) (xid=0x2): 1 ports
  port  "vh-a": rx pkts=4, bytes=336, drop=1, errs=?, frame=?, over=?, crc=?
           tx pkts=5, bytes=400, drop=2, errs=0, coll=?
           duration=12.5s
           CUSTOM Statistics
                      ovs_tx_failure_drops=2, rx_q0_good_packets=5,
"""
    assert switch.parse_totals(text) == {
        "rx_packets": 4,
        "rx_bytes": 336,
        "rx_dropped": 1,
        "tx_packets": 5,
        "tx_bytes": 400,
        "tx_dropped": 2,
        "tx_errors": 0,
    }
    assert switch.parse_totals("nothing") == {}


def test_errors_are_those_of_the_last_run_and_of_their_level_only() -> None:
    errors = switch.parse_errors(LOG)
    assert [line.split("|")[3] for line in errors] == ["ERR", "EMER"]
    assert "earlier run" not in "".join(errors)


def test_a_log_without_a_first_line_counts_as_a_whole() -> None:
    assert switch.parse_errors("x|00009|dpdk|ERR|rotated away\n") == [
        "x|00009|dpdk|ERR|rotated away"
    ]


def test_sets_maps_and_uuids_of_a_table_become_plain_values() -> None:
    table = {
        "headings": ["_uuid", "name", "tag", "ports", "statistics"],
        "data": [
            [
                ["uuid", "u1"],
                "br",
                ["set", []],
                ["set", [["uuid", "p1"], ["uuid", "p2"]]],
                ["map", [["rx", 3]]],
            ]
        ],
    }
    assert switch.parse_rows(json.dumps(table)) == [
        {"_uuid": "u1", "name": "br", "tag": [], "ports": ["p1", "p2"], "statistics": {"rx": 3}}
    ]
    assert switch.parse_rows("") == []


@pytest.fixture
def this(tmp_path: Path) -> switch.Switch:
    log = tmp_path / "log"
    log.write_text(LOG)
    return switch.Switch("unix:/nowhere/db.sock", "/nowhere/ctl", log, tmp_path)


def test_a_missing_mempool_is_explained_by_the_driver_that_is_missing(this: switch.Switch) -> None:
    assert "librte-mempool-ring" in this.why()
    assert "hugepages_count" in this.why()


def test_a_log_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    gone = switch.Switch("unix:/nowhere", "/nowhere", tmp_path / "none", tmp_path)
    with pytest.raises(HostError, match="none: No such file"):
        gone.errors()


def test_allowed_errors_are_left_out(this: switch.Switch) -> None:
    quiet = replace(this, log_allowed=(r"\|netdev_dpdk\|ERR\|", r"\|bridge\|EMER\|"))
    assert quiet.errors() == []
    assert quiet.why() == ""


def test_the_process_is_the_one_that_listens(this: switch.Switch, tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert replace(this, control=str(path)).pid() == os.getpid()
    with pytest.raises(HostError, match="the switch does not answer"):
        replace(this, control=str(path)).pid()


class Scripted(switch.Switch):
    """A switch whose programs answer from a list; `said` is what they were asked."""

    def vsctl(self, *words: str, wait: bool = True) -> str:
        SAID.append(words)
        return next((text for key, text in ANSWERS.items() if key in " ".join(words)), "")


SAID: list[tuple[str, ...]] = []
ANSWERS: dict[str, str] = {}


@pytest.fixture
def scripted(tmp_path: Path) -> switch.Switch:
    SAID.clear()
    ANSWERS.clear()
    (tmp_path / "log").write_text(LOG)
    ANSWERS["list Bridge"] = json.dumps(
        {
            "headings": ["name", "datapath_type", "external_ids", "ports"],
            "data": [
                ["br-z", "", ["map", []], ["set", [["uuid", "p1"], ["uuid", "p2"]]]],
                ["br-a", "netdev", ["map", [["k", "v"]]], ["uuid", "p3"]],
            ],
        }
    )
    names = [[["uuid", "p1"], "br-z"], [["uuid", "p2"], "tap-x"], [["uuid", "p3"], "br-a"]]
    ANSWERS["list Port"] = json.dumps({"headings": ["_uuid", "name"], "data": names})
    return Scripted("unix:/nowhere/db.sock", "/nowhere/ctl", tmp_path / "log", tmp_path)


def test_bridges_have_their_datapath_marks_and_ports(scripted: switch.Switch) -> None:
    assert scripted.bridges() == [
        switch.Bridge("br-a", "netdev", {"k": "v"}, ("br-a",)),
        switch.Bridge("br-z", "system", {}, ("br-z", "tap-x")),
    ]


def test_a_bridge_is_added_with_its_marks_unless_the_name_is_taken(scripted: switch.Switch) -> None:
    ANSWERS["datapath_id"] = '"0000d6f48f7d574c"'
    scripted.add_bridge("br-n", datapath="netdev", marks={"k": "v"})
    assert (
        *("add-br", "br-n", "--", "set", "Bridge", "br-n"),
        *("datapath_type=netdev", "external_ids:k=v"),
    ) in SAID
    for taken in ("br-a", "tap-x"):
        with pytest.raises(HostError, match=f"has a bridge or port {taken} already"):
            scripted.add_bridge(taken, datapath="netdev", marks={})


def test_a_bridge_that_the_switch_silently_does_not_make_is_removed(
    scripted: switch.Switch,
) -> None:
    ANSWERS["datapath_id"] = "[]"
    (scripted.log).write_text("x|00001|vlog|INFO|x\nx|00002|bridge|ERR|failed to create bridge\n")
    with pytest.raises(HostError, match=r"br-n: .* on the datapath 'system'.*failed to create"):
        scripted.add_bridge("br-n", datapath="system", marks={})
    assert SAID[-1] == ("--if-exists", "del-br", "br-n")


def test_traffic_of_a_port_is_what_it_received_and_sent(
    this: switch.Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """OFPST_PORT reply (OF1.4) (xid=0x4): 1 ports
  port  "up-a": rx pkts=4, bytes=336, drop=0, errs=?, frame=?, over=?, crc=?
           tx pkts=5, bytes=400, drop=0, errs=?, coll=?
           duration=12.5s
"""
    monkeypatch.setattr(switch.Switch, "_dumped", lambda *_: text)
    assert this.traffic("under-a", "up-a") == (9, 736)
    monkeypatch.setattr(switch.Switch, "_dumped", lambda *_: "nothing")
    with pytest.raises(HostError, match="port up-a of under-a has no counters: nothing"):
        this.traffic("under-a", "up-a")
