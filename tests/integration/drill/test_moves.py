"""Real guests move between two QEMUs on the lab's switch, and what was felt of it is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from orrery.drill import access
from orrery.drill.home import SIDES, Home, Kind
from orrery.drill.scenario import Announcer, DrillScenario, Fault, Flows, Help, Storage
from orrery.drill.states import Outcome
from orrery.drill.subject import Drill
from orrery.errors import ConfigurationError
from orrery.guest.lifecycle import Guests
from orrery.guest.registry import alive
from orrery.network.backends import Backend
from orrery.network.layout import switch
from orrery.network.scenario import Overlay

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(240)]

IDLE = DrillScenario(memory_mb=256, downtime_ms=10, before_s=2, after_s=2)
TRIES = 5
TWO_QUEUES = replace(IDLE, queues=2, fault=Fault.FEWER_QUEUES)


@contextlib.contextmanager
def drilling(guests: Guests) -> Iterator[tuple[Drill, list[dict[str, Any]]]]:
    lines: list[dict[str, Any]] = []
    with Drill(guests, print, lambda _, line: lines.append(dict(line))) as drill:
        yield drill, lines


def test_a_guest_moves_to_and_fro_and_nothing_is_lost_or_left(guests: Guests) -> None:
    with drilling(guests) as (drill, lines):
        for _ in range(2):
            found = drill.trial(IDLE)
            assert found["converged"] == 1
            assert found["lost_bytes"] == found["damaged_pages"] == 0
            assert 0 < found["qemu_downtime"] < 2000
            assert found["paused"] <= found["network_gap"] + 1
            assert found["announced"] > 0
        assert [(one["source"], one["target"]) for one in lines] == [SIDES, SIDES[::-1]]
        for line in lines:
            # What the source's port has counted is gone with its QEMU.
            (reached,) = line["ports"]
            assert (reached["side"], reached["port"]) == ("destination", f"vh-{line['target']}")
            # Packets to the guest and from it went through it after the switch-over.
            for way in ("rx_packets", "tx_packets"):
                assert reached["added"][way] > 100
        assert not drill.leaks
    ports = [port.name for port in switch(guests.state).ports() if port.guest in SIDES]
    assert not ports
    assert not [name for name in guests.registry.processes().values() if name in SIDES]


def test_memory_that_is_written_meanwhile_arrives_as_it_was_written(guests: Guests) -> None:
    busy = replace(IDLE, dirty_mb=64, dirty_mbps=10, flows=Flows.INWARD)
    with drilling(guests) as (drill, lines):
        found = drill.trial(busy)
        assert found["damaged_pages"] == 0
        assert found["dirty_rate"] > 1
        assert lines[0]["rounds"]


def test_a_guest_can_announce_itself(guests: Guests) -> None:
    scenario = replace(IDLE, announcer=Announcer.GUEST, flows=Flows.INWARD)
    with drilling(guests) as (drill, _):
        assert drill.trial(scenario)["announced"] > 0


def test_a_destination_that_dies_leaves_the_guest_serving_where_it_was(guests: Guests) -> None:
    scenario = replace(IDLE, fault=Fault.TARGET_DIES, bandwidth_mbps=20, limit_s=30)
    with drilling(guests) as (drill, lines):
        found = drill.trial(scenario)
        assert found["lost_bytes"] == 0
        assert lines[0]["outcome"] == Outcome.FAILED
        # And it moves when nothing is in the way.
        assert drill.trial(IDLE)["converged"] == 1


def test_other_queues_are_refused_before_anything_is_started(guests: Guests) -> None:
    with Home(guests, Kind.of(IDLE)) as home:
        before = home.entry.pid
        other = Home(guests, replace(Kind.of(IDLE), queues=2))
        other.take(home.entry)
        with pytest.raises(ConfigurationError, match="queue pairs: source 1, destination 2"):
            other.receive()
        assert alive(before)
        assert not guests.registry.of(SIDES[1]).exists()


def test_by_the_return_path_the_source_hears_that_the_destination_has_fewer_queues(
    guests: Guests,
) -> None:
    with drilling(guests) as (drill, lines):
        drill.trial(TWO_QUEUES)
        assert lines[0]["outcome"] == Outcome.FAILED


def test_without_it_the_guest_is_down_on_both_sides_and_is_brought_back(guests: Guests) -> None:
    with drilling(guests) as (drill, lines):
        for _ in range(TRIES):
            drill.trial(replace(TWO_QUEUES, return_path=False))
            if lines[-1]["outcome"] == Outcome.RESCUED:
                break
        # A destination that ends before the source has sent its last byte is noticed by the
        # broken connection; the source goes on by itself then.
        assert {line["outcome"] for line in lines[:-1]} <= {Outcome.FAILED}
        assert lines[-1]["outcome"] == Outcome.RESCUED
        assert "the source says completed" in lines[-1]["why"]


@pytest.mark.parametrize("storage", list(Storage))
def test_a_disk_that_is_written_to_comes_along(guests: Guests, storage: Storage) -> None:
    with drilling(guests) as (drill, _):
        for _ in range(2):
            assert drill.trial(replace(IDLE, storage=storage))["damaged_pages"] == 0


@pytest.mark.parametrize(
    "shape",
    [{"queues": 2}, {"overlay": Overlay.VLAN}, {"overlay": Overlay.VXLAN}],
    ids=["queues", "vlan", "vxlan"],
)
def test_a_guest_of_another_shape_moves_as_well(guests: Guests, shape: dict[str, Any]) -> None:
    with drilling(guests) as (drill, _):
        found = drill.trial(replace(IDLE, **shape))
        assert found["converged"] == 1
        assert found["lost_bytes"] == 0
    assert switch(guests.state).port(access.PORT) is None


def test_memory_may_follow_a_guest_on_a_tap(guests: Guests) -> None:
    # QEMU copies every packet to and from a tap: under TCG one direction is what it can do.
    tap = replace(IDLE, backend=Backend.VIRTIO_NET_OVS, flows=Flows.INWARD)
    # More than the link carries, so that there is something to follow.
    busy = replace(tap, dirty_mb=64, dirty_mbps=40, pattern="byte", bandwidth_mbps=20)
    scenario = replace(busy, help=Help.POSTCOPY)
    with drilling(guests) as (drill, lines):
        assert drill.trial(scenario)["damaged_pages"] == 0
        assert "memory after the switch-over" in [one["name"] for one in lines[0]["phases"]]
