"""Two records of the same scenarios, made apart: what differs between them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orrery.errors import MeasurementError
from orrery.measure import stats
from orrery.measure.record import Record
from orrery.measure.rows import Row

HOST_KEYS = {
    "cpu_model": "the CPU",
    "cores": "the number of cores",
    "memory_mb": "the memory [MiB]",
    "kernel": "the kernel",
    "distro": "the distribution",
}
"""Of a host, what makes its figures others. Its load is not one of them."""


@dataclass(frozen=True)
class Compared:
    """One metric of one scenario in two records.

    Attributes:
        a: Median in the first record; None where only the second has the row.
        b: Median in the second record; None where only the first has the row.
        ratio: b / a; None where there is none.
        low: Lower end of the ratio's 95 % interval; both sides are drawn anew, unpaired.
        high: Upper end.
        shown: Whether a difference is shown.
        overlap: Whether the intervals of the two medians overlap; None where one is missing.
        why: What a reader must know: no difference shown, only one has it, why there is no ratio.
        listed: Whether one of the two lists it in its table.
    """

    scenario: str
    metric: str
    unit: str
    a: float | None
    b: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    shown: bool = False
    overlap: bool | None = None
    why: str = ""
    listed: bool = True


@dataclass(frozen=True)
class Comparison:
    """Everything that two records say about each other.

    Attributes:
        rows: Those of the first record in its order, then those that only the second has.
        differences: What else differs, host, accelerator, versions, as sentences.
        overlap: Share of common rows whose intervals overlap; None where there is no common row.
        scenarios: Parameters of the scenarios, by name, in the order of the rows.
    """

    rows: tuple[Compared, ...]
    differences: tuple[str, ...]
    overlap: float | None
    scenarios: Mapping[str, Mapping[str, Any]]


def comparison(a: Record, b: Record, *, listed: bool = True) -> Comparison:
    """Compare two records; `listed` leaves out rows that neither of their tables shows."""
    rows = [row for row in compare(a, b) if row.listed or not listed]
    known = {**b.scenarios, **a.scenarios}
    return Comparison(
        rows=tuple(rows),
        differences=tuple(differences(a, b)),
        overlap=overlap_share(rows),
        scenarios={row.scenario: known.get(row.scenario, {}) for row in rows},
    )


def compare(a: Record, b: Record) -> list[Compared]:
    """Rows with the same scenario and metric: b over a, unpaired. Then what only one has."""
    others = {(row.scenario, row.metric): row for row in b.rows}
    found = []
    for row in a.rows:
        other = others.pop((row.scenario, row.metric), None)
        found.append(_alone(row, first=True) if other is None else _both(row, other))
    return found + [_alone(row, first=False) for row in others.values()]


def overlap_share(rows: Sequence[Compared]) -> float | None:
    """Share of the rows that both have whose intervals overlap; None where both have none."""
    common = [row.overlap for row in rows if row.overlap is not None]
    return sum(common) / len(common) if common else None


def differences(a: Record, b: Record) -> list[str]:
    """What else differs between two records and can be why their figures do, as sentences."""
    found = [
        _differs(what, a.host.get(key), b.host.get(key))
        for key, what in HOST_KEYS.items()
        if a.host.get(key) != b.host.get(key)
    ]
    if a.accel != b.accel:
        found.append(_differs("the accelerator", a.accel, b.accel))
    programs = dict.fromkeys((*a.versions, *b.versions))
    found += [
        _differs(f"the version of {name}", a.versions.get(name), b.versions.get(name))
        for name in programs
        if a.versions.get(name) != b.versions.get(name)
    ]
    if a.git != b.git:
        found.append(_differs("the commit", a.git, b.git))
    elif a.git.endswith("-dirty"):
        found.append(f"Both were made with files that differ from commit {a.git[:12]}.")
    restless = [
        name
        for name, one in (("a", a), ("b", b))
        if not dict(one.host.get("work", {})).get("quiet", True)
    ]
    if restless:
        found.append(f"The machine was not quiet in {' and '.join(restless)}.")
    if a.scenario != b.scenario:
        found.append(_differs("what was asked for", a.scenario["name"], b.scenario["name"]))
    return found + _conditions(a, b)


def _conditions(a: Record, b: Record) -> list[str]:
    """What was read back otherwise, each pair of values once with its number of scenarios."""
    counted: dict[tuple[str, str, str], int] = {}
    for name in a.conditions.keys() & b.conditions.keys():
        one, other = a.conditions[name], b.conditions[name]
        for key in dict.fromkeys((*one, *other)):
            if one.get(key) != other.get(key):
                place = (key, str(one.get(key)), str(other.get(key)))
                counted[place] = counted.get(place, 0) + 1
    return [
        _differs(f"the condition {key} of {count} scenario{'s' * (count > 1)}", one, other)
        for (key, one, other), count in sorted(counted.items())
    ]


def _differs(what: str, one: Any, other: Any) -> str:
    first, second = ("unknown" if value is None else value for value in (one, other))
    return f"{what[:1].upper()}{what[1:]} differs: {first} in a, {second} in b."


def _alone(row: Row, *, first: bool) -> Compared:
    return Compared(
        row.scenario,
        row.metric,
        row.unit,
        row.median if first else None,
        None if first else row.median,
        why=f"only {'a' if first else 'b'} has it",
        listed=row.listed,
    )


def _both(one: Row, other: Row) -> Compared:
    place = (one.scenario, one.metric, one.unit, one.median, other.median)
    listed = one.listed or other.listed
    if one.unit != other.unit:
        why = f"the units differ: '{one.unit}' in a, '{other.unit}' in b"
        return Compared(*place, why=why, listed=listed)
    overlap = one.interval.overlaps(other.interval)
    try:
        found = stats.unpaired_ratio(other.trials, one.trials)
    except MeasurementError as error:
        return Compared(*place, overlap=overlap, why=f"no ratio: {error}", listed=listed)
    return Compared(
        *place, found.ratio, found.low, found.high, found.shown, overlap, found.why, listed
    )
