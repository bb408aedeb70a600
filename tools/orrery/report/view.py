"""A record as its page shows it. Pure but for the drawing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from orrery.measure import quantities, quiet
from orrery.measure.record import Record, Row
from orrery.report import charts, comparison, findings, plots, timelines, words
from orrery.report.charts import Chart, Forest
from orrery.report.findings import Finding

TITLES = {
    "bench": "Network comparison",
    "drill": "Live migration",
    "guest.bench": "Guests: start, idle load, outage",
    "guest.cpu": "One CPU job on the host and in guests",
    "mnist.evaluate": "Accuracy on the MNIST test images",
    "mnist.latency": "Time of one classification",
    "whisk-bench": "Cost of functions",
}
# The task that makes such a record, and which parameters are options of it.
COMMANDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bench": ("bench", ("suite",)),
    "drill": ("drill", ("suite", "moves")),
    "guest.bench": ("guest.bench", ("backend", "trials")),
    "guest.cpu": ("guest.cpu", ("work", "trials")),
    "mnist.evaluate": ("mnist.evaluate", ("inverted", "batch", "connections", "count")),
    "mnist.latency": ("mnist.latency", ("calls", "trials")),
    "whisk-bench": (
        "whisk.bench",
        ("trials", "warm_calls", "connections", "seconds", "cold_trials", "rss_after", "stored"),
    ),
}
ACCELERATION = {
    "tcg": "TCG: guests are emulated; absolute figures say little, ratios more",
    "kvm": "KVM",
    "none": "no guest took part",
}
DIRTY = "-dirty"
SWITCH = ("no", "yes")
MOST_SUMMED_UP = 6


@dataclass(frozen=True)
class Drawn:
    """A plot, ready for the page, and its table."""

    chart: Chart
    svg: Markup


@dataclass(frozen=True)
class DrawnForest:
    """A plot of ratios and its table."""

    forest: Forest
    svg: Markup


@dataclass(frozen=True)
class Condition:
    """What was read back, and of which scenarios."""

    scenarios: tuple[str, ...]
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """All that the template of a record needs.

    Attributes:
        asked: What was asked, in words or parameters.
        answer: The paragraph.
        record_name: Name of the record's file.
        record_link: Relative link to it.
        index: Relative link to the list of all pages; empty for none.
        offloads: What was read back, by scenario.
        drops: Trials that gave no figure, by scenario.
        matrices: Tables of numbers in the summary.
        timelines: Moves of guests.
        comparison: Settings of moves side by side; None for a record of something else.
    """

    title: str
    asked: str
    answer: str
    record: Record
    record_name: str
    record_link: str
    index: str
    facts: tuple[tuple[str, str], ...]
    command: str
    checkout: str
    findings: tuple[Finding, ...]
    forests: tuple[DrawnForest, ...]
    charts: tuple[Drawn, ...]
    unstable: tuple[Row, ...]
    offloads: Mapping[str, str]
    drops: Mapping[str, int]
    conditions: tuple[Condition, ...]
    summary: tuple[tuple[str, str], ...]
    matrices: tuple[tuple[str, tuple[tuple[Any, ...], ...]], ...]
    timelines: tuple[timelines.Drawn, ...]
    comparison: comparison.Table | None


def page(record: Record, record_name: str, record_link: str, index: str) -> Page:
    """Everything about a record, plots drawn."""
    found = findings.findings(record)
    matrices = tuple((k, _matrix(v)) for k, v in record.summary.items() if _matrix(v))
    names = {name for name, _ in matrices}
    names |= {k for k, v in record.summary.items() if k == "about" or _is_table(v)}
    summary = {k: v for k, v in record.summary.items() if k not in names}
    return Page(
        title=title(record),
        asked=asked(record),
        answer=answer(record, found),
        record=record,
        record_name=record_name,
        record_link=record_link,
        index=index,
        facts=facts(record),
        command=command(record),
        checkout=_checkout(record.git),
        findings=found,
        forests=tuple(_forest(one) for one in charts.forests(found)),
        charts=tuple(_drawn(one) for one in charts.charts(record)),
        unstable=tuple(row for row in record.rows if not row.stable),
        offloads={
            name: said for name, one in record.conditions.items() if (said := words.offloads(one))
        },
        drops=_drops(record),
        conditions=_conditions(record),
        summary=tuple(words.flat(summary, switch=SWITCH)) if summary else (),
        matrices=matrices,
        timelines=timelines.drawn(record),
        comparison=comparison.table(record),
    )


def title(record: Record) -> str:
    """What a record is about, for people."""
    known = TITLES.get(record.kind, record.kind)
    suite = record.scenario.get("suite")
    return f"{known}: suite {suite}" if record.kind in ("bench", "drill") and suite else known


def asked(record: Record) -> str:
    """The question, where the record has it, and the parameters."""
    about = record.summary.get("about")
    parameters = {key: value for key, value in record.scenario.items() if key != "name"}
    said = ", ".join(f"{name} {text}" for name, text in words.flat(parameters, switch=SWITCH))
    return f"{about} ({said})" if isinstance(about, str) and about else said


def answer(record: Record, found: tuple[Finding, ...]) -> str:
    """What a reader takes home: ratios, or the medians."""
    if found:
        return findings.answer(record, found)
    listed = [row for row in record.rows if row.listed] or list(record.rows)
    if not listed:
        return "No figure came out of this measurement."
    medians = [_median(row) for row in listed[:MOST_SUMMED_UP]]
    more = len(listed) - len(medians)
    tail = f"; and {more} more figures below" if more else ""
    return f"Medians: {'; '.join(medians)}{tail}."


def finding(record: Record) -> str:
    """One line for a list of records."""
    found = findings.findings(record)
    if found:
        return findings.headline(record, found)
    return _median(record.rows[0]) if record.rows else "no figure"


def when(record: Record) -> str:
    """When it began, to the minute, in UTC."""
    moment = datetime.fromisoformat(record.started).astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def facts(record: Record) -> tuple[tuple[str, str], ...]:
    """Where, when and with what it was measured."""
    host = record.host
    loads = ", ".join(f"{load:.2f}" for load in host["load_average"])
    cores, memory = _counted(host["cores"], "core"), f"{host['memory_mb'] / 1024:.1f} GiB"
    commit = record.git.removesuffix(DIRTY)
    changed = ", with files changed" if record.git.endswith(DIRTY) else ""
    noticed = quiet.sentence(host.get("work", {}))
    return (
        ("Measured", when(record)),
        ("Host", f"{host['cpu_model']}, {cores}, {memory}"),
        ("System", f"{host['distro']}, Linux {host['kernel']}"),
        ("Load before", f"{loads} (1, 5 and 15 minutes)"),
        *((("Meanwhile", noticed),) if noticed else ()),
        ("Acceleration", ACCELERATION.get(record.accel, record.accel)),
        ("Versions", ", ".join(f"{name} {value}" for name, value in record.versions.items())),
        ("Commit", commit + changed),
    )


def command(record: Record) -> str:
    """What measures the same again."""
    if record.kind not in COMMANDS:
        return f"./lab {record.kind}"
    task, options = COMMANDS[record.kind]
    given = ["./lab", task]
    # A suite of the user's own is asked for by its path, and the name alone is none.
    own = {"suite": record.summary["asked_as"]} if record.summary.get("asked_as") else {}
    for option in options:
        value = {**record.scenario, **own}.get(option)
        flag = f"--{option.replace('_', '-')}"
        if value is True:
            given.append(flag)
        elif value not in (None, False):
            given += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(given)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _checkout(git: str) -> str:
    if git == "unknown" or git.endswith(DIRTY):
        return ""
    return f"git checkout {git}"


def _median(row: Row) -> str:
    scale = quantities.scale(row.unit, [row.median])
    return f"{row.metric} {scale.quantity(row.median)}"


def _drawn(chart: Chart) -> Drawn:
    # Markup: `plots.draw` gives an element whose text ElementTree has escaped.
    drawing = Markup(plots.draw(chart.plot, chart.key, chart.finding))  # noqa: S704 - see above
    return Drawn(chart, drawing)


def _forest(forest: Forest) -> DrawnForest:
    # Markup: as above.
    drawing = Markup(plots.draw(forest.plot, forest.key, forest.finding))  # noqa: S704 - see above
    return DrawnForest(forest, drawing)


def _drops(record: Record) -> dict[str, int]:
    found: dict[str, int] = {}
    for drop in record.dropped:
        found[drop["scenario"]] = found.get(drop["scenario"], 0) + 1
    return found


def _conditions(record: Record) -> tuple[Condition, ...]:
    """Conditions that several scenarios share are said once."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, values in record.conditions.items():
        found.setdefault(tuple(words.flat(values)), []).append(name)
    return tuple(Condition(tuple(names), values) for values, names in found.items())


def _is_table(value: Any) -> bool:
    """Whether it is a list of objects, such as rows; the page has them already."""
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in value)


def _matrix(value: Any) -> tuple[tuple[Any, ...], ...]:
    """A list of lists of equal length; empty where it is something else."""
    if not isinstance(value, list) or not value:
        return ()
    rows = [one for one in value if isinstance(one, list) and one]
    if len(rows) != len(value) or len({len(one) for one in rows}) != 1:
        return ()
    return tuple(tuple(one) for one in rows)
