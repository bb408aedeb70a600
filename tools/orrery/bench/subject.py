"""The subject of a comparison: has what a scenario needs, measures one trial, mends what died."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orrery.bench.bed import Bed, Kind, Pair
from orrery.errors import ConfigurationError, OrreryError
from orrery.guest.lifecycle import Guests
from orrery.guest.wiring import own_bridge
from orrery.measure.runner import TrialError
from orrery.measure.scenario import words
from orrery.network import backends, conditions, offloads, traffic
from orrery.network.backends import PATHS, Backend
from orrery.network.layout import Layout, switch
from orrery.network.offloads import Interface, OffloadState
from orrery.network.places import HostPlace, PeerPlace, Place, host_busy_s
from orrery.network.scenario import NetScenario, Path, Traffic
from orrery.network.testpmd import engine, pvp
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


class Bench:
    """Measures network scenarios (a `Subject`). To be used in a `with` block."""

    def __init__(self, guests: Guests, say: Callable[[str], object]) -> None:
        self._guests = guests
        self._say = say
        self._bed = Bed(guests)
        self._warm = False

    def __enter__(self) -> Bench:
        self._bed.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bed.__exit__(*error)

    def keep(self, scenarios: tuple[NetScenario, ...]) -> None:
        """Be without guests and engines that none of these needs."""
        self._bed.keep(scenarios)

    def missing(self, scenario: NetScenario) -> str:
        """Why a scenario cannot run here; empty where it can."""
        return missing(scenario, self._guests.state)

    def prepare(self, scenario: NetScenario) -> None:
        """Start what a scenario needs and send for a second, which does not count.

        Raises:
            ConfigurationError, HostError, GuestError, MeasurementError: It cannot be had.
        """
        self._warm = False
        seconds = min(WARM_UP_S, scenario.seconds)
        short = dataclasses.replace(scenario, seconds=seconds)
        if scenario.traffic is Traffic.RFC2544:
            # One load, not a search.
            short = dataclasses.replace(short, traffic=Traffic.UDP, loss=None)
        self._measure(short)

    def trial(self, scenario: NetScenario) -> dict[str, float]:
        """Measure once.

        Raises:
            TrialError: Nothing came through.
            HostError, GuestError: Something died.
        """
        self._warm = True
        return self._measure(scenario)

    def conditions(self, scenario: NetScenario) -> dict[str, Any]:
        """What is on, as read back.

        Raises:
            HostError, GuestError: Something does not answer.
        """
        with conditions.pmd_sleep(self._guests.state, self._sleep_us(scenario)):
            if scenario.path in FORWARDING:
                return self._bed.engine(scenario).conditions()
            pair = self._bed.pair(scenario)
            found: dict[str, Any] = {"near": conditions.of_guest(self._guests, pair.near.entry)}
            if scenario.path is Path.GUEST_GUEST:
                found["far"] = conditions.of_guest(self._guests, pair.far.entry)
            found["switch"] = conditions.of_switch(self._guests.state)
        with self._settled(scenario, pair) as states:
            found["offloads"] = {where: state.as_mapping() for where, state in states.items()}
        if pair.laid is not None:
            found["overlay"] = str(pair.laid.kind)
        return found

    def mend(self, scenario: NetScenario, error: OrreryError) -> None:
        """Be without what died; the next trial starts it anew.

        Raises:
            HostError: The switch does not come back.
        """
        what = "a trial is dropped" if self._warm else "the warm-up failed"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        self._say(f"{what} ({label(scenario)}): {reason}")
        switch(self._guests.state).await_pid(SWITCH_TIMEOUT_S)
        if scenario.path not in FORWARDING:
            # Whatever it was: new guests do not have it. An engine mends itself.
            self._bed.drop(Kind.of(scenario))
        self._bed.mend()

    def _measure(self, scenario: NetScenario) -> dict[str, float]:
        with conditions.pmd_sleep(self._guests.state, self._sleep_us(scenario)):
            if scenario.path in FORWARDING:
                frame = int(scenario.frame or 0)
                return {"rate": self._bed.engine(scenario).trial(scenario.seconds, frame)}
            pair = self._bed.pair(scenario)
            if pair.laid is not None:
                pair.laid.hold()
            with self._settled(scenario, pair):
                before, far = self._switch_pid(scenario), self._far(scenario, pair)
                found = traffic.measure(scenario, pair.near, far, host_busy_s)
            if self._switch_pid(scenario) != before:
                # TCP lives through that, and its figure is one of an outage.
                raise TrialError("the switch was started anew in the middle")
            return found

    def _switch_pid(self, scenario: NetScenario) -> int:
        on_switch = PATHS[scenario.backend].on_switch
        return switch(self._guests.state).pid() if on_switch else 0

    def _sleep_us(self, scenario: NetScenario) -> int | None:
        """Longest sleep of an idle PMD during a trial [us]; None for what the lab has.

        Ports of guests that wait for their turn are polled all the time. Where no PMD has a part in
        what is measured, that would be charged to a path that does not need it.
        """
        ovs = self._guests.state.facts.get("ovs")
        polled = scenario.backend in POLLED or scenario.path is Path.PVP
        if scenario.pmd_sleep_us is not None or polled or not ovs:
            return scenario.pmd_sleep_us
        return LONG_SLEEP_US if conditions.sleep_key(str(ovs["version"])) else None

    def _far(self, scenario: NetScenario, pair: Pair) -> Place:
        if scenario.path is Path.GUEST_GUEST:
            return pair.far
        if scenario.path is Path.GUEST_HOST:
            return HostPlace.of(self._guests.state, scenario.backend)
        return PeerPlace(peer_of(self._guests.state, scenario))

    @contextlib.contextmanager
    def _settled(self, scenario: NetScenario, pair: Pair) -> Iterator[Mapping[str, OffloadState]]:
        """Have the scenario's offloads on its path; what was read back, by side of the path.

        Those of guests stay until others are wanted, since asking a guest takes time. The host's
        interface belongs to all guests of its bridge.
        """
        state = self._guests.state
        namespace = Layout.of(state).namespace
        sides = {"near": pair.near}
        if scenario.path is Path.GUEST_GUEST:
            sides["far"] = pair.far
        interfaces = {}
        for side, place in sides.items():
            vnet_hdr = None
            if PATHS[scenario.backend].tap:
                vnet_hdr = offloads.tap_vnet_hdr(namespace, place.entry.port)
            interfaces[side] = Interface.of_guest(place, vnet_hdr=vnet_hdr)
        pair.settle(scenario.offloads, scenario.path, interfaces)
        found = dict(pair.settled.found) if pair.settled else {}
        if scenario.path is not Path.GUEST_HOST:
            yield found
            return
        bridge = HostPlace.of(state, scenario.backend).interface
        host = Interface.of_host(namespace, bridge)
        with offloads.settled(scenario.offloads, [host]) as states:
            yield {**found, "host": next(iter(states.values()))}


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
    """A scenario in few words: what it sets, without what all have anyway."""
    usual = {one.name: one.default for one in dataclasses.fields(NetScenario)}
    said = words(scenario.parameters())
    rest = [
        word
        for key, word in said.items()
        if key not in ("backend", "traffic", "path", "seconds")
        and getattr(scenario, key) != usual[key]
    ]
    return ", ".join([scenario.backend, scenario.traffic, scenario.path, *rest])


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
