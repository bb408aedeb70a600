"""Every traffic between real guests and the host: figures, offloads, and the error of nothing.

Speeds are not judged here: other tests may run beside.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path as File
from typing import Any

import pytest

from orrery.guest import choose
from orrery.guest.lifecycle import Guests
from orrery.measure.runner import TrialError
from orrery.network import offloads, traffic
from orrery.network.backends import Backend
from orrery.network.layout import Layout
from orrery.network.offloads import Interface
from orrery.network.places import GuestPlace, HostPlace, host_busy_s
from orrery.network.scenario import Direction, NetScenario, Offloads, Path, Traffic
from orrery.network.traffic import rfc2544
from orrery.network.traffic.trial import Ends
from orrery.state import LabState, StateFile
from tests.integration.guest.conftest import Running

pytestmark = [pytest.mark.root, pytest.mark.lab]

Pair = tuple[GuestPlace, GuestPlace]

KINDS: dict[str, dict[str, Any]] = {
    "one stream": {"traffic": Traffic.TCP, "streams": 1},
    "thirty streams back": {
        "traffic": Traffic.TCP,
        "streams": 30,
        "direction": Direction.BACKWARD,
    },
    "both ways": {"traffic": Traffic.TCP, "streams": 1, "direction": Direction.BOTH},
    "smallest frames": {"traffic": Traffic.UDP, "frame": "64"},
    "largest frames": {"traffic": Traffic.UDP, "frame": "1518"},
    "mix of frames": {"traffic": Traffic.UDP, "frame": "imix"},
    "percentiles": {"traffic": Traffic.LATENCY},
    "ping": {"traffic": Traffic.PING},
}
SOMETIMES = {"forward", "backward"}


def scenario(path: Path = Path.GUEST_GUEST, **values: Any) -> NetScenario:
    made = NetScenario(backend=Backend.VHOST_USER, path=path, seconds=1, **values)
    made.check()
    return made


@pytest.fixture(scope="module")
def module_guests(lab_state_path: File) -> Guests:
    return Guests(StateFile(lab_state_path).read())


@pytest.fixture(scope="module")
def three(module_guests: Guests) -> Iterator[list[GuestPlace]]:
    """Three guests on vhost-user for the whole file, the last one in another VLAN."""
    tags = {"tr-near": None, "tr-far": None, "tr-apart": 200}
    wishes = [
        choose.wish(module_guests, name, backend=Backend.VHOST_USER, people=False, vlan=tag)
        for name, tag in tags.items()
    ]
    try:
        with ThreadPoolExecutor(max_workers=len(wishes)) as pool:
            entries = list(pool.map(module_guests.start, wishes))
        yield [GuestPlace(module_guests, entry) for entry in entries]
    finally:
        for name in tags:
            if module_guests.registry.of(name).exists():
                module_guests.stop(name)


@pytest.fixture
def pair(three: list[GuestPlace]) -> Pair:
    """Two of one VLAN."""
    return three[0], three[1]


@pytest.fixture
def apart(three: list[GuestPlace]) -> GuestPlace:
    """One of another VLAN."""
    return three[2]


@pytest.fixture(params=["guest", "host"])
def far(request: pytest.FixtureRequest, pair: Pair, lab_state: LabState) -> Any:
    """The other end: the second guest, or the host."""
    if request.param == "guest":
        return pair[1]
    return HostPlace.of(lab_state, Backend.VHOST_USER)


@pytest.mark.parametrize("kind", KINDS)
def test_every_traffic_gives_its_metrics(
    kind: str, pair: Pair, far: Any, lab_state: LabState
) -> None:
    path = Path.GUEST_GUEST if isinstance(far, GuestPlace) else Path.GUEST_HOST
    what = scenario(path, **KINDS[kind])
    if reason := traffic.missing(what, lab_state):
        pytest.skip(f"not here: {reason}")
    found = traffic.measure(what, pair[0], far, host_busy_s)
    units = traffic.UNITS[what.traffic]
    assert set(found) >= set(units) - SOMETIMES
    assert set(found) <= set(units)
    assert found[traffic.primary(what.traffic)] > 0
    assert all(value >= 0 for value in found.values())


def test_a_step_of_a_search_goes_at_the_rate_that_it_is_asked_for(pair: Pair) -> None:
    ends = Ends(*pair)
    with ends.held():
        ends.acquaint()
        counts = rfc2544.seam(ends, "512")(1.0, 500)
    assert 400 <= counts.sent <= 501
    # Other tests may run beside, so that some may be lost.
    assert 0 < counts.received <= counts.sent


def test_no_server_and_no_program_stays_behind(pair: Pair) -> None:
    for place in pair:
        left = place.run(["ps", "-o", "comm"], 10).stdout.split()
        assert not {"iperf3", "sockperf", "orrery-probe"} & set(left)


def test_offloads_are_switched_off_read_back_and_put_back(
    running: Running, guests: Guests, lab_state: LabState
) -> None:
    space = Layout.of(lab_state).namespace
    with running({"tr-off": {"backend": Backend.VIRTIO_NET, "people": False}}) as (entry,):
        guest = GuestPlace(guests, entry)
        host = HostPlace.of(lab_state, Backend.VIRTIO_NET)
        header = offloads.tap_vnet_hdr(space, entry.port)
        both = [
            Interface.of_guest(guest, vnet_hdr=header),
            Interface.of_host(space, host.interface),
        ]
        before = [one.read() for one in both]
        assert (before[0].tso, before[0].tx_checksum, before[0].vnet_hdr) == (True, True, True)
        with offloads.settled(Offloads.NONE, both) as found:
            assert set(found) == {"eth0 in guest tr-off", "br-lan in the lab's namespace"}
            for state in found.values():
                assert offloads.equal(state, offloads.OFF)
            assert [one.read() for one in both] == list(found.values())
            what = NetScenario(
                Backend.VIRTIO_NET, Path.GUEST_HOST, Traffic.TCP, seconds=1, streams=1
            )
            assert traffic.measure(what, guest, host, host_busy_s)["throughput"] > 0
        assert [one.read() for one in both] == before
        with offloads.settled(Offloads.NATIVE, both) as found:
            assert list(found.values()) == before


@pytest.mark.parametrize("kind", [Traffic.TCP, Traffic.UDP, Traffic.LATENCY])
def test_guests_of_different_vlans_give_an_error_and_no_zero(
    kind: Traffic, apart: GuestPlace, pair: Pair
) -> None:
    needed: dict[Traffic, dict[str, Any]] = {
        Traffic.TCP: {"streams": 1},
        Traffic.UDP: {"frame": "64"},
    }
    what = scenario(traffic=kind, **needed.get(kind, {}))
    began = time.monotonic()
    with pytest.raises(TrialError, match=r"from guest tr-near to guest tr-apart .* VLAN tags"):
        traffic.measure(what, pair[0], apart, host_busy_s)
    assert time.monotonic() - began < 10
