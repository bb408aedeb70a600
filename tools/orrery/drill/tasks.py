"""`./lab drill`: live migration, again and again, with what a program and a connection felt.

What it needs is imported when it runs: `./lab --list` does not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orrery import params
from orrery.errors import MeasurementError
from orrery.lab.command import lab, lab_task, write_json

STANDARD = "standard"


@lab_task(name="run", default=True)
def drill(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    suite: str = STANDARD,
    moves: str = "",
    resume: str = "",
) -> None:
    """Migrate a guest to and fro: ./lab drill --suite faults; table, timeline, record."""
    from orrery.drill import run
    from orrery.drill import suite as suites

    wanted = suites.load(suite)
    if moves:
        wanted = suites.with_moves(wanted, params.integer("moves", moves, low=1, high=10_000))
    journal = params.path("resume", resume, exists=True) if resume else None
    this = lab(inventory, extra)
    options = [("--suite", suite if suite != STANDARD else ""), ("--moves", moves)]
    options += [("-i", inventory), ("-j", json), *(("-e", one) for one in extra or ())]
    asked = [word for name, value in options if value for word in (name, value)]
    own = suite if suite not in suites.names() else ""
    done = run.run(this.settings, this.guests(), wanted, journal, asked, own)
    write_json(json, done.as_mapping())
    summary = done.record.summary
    if summary["failed"] or summary["leaks"]:
        raise MeasurementError(
            f"{summary['failed']} of {summary['moves']} moves failed, and {summary['leaks']} "
            "things were left behind (see above). The others are in the record."
        )


@lab_task(name="list")
def list_(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """List the drills: what each asks, how long it takes, what cannot run here."""
    from orrery.drill import overview

    found = overview.here(lab(inventory, extra).state())
    overview.show(found)
    write_json(json, {"drills": [asdict(one) for one in found]})


# Invoke reads it when it parses the command line.
drill.help = {
    "suite": "One of ./lab drill.list, or a file of your own",
    "moves": "Of each scenario, instead of what the drill says",
    "resume": "Journal of a drill that was broken off",
}
