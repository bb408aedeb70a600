"""A record as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from orrery.measure.record import Record, Row


def table(record: Record, title: str = "") -> Table:
    """One line per row of the record: median, spread, trials, and whether it is stable.

    A scenario that all rows have is said once, above them.
    """
    scenarios = {row.scenario for row in record.rows}
    common = scenarios.pop() if len(scenarios) == 1 else ""
    heading = title or common or None
    shown = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    if not common:
        shown.add_column("scenario", overflow="fold")
    shown.add_column("metric", no_wrap=True)
    for heading in ("median", "low", "high"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("unit", no_wrap=True)
    shown.add_column("trials", justify="right", no_wrap=True)
    shown.add_column("stable", no_wrap=True)
    for row in record.rows:
        shown.add_row(*([] if common else [row.scenario]), *_cells(row))
    return shown


def show(record: Record, console: Console | None = None, title: str = "") -> None:
    """Print the table, and below it why a row is unstable."""
    out = console or Console()
    out.print(table(record, title))
    for row in record.rows:
        if not row.stable and len(row.trials) > 1:
            out.print(f"{row.metric} is unstable: {row.reason}", highlight=False)


def figure(value: float) -> str:
    """A number with as many digits as a reader can use."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    verdict = "yes" if row.stable else "no"
    numbers = (figure(row.median), figure(row.low), figure(row.high))
    return (row.metric, *numbers, row.unit, str(len(row.trials)), verdict)
