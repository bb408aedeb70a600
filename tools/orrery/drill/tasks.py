"""`./lab drill`: live migration, again and again, with what a program and a connection felt.

What it needs is imported when it runs: `./lab --list` does not wait for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from orrery import params
from orrery.errors import MeasurementError
from orrery.lab.command import Lab, lab, lab_task, write_json

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
    over: str = "",
) -> None:
    """Migrate a guest to and fro: ./lab drill --suite faults; table, timeline, record."""
    from orrery.drill import run
    from orrery.drill import suite as suites
    from orrery.drill.home import LIBVIRT, PROCESSES

    asked_over = params.choice("over", over or PROCESSES, (PROCESSES, LIBVIRT))

    wanted = suites.load(suite)
    if moves:
        wanted = suites.with_moves(wanted, params.integer("moves", moves, low=1, high=10_000))
    journal = params.path("resume", resume, exists=True) if resume else None
    this = lab(inventory, extra)
    options = [
        ("--suite", suite if suite != STANDARD else ""),
        ("--moves", moves),
        ("--over", over),
    ]
    options += [("-i", inventory), ("-j", json), *(("-e", one) for one in extra or ())]
    asked = [word for name, value in options if value for word in (name, value)]
    own = suite if suite not in suites.names() else ""
    with _sides(this, asked_over) as (guests, shape):
        done = run.run(this.settings, guests, wanted, journal, asked, shape, own)
    write_json(json, done.as_mapping())
    summary = done.record.summary
    if summary["failed"] or summary["leaks"]:
        raise MeasurementError(
            f"{summary['failed']} of {summary['moves']} moves failed, and {summary['leaks']} "
            "things were left behind (see above). The others are in the record."
        )


@contextlib.contextmanager
def _sides(this: Lab, over: str) -> Iterator[tuple[Any, Any]]:
    """The guests, and what the two sides of a drill are."""
    from orrery.drill.home import LIBVIRT, Shape

    guests = this.guests()
    if over != LIBVIRT:
        yield guests, Shape.processes(guests)
        return
    from orrery.drill import domain_guests, domain_home

    with domain_guests.connected(this.settings, guests.state, guests.say) as found:
        yield found, domain_home.shape(found)


@lab_task(name="list")
def list_(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """List the drills: what each asks, how long it takes, what cannot run here."""
    from orrery.drill import overview

    found = overview.here(lab(inventory, extra).state())
    overview.show(found)
    write_json(json, {"drills": [asdict(one) for one in found]})


@lab_task
def prepare(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    absent: bool = False,
) -> None:
    """Prepare hosts that guests can move to, or no more (--absent)."""
    from orrery.lab import lifecycle

    write_json(json, lifecycle.prepare(lab(inventory, extra).settings, absent=absent))


# Invoke reads it when it parses the command line.
drill.help = {
    "suite": "One of ./lab drill.list, or a file of your own",
    "moves": "Of each scenario, instead of what the drill says",
    "resume": "Journal of a drill that was broken off",
    "over": "processes: two QEMUs of this host; libvirt: the hypervisors of lab_drill_uris",
}
