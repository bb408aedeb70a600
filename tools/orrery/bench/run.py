"""One run of a suite as a user sees it: lock, progress, journal, table, record, page."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
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
from orrery.errors import MeasurementError, OrreryError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests, refuse_running
from orrery.lab.converge import exclusively
from orrery.lab.settings import Settings
from orrery.measure import host as hosts
from orrery.measure import record as records
from orrery.measure import show
from orrery.measure.journal import Journal
from orrery.measure.record import Record
from orrery.report import pages

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
    with exclusively(settings, "bench"), _interruptible():
        refuse_running(guests, "would disturb what is measured")
        accel = choose.accel_of(guests)
        with (
            _journal(settings, suite, resumed) as journal,
            _resumable(console, journal, asked),
        ):
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
    return Done(made, path, _page(console, made, path, settings.checkout / ".lab" / "report"))


def _page(console: Console, made: Record, path: Path, folder: Path) -> Path | None:
    """The page; None where it cannot be written, which is said."""
    try:
        page = pages.write(made, path, folder)
    except OrreryError as error:
        console.print(f"no page: {error}", soft_wrap=True, markup=False)
        return None
    console.print(f"page:   {page}", soft_wrap=True, markup=False)
    return page


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have a hang-up and a request to end do what Ctrl-C does: take away what is there."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(one, signal.default_int_handler) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)


def _journal(settings: Settings, suite: Suite, resumed: Path | None) -> Journal:
    header = {"lab": settings.lab_name, **comparison.header(suite)}
    if resumed is not None:
        return Journal.resume(resumed, header)
    folder = settings.checkout / ".lab" / JOURNALS
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Journal.create(folder / f"{suite.name}-{moment}.jsonl", header)


@contextmanager
def _resumable(console: Console, journal: Journal, asked: Sequence[str]) -> Iterator[None]:
    """Say how to go on, whatever ends the run, as long as there is something to go on from."""
    try:
        yield
    except BaseException:
        if journal.entries:
            words = ["./lab", "bench", *asked, "--resume", str(journal.path)]
            console.print(
                f"Finished trials are kept. Go on with:\n  {shlex.join(words)}",
                soft_wrap=True,
                markup=False,
            )
        else:
            journal.path.unlink(missing_ok=True)
        raise


@contextmanager
def _progress(console: Console) -> Iterator[tuple[comparison.Progress, Any]]:
    """A bar on a terminal, a line for each block elsewhere."""
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
    return f"{label(where.scenario)}: {doing}; {_duration(where.left_s)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _versions(guests: Guests) -> dict[str, str]:
    facts = guests.state.facts
    names = ("qemu", "ovs", "dpdk", "testpmd")
    found = {name: str(facts[name]["version"]) for name in names if name in facts}
    tools = facts.get("traffic_tools")
    found |= {name: str(version) for name, version in dict(tools or {}).items()}
    image = facts.get("guest_image") or {}
    if image.get("kernel_version"):
        found["guest kernel"] = str(image["kernel_version"])
    return found


def _nothing(made: Record) -> str:
    reasons = dict.fromkeys(one["reason"] for one in (*made.failed, *made.skipped))
    return "no scenario has a result:\n" + "\n".join(reasons)


def _tell(console: Console, made: Record, path: Path) -> None:
    summary = made.summary
    grown = (
        f", and {_duration(summary['growth_s'])} for {summary['growth_trials']} more trials of "
        "what spread too much"
        if summary["growth_trials"]
        else ""
    )
    console.print(f"{_duration(summary['seconds'])}{grown}", soft_wrap=True)
    console.print(f"record: {path}", soft_wrap=True, markup=False)
