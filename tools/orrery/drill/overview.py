"""The drills as a list: what each asks, how long it takes, what of it cannot run here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from orrery.drill import suite as suites
from orrery.drill.scenario import DrillScenario
from orrery.drill.subject import missing
from orrery.state import LabState

AROUND_S = 12.0
"""Of a move beside its probes' time: the other QEMU, memory, logs of the guest; under TCG [s]."""


@dataclass(frozen=True)
class Offer:
    """A drill, seen from this host.

    Attributes:
        possible: Scenarios that can run here, of so many.
        minutes: About how long it takes.
        reasons: Why the others cannot, with how many they are.
    """

    name: str
    about: str
    scenarios: int
    possible: int
    moves: int
    minutes: float
    reasons: dict[str, int]


def here(state: LabState) -> list[Offer]:
    """All drills that come along."""
    return [_offer(suites.load(name), state) for name in suites.names()]


def show(offers: list[Offer], console: Console | None = None) -> None:
    """Print them, one line each where the terminal is wide enough."""
    out = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("drill", no_wrap=True)
    table.add_column("moves", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it asks")
    for one in offers:
        moves = str(one.moves * one.possible)
        table.add_row(one.name, moves, f"{one.minutes:.0f} min", one.about)
    out.print(table)
    for reason in dict.fromkeys(reason for one in offers for reason in one.reasons):
        out.print(f"not here: {reason}", soft_wrap=True, markup=False)


def _offer(suite: suites.Suite, state: LabState) -> Offer:
    reasons = {one.name: missing(one, state) for one in suite.scenarios}
    possible = [one for one in suite.scenarios if not reasons[one.name]]
    seconds = sum(_move_s(one) for one in possible) * suite.moves
    return Offer(
        name=suite.name,
        about=suite.about,
        scenarios=len(suite.scenarios),
        possible=len(possible),
        moves=suite.moves,
        minutes=round(seconds / 60, 1),
        reasons=dict(Counter(reason for reason in reasons.values() if reason)),
    )


def _move_s(scenario: DrillScenario) -> float:
    return scenario.before_s + scenario.after_s + AROUND_S
