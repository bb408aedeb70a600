"""One run of a suite as a user sees it: lock, progress, journal, table, record, page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from orrery.bench import comparison
from orrery.bench.comparison import Where
from orrery.bench.subject import Bench, label
from orrery.bench.suite import Suite
from orrery.errors import MeasurementError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests
from orrery.lab.converge import exclusively
from orrery.lab.settings import Settings
from orrery.measure import host as hosts
from orrery.measure import record as records
from orrery.measure import show
from orrery.measure.journal import Journal
from orrery.measure.record import Record
from orrery.report import pages

JOURNALS = "bench"
FILE_WIDTH = 110
"""Columns of a table that goes into a file."""


@dataclass(frozen=True)
class Done:
    """What a run made.

    Attributes:
        path: Of the record.
        page: The record as a page with plots.
    """

    record: Record
    path: Path
    page: Path

    def as_mapping(self) -> dict[str, Any]:
        """The stable keys of `bench`."""
        return {
            **self.record.summary,
            **comparison.listed(self.record),
            "record": str(self.path),
            "page": str(self.page),
        }


def run(settings: Settings, guests: Guests, suite: Suite, resumed: Path | None, name: str) -> Done:
    """Measure a suite and show what came out.

    Args:
        settings: Of the lab.
        guests: Of the lab.
        suite: What is measured.
        resumed: Journal of a run that was broken off; None begins anew.
        name: By which the user asked for the suite.

    Raises:
        HostError: Another bench, or an `up`, works on the lab.
        MeasurementError: Guests of the user run, a journal does not fit, or a disk is full.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=FILE_WIDTH)
    with exclusively(settings, "bench"):
        _refuse_guests(guests)
        accel = choose.accel_of(guests)
        with _journal(settings, suite, resumed) as journal, _resumable(console, journal, name):
            seen, started = hosts.describe(), records.begin()
            with _progress(console) as (progress, say), Bench(guests, say) as bench:
                outcomes = comparison.measure(suite, bench, journal, progress)
            made = comparison.record(
                suite,
                outcomes,
                started=started,
                host=seen,
                accel=str(accel),
                versions=_versions(guests),
            )
            show.show(made, console, title=f"suite {suite.name}")
            if not made.rows:
                raise MeasurementError(_nothing(made))
            path = records.save(made, settings.records)
            journal.path.unlink(missing_ok=True)
    page = pages.write(made, path, settings.checkout / ".lab" / "report")
    _tell(console, made, path, page)
    return Done(made, path, page)


def _refuse_guests(guests: Guests) -> None:
    running = [entry.name for entry in guests.registry.entries()]
    if running:
        raise MeasurementError(
            f"guests run ({', '.join(running)}) and would disturb what is measured. "
            "Stop them first: ./lab guest.stop all"
        )


def _journal(settings: Settings, suite: Suite, resumed: Path | None) -> Journal:
    header = comparison.header(suite)
    if resumed is not None:
        return Journal.resume(resumed, header)
    folder = settings.checkout / ".lab" / JOURNALS
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Journal.create(folder / f"{suite.name}-{moment}.jsonl", header)


@contextmanager
def _resumable(console: Console, journal: Journal, name: str) -> Iterator[None]:
    """Say how to go on, whatever ends the run, as long as there is something to go on from."""
    try:
        yield
    except BaseException:
        if journal.entries:
            console.print(
                f"Finished trials are kept. Go on with:\n"
                f"  ./lab bench --suite {name} --resume {journal.path}",
                soft_wrap=True,
                markup=False,
            )
        else:
            journal.path.unlink(missing_ok=True)
        raise


@contextmanager
def _progress(console: Console) -> Iterator[tuple[comparison.Progress, Any]]:
    """A bar on a terminal, a line for each scenario of a block elsewhere."""
    if not console.is_terminal:
        yield _lines(console), lambda text: console.print(text, soft_wrap=True, markup=False)
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(where: Where) -> None:
            bar.update(task, completed=where.done, total=where.total, description=_what(where))

        yield tell, lambda text: bar.console.print(text, soft_wrap=True, markup=False)


def _lines(console: Console) -> comparison.Progress:
    said: set[tuple[str, str, int]] = set()

    def tell(where: Where) -> None:
        key = (where.title, where.step.phase, where.step.block)
        if key not in said:
            said.add(key)
            text = f"{where.done} of {where.total} trials: {_what(where)}"
            console.print(text, soft_wrap=True, markup=False)

    return tell


def _what(where: Where) -> str:
    doing = {
        "prepare": "warm-up",
        "trial": f"trial {where.step.block}",
        "growth": f"trial {where.step.block}, as it spreads too much",
    }[where.step.phase]
    left = f"; {_duration(where.left_s)} left" if where.left_s is not None else ""
    return f"{label(where.scenario)}: {doing}{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _versions(guests: Guests) -> dict[str, str]:
    facts = guests.state.facts
    names = ("qemu", "ovs", "dpdk", "testpmd")
    found = {name: str(facts[name]["version"]) for name in names if name in facts}
    image = facts.get("guest_image") or {}
    if image.get("kernel_version"):
        found["guest kernel"] = str(image["kernel_version"])
    return found


def _nothing(made: Record) -> str:
    reasons = dict.fromkeys(one["reason"] for one in (*made.failed, *made.skipped))
    return "no scenario has a result:\n" + "\n".join(reasons)


def _tell(console: Console, made: Record, path: Path, page: Path) -> None:
    summary = made.summary
    grown = (
        f", and {_duration(summary['growth_s'])} for {summary['growth_trials']} more trials of "
        "what spread too much"
        if summary["growth_trials"]
        else ""
    )
    console.print(f"{_duration(summary['seconds'])}{grown}", soft_wrap=True)
    console.print(f"record: {path}\npage:   {page}", soft_wrap=True, markup=False)
