"""What ethtool, /proc/interrupts and the switch count comes together by queue pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery.errors import GuestError
from orrery.guest import queues
from orrery.network.switch import PolledQueue

CHANNELS = """Channel parameters for eth0:
Pre-set maximums:
RX:		n/a
TX:		n/a
Other:		n/a
Combined:	4
Current hardware settings:
RX:		n/a
TX:		n/a
Other:		n/a
Combined:	2
"""
STATISTICS = """NIC statistics:
     rx_queue_0_packets: 11
     rx_queue_0_bytes: 900
     tx_queue_0_packets: 12
     rx_queue_1_packets: 3
     tx_queue_1_packets: 4
"""
INTERRUPTS = """           CPU0       CPU1
 24:          0          9   PCI-MSI 65536-edge      virtio1-config
 25:        100          0   PCI-MSI 65537-edge      virtio1-input.0
 26:          1         50   PCI-MSI 65538-edge      virtio1-output.0
 27:          0          7   PCI-MSI 65539-edge      virtio1-input.1
 30:          5          5   PCI-MSI 81921-edge      virtio2-input.0
"""
COUNTERS = {"rx_q0_good_packets": 12, "rx_q1_good_packets": 4, "tx_q0_good_packets": 11}


def look() -> tuple[queues.QueueRow, ...]:
    return queues.rows(
        *queues.parse_channels(CHANNELS),
        queues.parse_packets(STATISTICS),
        queues.parse_interrupts(INTERRUPTS, "virtio1"),
        queues.host_packets(COUNTERS),
        [PolledQueue("vh-a", 0, 1, True)],
    )


def test_a_row_holds_both_sides_of_a_queue_pair() -> None:
    first = look()[0]
    assert (first.enabled, first.core) == (True, 1)
    assert (first.rx_packets, first.tx_packets, first.host_packets) == (11, 12, 12)
    assert first.interrupts == (101, 50)


def test_queues_that_the_guest_left_off_are_rows_too() -> None:
    assert [row.enabled for row in look()] == [True, True, False, False]
    assert look()[2].core == queues.NO_CORE


def test_another_device_is_left_out() -> None:
    second = look()[1]
    assert second.interrupts == (0, 7)
    assert second.core == queues.NO_CORE


def test_a_backend_that_the_switch_does_not_see_counts_nothing_there() -> None:
    rows = queues.rows(1, 1, {}, {}, {}, [])
    assert rows[0].host_packets == -1


def test_an_ethtool_without_channels_is_an_error() -> None:
    with pytest.raises(GuestError, match="says nothing of queue pairs"):
        queues.parse_channels("netlink error: Operation not supported\n")


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    found = queues.Queues("a", "vhost-user", 4, 2, look())
    queues.draw(found, tmp_path / "q.png")
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")
    assert queues.label(found.rows[3]) == "queue 3\nno PMD\n(off)"
