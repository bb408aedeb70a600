"""The subject of a comparison: has what a scenario needs, measures one trial, mends what died."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orrery.bench.bed import Bed, Kind, Pair
from orrery.errors import ConfigurationError, OrreryError
from orrery.guest.lifecycle import Guests
from orrery.guest.wiring import own_bridge
from orrery.network import backends, conditions, engine, offloads, pvp, traffic
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import Layout, switch
from orrery.network.offloads import Interface, OffloadState
from orrery.network.places import HostPlace, PeerPlace, Place, host_busy_s
from orrery.network.scenario import NetScenario, Offloads, Path
from orrery.state import LabState

WARM_UP_S = 1
FORWARDING = (Path.ENGINE, Path.PVP)
"""Paths with testpmd at their ends."""
SWITCH_TIMEOUT_S = 60.0
POLLED = (Backend.VHOST_USER, Backend.ENGINE_VHOST_USER)
"""Backends whose packets a PMD moves."""
LONG_SLEEP_US = 10_000
"""The longest sleep that Open vSwitch lets an idle PMD have."""
PEERS = "lan_peers"
"""Fact with the addresses of a machine on the LAN that serves, from `lab_lan_peers`."""


@dataclass
class Settled:
    """Offloads that hold on the path of a pair until others are wanted."""

    offloads: Offloads
    path: Path
    found: Mapping[str, OffloadState]
    stack: contextlib.ExitStack


class Bench:
    """Measures network scenarios (a `Subject`). To be used in a `with` block."""

    def __init__(self, guests: Guests, say: Callable[[str], object]) -> None:
        self._guests = guests
        self._say = say
        self._bed = Bed(guests)
        self._settled: dict[Kind, Settled] = {}

    def __enter__(self) -> Bench:
        self._bed.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._settled.clear()
        self._bed.__exit__(*error)

    def keep(self, scenarios: tuple[NetScenario, ...]) -> None:
        """Be without guests and engines that none of these needs."""
        needed = {Kind.of(one) for one in scenarios}
        for kind in [kind for kind in self._settled if kind not in needed]:
            self._unsettle(kind)
        self._bed.keep(scenarios)

    def missing(self, scenario: NetScenario) -> str:
        """Why a scenario cannot run here; empty where it can."""
        return missing(scenario, self._guests.state)

    def prepare(self, scenario: NetScenario) -> None:
        """Start what a scenario needs and send for a second, which does not count.

        Raises:
            ConfigurationError, HostError, GuestError, MeasurementError: It cannot be had.
        """
        self.trial(dataclasses.replace(scenario, seconds=min(WARM_UP_S, scenario.seconds)))

    def trial(self, scenario: NetScenario) -> dict[str, float]:
        """Measure once.

        Raises:
            TrialError: Nothing came through.
            HostError, GuestError: Something died.
        """
        state = self._guests.state
        with conditions.pmd_sleep(state, self._sleep_us(scenario)):
            if scenario.path in FORWARDING:
                frame = int(scenario.frame or 0)
                return {"rate": self._bed.engine(scenario).trial(scenario.seconds, frame)}
            pair = self._bed.pair(scenario)
            self._settle(scenario, pair)
            if pair.laid is not None:
                pair.laid.hold()
            return traffic.measure(scenario, pair.near, self._far(scenario, pair), host_busy_s)

    def conditions(self, scenario: NetScenario) -> dict[str, Any]:
        """What is on, as read back.

        Raises:
            HostError, GuestError: Something does not answer.
        """
        if scenario.path in FORWARDING:
            return self._bed.engine(scenario).conditions()
        pair = self._bed.pair(scenario)
        near, far = pair.entries
        with conditions.pmd_sleep(self._guests.state, self._sleep_us(scenario)):
            found: dict[str, Any] = {"near": conditions.of_guest(self._guests, near)}
            if scenario.path is Path.GUEST_GUEST:
                found["far"] = conditions.of_guest(self._guests, far)
            found["switch"] = conditions.of_switch(self._guests.state)
        states = self._settled[Kind.of(scenario)].found
        found["offloads"] = {where: state.as_mapping() for where, state in states.items()}
        if pair.laid is not None:
            found["overlay"] = str(pair.laid.kind)
        return found

    def mend(self, scenario: NetScenario, error: OrreryError) -> None:
        """Be without what died; the next trial starts it anew.

        Raises:
            HostError: The switch does not come back.
        """
        reason = str(error).splitlines()[0]
        self._say(f"a trial is dropped ({label(scenario)}): {reason}")
        switch(self._guests.state).await_pid(SWITCH_TIMEOUT_S)
        self._bed.mend()
        kind = Kind.of(scenario)
        if scenario.path not in FORWARDING:
            # Whatever it was: new guests, with new servers in them, do not have it.
            self._unsettle(kind)
            self._bed.drop(kind)
        for gone in [one for one in self._settled if not self._bed.has(one)]:
            self._unsettle(gone)

    def _sleep_us(self, scenario: NetScenario) -> int | None:
        """Longest sleep of an idle PMD during a trial [us]; None for what the lab has.

        Ports of guests that wait for their turn are polled all the time. Where no PMD has a part in
        what is measured, that would be charged to a path that does not need it.
        """
        ovs = self._guests.state.facts.get("ovs")
        if scenario.pmd_sleep_us is not None or scenario.backend in POLLED or not ovs:
            return scenario.pmd_sleep_us
        return LONG_SLEEP_US if conditions.sleep_key(str(ovs["version"])) else None

    def _far(self, scenario: NetScenario, pair: Pair) -> Place:
        if scenario.path is Path.GUEST_GUEST:
            return pair.far
        if scenario.path is Path.GUEST_HOST:
            return HostPlace.of(self._guests.state, scenario.backend)
        return PeerPlace(peer_of(self._guests.state, scenario))

    def _settle(self, scenario: NetScenario, pair: Pair) -> None:
        """Have the scenario's offloads on its path, from now until others are wanted."""
        kind = Kind.of(scenario)
        now = self._settled.get(kind)
        if now and (now.offloads, now.path) == (scenario.offloads, scenario.path):
            return
        self._unsettle(kind)
        with contextlib.ExitStack() as stack:
            wanted = offloads.settled(scenario.offloads, self._interfaces(scenario, pair))
            found = stack.enter_context(wanted)
            self._settled[kind] = Settled(scenario.offloads, scenario.path, found, stack.pop_all())

    def _unsettle(self, kind: Kind) -> None:
        found = self._settled.pop(kind, None)
        if found is not None:
            # Guests that died take their offloads along.
            with contextlib.suppress(OrreryError):
                found.stack.close()

    def _interfaces(self, scenario: NetScenario, pair: Pair) -> list[Interface]:
        namespace = Layout.of(self._guests.state).namespace
        places = [pair.near, pair.far] if scenario.path is Path.GUEST_GUEST else [pair.near]
        found = []
        for place in places:
            vnet_hdr = None
            if PATHS[scenario.backend].tap:
                vnet_hdr = offloads.tap_vnet_hdr(namespace, place.entry.port)
            found.append(Interface.of_guest(place, vnet_hdr=vnet_hdr))
        if scenario.path is Path.GUEST_HOST:
            host = HostPlace.of(self._guests.state, scenario.backend)
            found.append(Interface.of_host(namespace, host.interface))
        return found


def missing(scenario: NetScenario, state: LabState) -> str:
    """Why a scenario cannot run on this host; empty where it can."""
    if scenario.path is Path.ENGINE:
        return engine.missing(state, scenario.backend, scenario.frame or "")
    if scenario.path is Path.PVP:
        return pvp.missing(state, scenario.backend, scenario.frame or "")
    if scenario.path is Path.GUEST_PEER and not _peers(state):
        return (
            "there is no machine on the LAN that serves: start iperf3 -s and sockperf sr on one, "
            "set lab_lan_peers to its addresses, then run ./lab up"
        )
    reason = backends.missing(scenario.backend, state) or traffic.missing(scenario, state)
    if not reason and scenario.path is Path.GUEST_PEER:
        try:
            peer_of(state, scenario)
        except ConfigurationError as error:
            return str(error)
    return reason


def peer_of(state: LabState, scenario: NetScenario) -> str:
    """Address of the machine on the LAN that a scenario's guests reach.

    Raises:
        ConfigurationError: None of the peer's addresses is in the guests' network.
    """
    network = ipaddress.IPv4Interface(own_bridge(state, scenario.backend)[1]).network
    for peer in _peers(state):
        if ipaddress.IPv4Address(peer) in network:
            return peer
    raise ConfigurationError(
        f"no address of lab_lan_peers ({', '.join(_peers(state))}) is in {network}, where guests "
        f"on {scenario.backend} are. Give the machine one there, and its port to the bridge."
    )


def equal_offloads(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Whether the conditions of two scenarios have equal offloads; None where that is not known."""
    sides = [_offloads(one), _offloads(other)]
    if not all(sides):
        return None
    # Interfaces have other names on another path: the worst of each side counts.
    return offloads.equal(*(_together(side) for side in sides))


def label(scenario: NetScenario) -> str:
    """A scenario in few words."""
    words: list[str] = [scenario.backend, scenario.traffic, scenario.path]
    words += [f"{scenario.frame} B" if str(scenario.frame).isdigit() else scenario.frame or ""]
    words += [str(scenario.overlay or "")]
    words += [f"offloads {scenario.offloads}" if PATHS[scenario.backend].vnet_hdr else ""]
    return ", ".join(word for word in words if word)


def _peers(state: LabState) -> list[str]:
    return [str(one) for one in (state.facts.get("network") or {}).get(PEERS) or ()]


def _offloads(found: Mapping[str, Any]) -> list[OffloadState]:
    states = found.get("offloads")
    if states == "none":
        return [offloads.OFF]
    if not isinstance(states, Mapping):
        return []
    return [OffloadState(**state) for state in states.values()]


def _together(states: list[OffloadState]) -> OffloadState:
    """What any of the interfaces of a path has on."""
    names = [one.name for one in dataclasses.fields(OffloadState) if one.name != "vnet_hdr"]
    on = {name: any(getattr(state, name) for state in states) for name in names}
    headers = {state.vnet_hdr for state in states} - {None}
    return OffloadState(**on, vnet_hdr=True in headers if headers else None)
