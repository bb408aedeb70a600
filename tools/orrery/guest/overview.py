"""The virtualisation half of a lab as `./lab status` shows it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console

from orrery.errors import HostError
from orrery.guest import show
from orrery.guest.registry import Entry, Registry
from orrery.network import layout
from orrery.network.switch import PolledQueue, Port
from orrery.state import LabState


@dataclass(frozen=True)
class Datapath:
    """What runs.

    Attributes:
        there: Whether the lab has a virtualisation half.
        acceleration: `kvm` or `tcg`.
        why: Which CPUs the switch uses, and why.
        problem: Why the switch could not be asked; empty where it answered.
    """

    lab_name: str
    there: bool
    acceleration: str = ""
    ports: tuple[Port, ...] = ()
    polled: tuple[PolledQueue, ...] = ()
    guests: tuple[Entry, ...] = ()
    why: str = ""
    problem: str = ""

    def as_mapping(self) -> dict[str, Any]:
        """The stable keys of `status` beside `services`."""
        return {
            "acceleration": self.acceleration,
            "ports": [asdict(port) for port in self.ports],
            "queues": [asdict(queue) for queue in self.polled],
            "guests": [asdict(guest) for guest in self.guests],
        }


def look(state: LabState) -> Datapath:
    """Ask the switch for its ports, and who polls their queues."""
    found = Datapath(state.lab_name, isinstance(state.facts.get("ovs"), dict))
    if not found.there:
        return found
    found = replace(
        found,
        acceleration=str((state.facts.get("acceleration") or {}).get("chosen", "")),
        why=str(state.facts["ovs"].get("why", "")),
    )
    if os.geteuid() != 0:
        return replace(found, problem="only root may ask the switch: run the command with sudo")
    found = replace(found, guests=tuple(Registry(state.lab_name).entries()))
    switch = layout.switch(state)
    try:
        return replace(found, ports=tuple(switch.ports()), polled=tuple(switch.polled()))
    except HostError as error:
        return replace(found, problem=f"the switch does not answer: {error}")


def print_out(found: Datapath) -> None:
    """Print ports, the cores that poll their queues, and guests; nothing without a switch."""
    if not found.there:
        return
    console = Console(highlight=False)
    console.print()
    if found.why:
        console.print(f"switch: {found.why}", soft_wrap=True)
    if found.problem:
        console.print(found.problem)
        return
    show.ports(found.ports, found.polled)
    console.print()
    show.guests(found.lab_name, found.guests)
