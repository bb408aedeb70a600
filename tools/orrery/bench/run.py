"""One run of a suite as a user sees it: lock, progress, journal, table, record, page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from orrery.bench import comparison
from orrery.bench.comparison import Where
from orrery.bench.subject import Bench, label
from orrery.bench.suite import Suite
from orrery.errors import MeasurementError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests, refuse_running
from orrery.lab import measuring
from orrery.lab.converge import exclusively
from orrery.lab.settings import Settings
from orrery.measure import host as hosts
from orrery.measure import quiet, show
from orrery.measure import record as records
from orrery.measure.journal import Journal
from orrery.measure.record import Record

JOURNALS = "bench"


@dataclass(frozen=True)
class Done:
    """What a run made.

    Attributes:
        path: Of the record.
        page: The record as a page with plots; None where it could not be written.
    """

    record: Record
    path: Path
    page: Path | None

    def as_mapping(self) -> dict[str, Any]:
        """The stable keys of `bench`."""
        return {
            **self.record.summary,
            **comparison.listed(self.record),
            "record": str(self.path),
            "page": str(self.page) if self.page else None,
        }


def run(
    settings: Settings,
    guests: Guests,
    suite: Suite,
    resumed: Path | None,
    asked: Sequence[str],
    asked_as: str = "",
) -> Done:
    """Measure a suite and show what came out.

    Args:
        settings: Of the lab.
        guests: Of the lab.
        suite: What is measured.
        resumed: Journal of a run that was broken off; None begins anew.
        asked: Options by which it can be asked for again.
        asked_as: Path of a suite of the user's own; empty for one that came along.

    Raises:
        HostError: Another bench, or an `up`, works on the lab.
        MeasurementError: Guests of the user run, a journal does not fit, or a disk is full.
    """
    console = show.console()
    with exclusively(settings, "bench"), measuring.interruptible():
        refuse_running(guests, "would disturb what is measured")
        accel = choose.accel_of(guests)
        with (
            _journal(settings, suite, resumed) as journal,
            measuring.resumable(console, journal, "bench", asked, "trials"),
        ):
            seen, started, work = hosts.describe(), records.begin(), quiet.Work()
            with measuring.progress(console, "trials") as (told, say), Bench(guests, say) as bench:
                tell = measuring.sampling(told, work)

                def step(where: Where) -> None:
                    key = (where.title, where.step.phase, where.step.block)
                    tell(where.done, where.total, _what(where), key)

                outcomes = comparison.measure(suite, bench, journal, step)
            made = comparison.record(
                suite,
                outcomes,
                started=started,
                host=replace(seen, work=work.as_mapping()),
                accel=str(accel),
                versions=measuring.versions(guests.state.facts),
                resumed=resumed is not None,
                asked_as=asked_as,
            )
            if not made.rows:
                raise MeasurementError(_nothing(made))
            path = records.save(made, settings.records)
            journal.path.unlink(missing_ok=True)
    # From here on nothing can be lost any more.
    show.show(made, console, title=f"suite {suite.name}")
    _tell(console, made, path)
    return Done(
        made, path, measuring.page(console, made, path, settings.checkout / ".lab" / "report")
    )


def _journal(settings: Settings, suite: Suite, resumed: Path | None) -> Journal:
    header = {"lab": settings.lab_name, **comparison.header(suite)}
    if resumed is not None:
        return Journal.resume(resumed, header)
    folder = settings.checkout / ".lab" / JOURNALS
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Journal.create(folder / f"{suite.name}-{moment}.jsonl", header)


def _what(where: Where) -> str:
    doing = {
        "prepare": "warm-up",
        "trial": f"trial {where.step.block}",
        "growth": f"trial {where.step.block}, as it spreads too much",
    }[where.step.phase]
    return f"{label(where.scenario)}: {doing}; {measuring.duration(where.left_s)} left"


def _nothing(made: Record) -> str:
    reasons = dict.fromkeys(one["reason"] for one in (*made.failed, *made.skipped))
    return "no scenario has a result:\n" + "\n".join(reasons)


def _tell(console: Console, made: Record, path: Path) -> None:
    summary = made.summary
    grown = (
        f", and {measuring.duration(summary['growth_s'])} for {summary['growth_trials']} more "
        "trials of what spread too much"
        if summary["growth_trials"]
        else ""
    )
    console.print(f"{measuring.duration(summary['seconds'])}{grown}", soft_wrap=True)
    measuring.say_work(console, made)
    console.print(f"record: {path}", soft_wrap=True, markup=False)
