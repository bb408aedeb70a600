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
