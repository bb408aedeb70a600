"""A record, and the comparison of two, as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from orrery.measure import labels as names
from orrery.measure import quantities, stats
from orrery.measure.compare import Compared, Comparison
from orrery.measure.labels import Labels
from orrery.measure.quantities import figure
from orrery.measure.record import Record
from orrery.measure.rows import Row

NARROW = 100
"""Fewer columns of a terminal than this have no room for the rest."""
NAME_WIDTH = 22
FILE_WIDTH = 110
"""Columns of a table that goes into a file."""


def console() -> Console:
    """Standard output; wide enough for tables where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=FILE_WIDTH)


def table(record: Record, title: str = "", width: int = NARROW) -> Table:
    """One line per listed row of the record: median, interval, trials, and whether it is stable.

    What all scenarios have in common is said once, above them; so is a scenario that all have.

    Args:
        record: What is shown.
        title: Stands above it.
        width: Columns of the terminal.
    """
    listed = [row for row in record.rows if row.listed]
    found = _labels(record, (row.scenario for row in listed))
    single = len({row.scenario for row in listed}) == 1
    common = listed[0].scenario if single else found.common
    heading = "\n".join(filter(None, (title, common if not (single and title) else "")))
    shown = _table(heading)
    if not single:
        shown.add_column("scenario", overflow="fold", min_width=NAME_WIDTH)
    narrow = width < NARROW
    shown.add_column("metric", no_wrap=True)
    for name in ("median", "low to high") if narrow else ("median", "low", "high"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("unit", no_wrap=True)
    if not narrow:
        shown.add_column("trials", justify="right", no_wrap=True)
        shown.add_column("stable", no_wrap=True)
    section = ""
    for row in listed:
        if found.sections.get(row.scenario, "") != section and not single:
            section = found.sections.get(row.scenario, "")
            shown.add_row(section)
        shown.add_row(*_first(found, row.scenario, single), *_cells(row, narrow))
    return shown


def show(record: Record, console: Console | None = None, title: str = "") -> None:
    """Print the table, and below it ratios, why a row is unstable, and what has no figure."""
    out = console or Console()
    out.print(table(record, title, out.width))
    shown = [row for row in record.rows if row.listed]
    several = len({row.scenario for row in shown}) > 1
    found = _labels(record, (row.scenario for row in shown))
    if record.ratios:
        out.print()
        out.print(_ratios(record, found))
    lines = []
    for row in shown:
        if not row.stable and len(row.trials) > 1:
            where = f"{found.full(row.scenario)}, " if several else ""
            lines.append(f"{where}{row.metric} is unstable: {row.reason}")
    for line in [*lines, *_left(record, found)]:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def show_compared(found: Comparison, console: Console | None = None) -> None:
    """Print what two records say about the same figures: b over a, and whether they differ."""
    out = console or Console()
    for line in found.differences:
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    both = [row for row in found.rows if row.a is not None and row.b is not None]
    label = names.labels(found.scenarios)
    if both:
        out.print(_compared(both, label))
        out.print("Where shown says no, no difference is shown.")
    for row in found.rows:
        # That a difference is not shown stands in the table.
        if row.why and row.why != stats.NOT_SHOWN:
            line = f"{label.full(row.scenario)}, {row.metric}: {row.why}"
            out.print(line, highlight=False, markup=False, soft_wrap=True)
    if found.overlap is not None:
        line = f"intervals overlap on {found.overlap:.0%} of {len(both)} rows that both have"
        out.print(line, highlight=False)


def _compared(rows: Sequence[Compared], label: Labels) -> Table:
    shown = _table(label.common)
    shown.add_column("scenario", overflow="fold", min_width=NAME_WIDTH)
    for name in ("metric", "unit"):
        shown.add_column(name, no_wrap=True)
    for name in ("a", "b", "b / a"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("interval", no_wrap=True)
    shown.add_column("shown", no_wrap=True)
    section = ""
    for row in rows:
        if label.sections.get(row.scenario, "") != section:
            section = label.sections.get(row.scenario, "")
            shown.add_row(section)
        shown.add_row(
            *_first(label, row.scenario, single=False),
            row.metric,
            row.unit,
            figure(row.a or 0.0),
            figure(row.b or 0.0),
            *_times(row.ratio, row.low, row.high),
            "yes" if row.shown else "no",
        )
    return shown


def _ratios(record: Record, found: Labels) -> Table:
    shown = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    shown.add_column(overflow="fold", min_width=NAME_WIDTH)
    shown.add_column(no_wrap=True)
    shown.add_column(justify="right", no_wrap=True)
    shown.add_column(no_wrap=True)
    shown.add_column()
    heading = ""
    for ratio in record.ratios:
        sides, shared = found.pair(ratio.a, ratio.b)
        if shared != heading:
            heading = shared
            shown.add_row(heading)
        numbers = _times(ratio.ratio, ratio.low, ratio.high)
        shown.add_row(_indented(sides, bool(shared)), ratio.metric, *numbers, ratio.why)
    return shown


def _left(record: Record, found: Labels) -> list[str]:
    """What has no figure, with the reason; equal reasons once."""
    lines = []
    for word, entries in (("skipped", record.skipped), ("failed", record.failed)):
        reasons: dict[str, list[str]] = {}
        for entry in entries:
            reasons.setdefault(entry["reason"], []).append(found.full(entry["scenario"]))
        lines += [f"{word}: {'; '.join(which)}: {why}" for why, which in reasons.items()]
    lines += [
        f"dropped: {found.full(drop['scenario'])}, block {drop['block']}: {drop['reason']}"
        for drop in record.dropped
    ]
    return lines


def _labels(record: Record, order: Iterable[str]) -> Labels:
    """Labels of the scenarios of the listed rows first, then of what else the record knows."""
    first = dict.fromkeys(order)
    wanted = [*first, *(name for name in record.scenarios if name not in first)]
    return names.labels({name: record.scenarios.get(name, {}) for name in wanted})


def _table(heading: str) -> Table:
    return Table(
        title=heading or None, title_justify="left", box=None, pad_edge=False, padding=(0, 1)
    )


def _first(found: Labels, name: str, single: bool) -> list[Padding | str]:
    if single:
        return []
    text = found.shorts.get(name, name) or name
    return [_indented(text, bool(found.sections.get(name)))]


def _indented(text: str, below: bool) -> Padding | str:
    return Padding(text, (0, 0, 0, 2)) if below else text


def _times(ratio: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if ratio is None or low is None or high is None:
        return "", ""
    middle, lower, upper = quantities.ratios(ratio, low, high)
    return middle, f"({lower} to {upper})"


def _cells(row: Row, narrow: bool) -> tuple[str, ...]:
    middle, low, high = figure(row.median), figure(row.low), figure(row.high)
    if narrow:
        return (row.metric, middle, f"{low} to {high}", row.unit)
    verdict = "yes" if row.stable else "no"
    return (row.metric, middle, low, high, row.unit, str(len(row.trials)), verdict)
