"""`./lab bench`: the comparison, its suites, and two records of it against each other.

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
def bench(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    suite: str = STANDARD,
    trials: str = "",
    resume: str = "",
) -> None:
    """Compare backends: ./lab bench --suite full; table, page with plots, record."""
    from orrery.bench import run
    from orrery.bench import suite as suites

    wanted = suites.load(suite)
    if trials:
        wanted = suites.with_trials(wanted, params.integer("trials", trials, low=1, high=1000))
    journal = params.path("resume", resume, exists=True) if resume else None
    this = lab(inventory, extra)
    options = [("--suite", suite if suite != STANDARD else ""), ("--trials", trials)]
    options += [("-i", inventory), ("-j", json), *(("-e", one) for one in extra or ())]
    asked = [word for name, value in options if value for word in (name, value)]
    own = suite if suite not in suites.names() else ""
    done = run.run(this.settings, this.guests(), wanted, journal, asked, own)
    write_json(json, done.as_mapping())
    if done.record.failed:
        raise MeasurementError(
            f"{len(done.record.failed)} scenarios have no result, or not all of it (see above). "
            "The others are in the record."
        )


@lab_task(name="list")
def list_(c: Any, inventory: str = "", extra: Sequence[str] = (), json: str = "") -> None:
    """List the suites: what each asks, how long it takes, what cannot run here."""
    from orrery.bench import overview

    found = overview.here(lab(inventory, extra).state())
    overview.show(found)
    write_json(json, {"suites": [asdict(one) for one in found]})


@lab_task(positional=["a", "b"])
def compare(
    c: Any,
    inventory: str = "",
    extra: Sequence[str] = (),
    json: str = "",
    a: str | None = None,
    b: str | None = None,
) -> None:
    """Compare two records row by row: ./lab bench.compare A.json B.json."""
    from orrery.measure import compare as comparing
    from orrery.measure import record, show

    one, other = (
        record.load(params.path(name, text or "", exists=True))
        for name, text in (("a", a), ("b", b))
    )
    found = comparing.comparison(one, other)
    show.show_compared(found, show.console())
    write_json(json, asdict(found))


# Invoke reads it when it parses the command line.
bench.help = {
    "suite": "One of ./lab bench.list, or a file of your own",
    "trials": "Of each scenario, instead of what the suite says",
    "resume": "Journal of a run that was broken off",
}
