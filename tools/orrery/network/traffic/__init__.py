"""What is sent between two places, and the figures of one trial of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path as File

from orrery.errors import ConfigurationError
from orrery.network.places import PROBE, Place
from orrery.network.scenario import Direction, NetScenario, Path, Traffic
from orrery.network.traffic import latency, netperf, rfc2544, tcp, udp
from orrery.network.traffic.trial import Ends
from orrery.state import LabState

UNITS: Mapping[Traffic, Mapping[str, str]] = {
    Traffic.TCP: tcp.UNITS,
    Traffic.UDP: udp.UNITS,
    Traffic.LATENCY: latency.UNITS,
    Traffic.PING: latency.PING_UNITS,
    Traffic.NETPERF: netperf.UNITS,
    Traffic.RFC2544: rfc2544.UNITS,
    Traffic.FORWARD: {"rate": "packets/s"},
}
"""Unit of each metric of each traffic; the first one is the primary metric."""


@dataclass(frozen=True)
class Programs:
    """What has to be at each end."""

    near: tuple[str, ...]
    far: tuple[str, ...]


_PROGRAMS = {
    Traffic.TCP: Programs(("iperf3",), ("iperf3",)),
    Traffic.UDP: Programs((PROBE, "ping"), (PROBE,)),
    Traffic.LATENCY: Programs(("sockperf",), ("sockperf",)),
    Traffic.PING: Programs(("ping",), ()),
    Traffic.NETPERF: Programs(("netperf",), ("netserver",)),
    Traffic.RFC2544: Programs((PROBE, "ping"), (PROBE,)),
    Traffic.FORWARD: Programs((), ()),
}
_IN_EVERY_GUEST = {"iperf3", "sockperf", "ping", PROBE}
_PEER_HAS = {"iperf3", "sockperf"}
_PACKAGE = {"netserver": "netperf"}


def primary(traffic: Traffic) -> str:
    """The metric by which a scenario is judged."""
    return next(iter(UNITS[traffic]))


def programs(scenario: NetScenario) -> Programs:
    """What a scenario needs at its ends."""
    return _PROGRAMS[scenario.traffic]


def missing(scenario: NetScenario, state: LabState) -> str:
    """Why there is no program for a scenario here; empty where there is."""
    needed = programs(scenario)
    if reason := _missing_in_guests(needed.near, state):
        return reason
    if scenario.path is Path.GUEST_GUEST:
        return _missing_in_guests(needed.far, state)
    if scenario.path is Path.GUEST_HOST:
        return _missing_on_host(needed.far)
    if scenario.path is Path.GUEST_PEER and (lacks := set(needed.far) - _PEER_HAS):
        return (
            f"{scenario.traffic} needs {' and '.join(sorted(lacks))} at the far end, and a LAN "
            "peer has iperf3 and sockperf only. Measure it from guest to guest or to the host."
        )
    return ""


def measure(
    scenario: NetScenario, near: Place, far: Place, host_busy: Callable[[], float]
) -> dict[str, float]:
    """One trial: servers are started for it at the far end, and gone afterwards.

    Args:
        scenario: What is sent.
        near: Where clients run; the guest, or the first of two.
        far: Where servers run.
        host_busy: Processor time of the host so far [s].

    Returns:
        Value by metric, in the units of `UNITS`.

    Raises:
        TrialError: Nothing came through, with likely causes.
        ConfigurationError: The traffic is none between two places.
        GuestError, HostError: A guest or a program is gone.
    """
    ends = Ends(near, far, host_busy)
    seconds, frame = scenario.seconds, scenario.frame or ""
    match scenario.traffic:
        case Traffic.TCP:
            streams, direction = scenario.streams or 1, scenario.direction or Direction.FORWARD
            return tcp.measure(ends, seconds=seconds, streams=streams, direction=direction)
        case Traffic.UDP:
            return udp.measure(ends, seconds=seconds, frame=frame)
        case Traffic.LATENCY:
            return latency.measure(ends, seconds=seconds)
        case Traffic.PING:
            return latency.ping(ends, seconds=seconds)
        case Traffic.NETPERF:
            return netperf.measure(ends, seconds=seconds)
        case Traffic.RFC2544:
            return rfc2544.measure(ends, seconds=seconds, frame=frame, loss=scenario.loss or 0.0)
        case Traffic.FORWARD:
            raise ConfigurationError(
                f"scenario '{scenario.name}': traffic forward goes round between ports of a "
                "bridge, not between two places"
            )


def _missing_in_guests(names: tuple[str, ...], state: LabState) -> str:
    unusual = [name for name in names if name not in _IN_EVERY_GUEST]
    if not unusual:
        return ""
    packages = _packages(state)
    lacks = [name for name in unusual if _PACKAGE.get(name, name) not in packages]
    if not lacks:
        return ""
    return (
        f"the guest's image holds no {' and no '.join(lacks)}. Debian has it in non-free and "
        "Ubuntu in multiverse: add it to packages and programs in roles/guest_image/files/"
        "contents.toml, then run ./lab up."
    )


def _packages(state: LabState) -> Mapping[str, str]:
    """Versions of the packages in the guest's image; empty where there is none."""
    image = state.facts.get("guest_image")
    if not isinstance(image, dict):
        return {}
    try:
        text = (File(str(image["folder"])) / "manifest.json").read_text(encoding="utf-8")
        return dict(json.loads(text)["packages"])
    except (OSError, ValueError, LookupError):
        return {}


def _missing_on_host(names: tuple[str, ...]) -> str:
    lacks = [name for name in names if name != PROBE and shutil.which(name) is None]
    if not lacks:
        return ""
    if "netserver" in lacks:
        return (
            "the host has no netserver, and apt knows no package netperf unless non-free (Debian) "
            "or multiverse (Ubuntu) is among its sources: add that, then run ./lab up."
        )
    return f"the host has no {' and no '.join(lacks)}: run ./lab up"
