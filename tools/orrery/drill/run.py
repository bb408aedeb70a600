"""One drill as a user sees it: lock, progress, journal, table, record, page."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from orrery.drill import results
from orrery.drill.home import Shape
from orrery.drill.scenario import DrillScenario
from orrery.drill.subject import Drill
from orrery.drill.suite import Suite
from orrery.errors import MeasurementError
from orrery.guest import choose
from orrery.guest.lifecycle import Guests, refuse_running
from orrery.lab import measuring
from orrery.lab.converge import exclusively
from orrery.lab.measuring import Tell
from orrery.lab.settings import Settings
from orrery.measure import host as hosts
from orrery.measure import quiet, runner, show
from orrery.measure import record as records
from orrery.measure.journal import Journal
from orrery.measure.plan import Outcome
from orrery.measure.record import Record
from orrery.measure.runner import Step

FOLDER = "drill"


@dataclass(frozen=True)
class Done:
    """What a drill made.

    Attributes:
        path: Of the record.
        page: The record as a page with plots; None where it could not be written.
    """

    record: Record
    path: Path
    page: Path | None

    def as_mapping(self) -> dict[str, Any]:
        """The stable keys of `drill`."""
        summary = {k: v for k, v in self.record.summary.items() if k != results.TIMELINES}
        page = str(self.page) if self.page else None
        return {**summary, "record": str(self.path), "page": page}


@dataclass
class Timelines:
    """Timelines of moves, beside the journal, so that a resumed drill has those before it, too."""

    path: Path
    found: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def read(self) -> None:
        """Take over what is there; a line that was cut off is no timeline."""
        with contextlib.suppress(OSError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    self.found.setdefault(entry["scenario"], []).append(entry["timeline"])

    def keep(self, scenario: str, timeline: Mapping[str, Any]) -> None:
        """Add one.

        Raises:
            MeasurementError: The disk is full.
        """
        self.found.setdefault(scenario, []).append(timeline)
        line = json.dumps({"scenario": scenario, "timeline": timeline}, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError as error:
            raise MeasurementError(f"{self.path}: cannot be written: {error.strerror}") from error


def run(
    settings: Settings,
    guests: Guests,
    suite: Suite,
    resumed: Path | None,
    asked: Sequence[str],
    shape: Shape,
    asked_as: str = "",
) -> Done:
    """Do a drill and show what came out.

    Args:
        settings: Of the lab.
        guests: Of the lab.
        suite: What is done.
        resumed: Journal of a drill that was broken off; None begins anew.
        asked: Options by which it can be asked for again.
        shape: What the two sides are.
        asked_as: Path of a suite of the user's own; empty for one that came along.

    Raises:
        HostError: Another measurement, or an `up`, works on the lab.
        MeasurementError: Guests of the user run, a journal does not fit, or a disk is full.
    """
    console = show.console()
    with exclusively(settings, "drill"), measuring.interruptible():
        refuse_running(guests, "would disturb what is measured")
        accel = choose.accel_of(guests)
        with (
            _journal(settings, suite, resumed, shape) as journal,
            measuring.resumable(console, journal, "drill", asked, "moves"),
        ):
            timelines = Timelines(journal.path.with_suffix(".timelines"))
            timelines.read()
            seen, started, work = hosts.describe(), records.begin(), quiet.Work()
            with (
                measuring.progress(console, "moves") as (tell, say),
                Drill(guests, say, timelines.keep, shape) as drill,
            ):
                outcomes = _measure(suite, drill, journal, measuring.sampling(tell, work))
            made = results.record(
                suite,
                outcomes,
                started=started,
                host=replace(seen, work=work.as_mapping()),
                accel=str(accel),
                versions=measuring.versions(guests.state.facts),
                leaks=drill.leaks,
                timelines=timelines.found,
                asked_as=asked_as,
            )
            if not made.rows:
                raise MeasurementError(_nothing(made))
            path = records.save(made, settings.records)
            journal.path.unlink(missing_ok=True)
            timelines.path.unlink(missing_ok=True)
    # From here on nothing can be lost any more.
    show.show(made, console, title=f"drill {suite.name}")
    _tell(console, made, path)
    folder = settings.checkout / ".lab" / "report"
    return Done(made, path, measuring.page(console, made, path, folder))


def _measure(
    suite: Suite, drill: Drill, journal: Journal, tell: Tell
) -> list[Outcome[DrillScenario]]:
    outcomes = []
    total = len(suite.scenarios) * suite.moves
    before = 0
    for group in suite.groups:
        words = {one.name: _label(one) for one in group.scenarios}

        def step(
            step: Step,
            before: int = before,
            words: Mapping[str, str] = words,
        ) -> None:
            done = before + (0 if step.phase == "prepare" else step.done)
            left = f"; {measuring.duration(step.left_s)} left" if step.left_s is not None else ""
            what = "start" if step.phase == "prepare" else f"move {step.block}"
            tell(done, total, f"{words[step.scenario]}: {what}{left}", (before, step.block))

        outcomes.append(runner.run(results.plan(suite, group), drill, journal, step))
        before += len(group.scenarios) * suite.moves
    return outcomes


def _label(scenario: DrillScenario) -> str:
    """A scenario in few words: what it sets, without what all have anyway."""
    usual = DrillScenario().parameters()
    rest = [
        f"{key} {value}"
        for key, value in scenario.parameters().items()
        if usual.get(key) != value and key not in ("before_s", "after_s", "limit_s")
    ]
    return ", ".join(rest) or "idle"


def _journal(settings: Settings, suite: Suite, resumed: Path | None, shape: Shape) -> Journal:
    header = {"lab": settings.lab_name, "shape": shape.name, **results.header(suite)}
    if resumed is not None:
        return Journal.resume(resumed, header)
    folder = settings.checkout / ".lab" / FOLDER
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Journal.create(folder / f"{suite.name}-{moment}.jsonl", header)


def _nothing(made: Record) -> str:
    left = [*made.failed, *made.skipped, *made.dropped]
    reasons = dict.fromkeys(str(one["reason"]) for one in left)
    return "no move has a result:\n" + "\n".join(reasons)


def _tell(console: Console, made: Record, path: Path) -> None:
    summary = made.summary
    moves = f"{summary['moves']} moves in {measuring.duration(summary['seconds'])}"
    console.print(
        f"{moves}; {summary['failed']} failed, {summary['leaks']} things left behind, "
        f"{summary['lost_bytes']} bytes and {summary['lost_packets']} packets lost",
        soft_wrap=True,
        markup=False,
    )
    measuring.say_work(console, made)
    console.print(f"record: {path}", soft_wrap=True, markup=False)
