"""Settings of moves side by side: one row for each, one column for each figure. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orrery.measure import quantities
from orrery.measure.record import Record
from orrery.report import words

COMPARED = ("qemu_downtime", "guest_gap", "network_gap", "total", "memory")
"""Figures of moves that are compared between settings, whatever a drill lists."""
TIMES = ("before_s", "after_s", "limit_s")
"""How long probes run and a move may last: told where nothing else tells settings apart."""


@dataclass(frozen=True)
class Cell:
    """A figure of one setting.

    Attributes:
        median: In the unit of the column.
        spread: Its interval, and the number of moves where that differs between settings.
    """

    median: str
    spread: str


@dataclass(frozen=True)
class Setting:
    """A row.

    Attributes:
        cells: By column; None where no move has the figure.
    """

    label: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Table:
    """All settings of a record.

    Attributes:
        about: What they have in common.
        columns: Names of the figures, with their units.
    """

    about: str
    columns: tuple[str, ...]
    rows: tuple[Setting, ...]


def table(record: Record) -> Table | None:
    """The settings of a drill; None where there are no two to compare."""
    settings = settings_of(record)
    if not settings:
        return None
    by_place = {(row.scenario, row.metric): row for row in record.rows}
    metrics = compared(record)
    several = len({len(row.trials) for row in record.rows if row.metric in metrics}) > 1
    columns: list[str] = []
    cells: dict[str, list[Cell | None]] = {name: [] for name in settings}
    for metric in metrics:
        rows = {name: row for name in settings if (row := by_place.get((name, metric))) is not None}
        unit = next(iter(rows.values())).unit
        scale = quantities.scale(unit, [row.median for row in rows.values()])
        columns.append(", ".join(filter(None, [words.measured(metric), scale.unit])))
        for name in settings:
            row = rows.get(name)
            if row is None:
                cells[name].append(None)
                continue
            spread = f"{scale.number(row.low)} to {scale.number(row.high)}"
            moves = f"; {len(row.trials)} moves" if several else ""
            one = len(row.trials) == 1
            cells[name].append(
                Cell(scale.number(row.median), "one move" if one else spread + moves)
            )
    shared = words.common([record.scenarios[name] for name in settings])
    return Table(
        about=words.phrase(shared, shared),
        columns=tuple(columns),
        rows=tuple(Setting(label, tuple(cells[name])) for name, label in settings.items()),
    )


def settings_of(record: Record) -> dict[str, str]:
    """Scenarios of moves that are compared, and what tells each from the others; or nothing."""
    measured = {row.scenario for row in record.rows}
    found = {name: one for name, one in record.scenarios.items() if name in measured}
    if record.kind != "drill" or len(found) < 2:
        return {}
    keys = words.varying(list(found.values()))
    short = [key for key in keys if key not in TIMES]
    for told in (short, keys):
        said = {name: words.phrase(one, told) for name, one in found.items()}
        if all(said.values()) and len(set(said.values())) == len(said):
            return said
    return {name: name for name in found}


def compared(record: Record) -> list[str]:
    """Metrics that are compared: always the same ones, then what the drill lists."""
    there = dict.fromkeys(row.metric for row in record.rows)
    listed = dict.fromkeys(row.metric for row in record.rows if row.listed)
    return [one for one in dict.fromkeys([*COMPARED, *listed]) if one in there]
