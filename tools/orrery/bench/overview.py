"""The suites as a list: what each asks, how long it takes, what of it cannot run here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from orrery.bench import suite as suites
from orrery.bench.estimate import whole_s
from orrery.bench.subject import missing
from orrery.state import LabState


@dataclass(frozen=True)
class Offer:
    """A suite, seen from this host.

    Attributes:
        possible: Scenarios that can run here, of so many.
        minutes: Time without what the noise guard may add.
        reasons: Why the others cannot, with how many they are.
    """

    name: str
    about: str
    scenarios: int
    possible: int
    minutes: float
    reasons: dict[str, int]


def here(state: LabState) -> list[Offer]:
    """All suites that come along."""
    return [_offer(suites.load(name), state) for name in suites.names()]


def show(offers: list[Offer], console: Console | None = None) -> None:
    """Print them."""
    out = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("suite", no_wrap=True)
    table.add_column("scenarios", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it asks")
    for one in offers:
        count = f"{one.possible} of {one.scenarios}"
        table.add_row(one.name, count, f"{one.minutes:.0f} min", one.about)
    out.print(table)
    reasons = dict.fromkeys(reason for one in offers for reason in one.reasons)
    for reason in reasons:
        out.print(f"not here: {reason}", soft_wrap=True, markup=False)


def _offer(suite: suites.Suite, state: LabState) -> Offer:
    reasons = {one.name: missing(one, state) for one in suite.scenarios}
    possible = [one for one in suite.scenarios if not reasons[one.name]]
    return Offer(
        name=suite.name,
        about=suite.about,
        scenarios=len(suite.scenarios),
        possible=len(possible),
        minutes=round(whole_s(possible, suite.trials) / 60, 1),
        reasons=dict(Counter(reason for reason in reasons.values() if reason)),
    )
