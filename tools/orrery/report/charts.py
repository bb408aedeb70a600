"""Which plots a record gets, and what is in them. Pure: nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from orrery.measure import quantities
from orrery.measure.quantities import Scale
from orrery.measure.record import Record, Row
from orrery.report import comparison, words
from orrery.report.findings import Finding

MOST_MARKS = 12
"""More in one plot is no picture any more; the rest gets a plot of its own."""
FEWEST_FRAMES = 3
"""With fewer sizes of frames there is no curve."""
PERCENTILES = ("p50", "p90", "p99", "p99.9", "min", "avg", "max")
# Parameters that say what was sent, as a heading; the others tell the sides of a comparison apart.
LOAD = ("path", "traffic", "seconds", "streams", "direction", "frame", "loss")
HOST_COST = "host_cpu"
COSTS = {
    HOST_COST: "Processor time of the host",
    "near_cpu": "Processor time of the near side",
    "far_cpu": "Processor time of the far side",
}
T = TypeVar("T")
K = TypeVar("K")
METRICS = {
    "throughput": "throughput",
    "rate": "packet rate",
    "transactions": "transactions",
    "loss": "lost packets",
    **{key: text.lower() for key, text in COSTS.items()},
}


@dataclass(frozen=True)
class Mark:
    """One figure in a plot.

    Attributes:
        label: What it is of.
        note: Second line, smaller.
        text: The figure with its unit.
        series: Number of its colour and shape.
        filled: Whether its shape is filled: stable, and for a ratio shown with equal offloads.
    """

    label: str
    text: str
    series: int
    median: float
    low: float
    high: float
    trials: tuple[float, ...] = ()
    note: str = ""
    filled: bool = True


@dataclass(frozen=True)
class Lanes:
    """One lane for each figure, one below the other, on a common axis.

    Attributes:
        groups: Headings (empty for none) and what stands below them.
        axis: Label of the axis.
        log: Whether the axis is logarithmic.
        reference: A value that is marked, for ratios; they have no bars.
    """

    groups: tuple[tuple[str, tuple[Mark, ...]], ...]
    axis: str
    log: bool
    reference: float | None = None


@dataclass(frozen=True)
class Curves:
    """Figures over the size of frames, one curve for each side.

    Attributes:
        places: What stands below the axis, from left to right.
        series: Label and figures of each curve, by number of the place.
    """

    places: tuple[str, ...]
    series: tuple[tuple[str, tuple[tuple[int, Mark], ...]], ...]
    axis: str
    log: bool


@dataclass(frozen=True)
class Line:
    """A row of the table beside a plot."""

    label: str
    row: Row
    scale: Scale


@dataclass(frozen=True)
class Chart:
    """A plot and the numbers beside it.

    Attributes:
        key: Unique on the page, of letters that an id may have.
        about: What all of it has in common.
        finding: What it shows, for those who do not see it.
    """

    key: str
    title: str
    about: str
    plot: Lanes | Curves
    lines: tuple[Line, ...]
    unit: str
    finding: str


@dataclass(frozen=True)
class Forest:
    """Ratios as a plot.

    Attributes:
        title: What was sent.
        found: What is in it, in the same order.
    """

    key: str
    title: str
    plot: Lanes
    found: tuple[Finding, ...]
    finding: str


def charts(record: Record) -> tuple[Chart, ...]:
    """The plots of a record: by traffic for a network, by metric for settings, else by unit."""
    if comparison.settings_of(record):
        made = list(_by_metric(record))
        return tuple(replace(one, key=f"plot-{number}") for number, one in enumerate(made, 1))
    known = [row for row in record.rows if "traffic" in record.scenarios.get(row.scenario, {})]
    others = [row for row in record.rows if row not in known]
    made = [*_by_traffic(record, known), *_by_unit(record, others)]
    return tuple(replace(one, key=f"plot-{number}") for number, one in enumerate(made, start=1))


def forests(found: Sequence[Finding]) -> tuple[Forest, ...]:
    """The plots of ratios, by what was sent: in each, larger is better, or smaller."""
    made = []
    kinds = _grouped(found, lambda one: (one.kind, one.better))
    parts = [(kind, part) for kind, all_ in kinds for part in _batched(all_)]
    for number, ((kind, better), part) in enumerate(parts, start=1):
        marks = tuple(_ratio_mark(one) for one in part)
        log = min(value for mark in marks for value in (mark.median, mark.low, mark.high)) > 0
        axis = f"ratio{', logarithmic scale' if log else ''}; {better} is better"
        said = "; ".join(f"{mark.label}: {mark.text}, {mark.note}" for mark in marks)
        made.append(
            Forest(
                key=f"ratios-{number}",
                title=kind,
                plot=Lanes((("", marks),), axis, log, reference=1.0),
                found=tuple(part),
                finding=f"Ratios, {kind}: {said}.",
            )
        )
    return tuple(made)


def _ratio_mark(one: Finding) -> Mark:
    value, low, high = quantities.ratios(one.ratio.ratio, one.ratio.low, one.ratio.high)
    unequal = one.ratio.equal_offloads is False
    notes = [one.about, f"{one.offloads} offloads" if one.known else "offloads not read back"]
    notes += [] if one.ratio.shown else ["no difference shown"]
    return Mark(
        label=f"{one.a} / {one.b}",
        text=f"{value}\u00d7 ({low} to {high})",
        series=1 if unequal else 0,
        median=one.ratio.ratio,
        low=one.ratio.low,
        high=one.ratio.high,
        note="; ".join(notes),
        filled=one.ratio.shown and not unequal,
    )


def _by_traffic(record: Record, rows: Sequence[Row]) -> Iterator[Chart]:
    def kind(row: Row) -> tuple[str, str]:
        parameters = record.scenarios[row.scenario]
        return str(parameters["traffic"]), str(parameters.get("path", ""))

    for (traffic, path), part in _grouped(rows, kind):
        listed = [row for row in part if row.listed] or part
        where = words.PATHS.get(path, path)
        what = words.TRAFFIC.get(traffic, traffic)
        named = [row for row in listed if row.metric in PERCENTILES]
        if named:
            title = f"{what}, {where}: round-trip time"
            yield from _lanes(record, named, title, _percentile)
        rest = [row for row in listed if row.metric not in PERCENTILES]
        if not any(row.metric in COSTS for row in rest):
            rest += [row for row in part if row.metric == HOST_COST]
        for (metric, unit), same in _grouped(rest, lambda row: (row.metric, row.unit)):
            title = f"{what}, {where}: {METRICS.get(metric, metric)}"
            curves = _curves(record, same, title, unit)
            yield from [curves] if curves else _lanes(record, same, title, _load(record, same))


def _by_metric(record: Record) -> Iterator[Chart]:
    """Plots with a lane for each setting."""
    settings = comparison.settings_of(record)
    # The same setting has the same colour and shape in every plot.
    series = {name: number % words.SERIES_COUNT for number, name in enumerate(settings)}
    for metric in comparison.compared(record):
        rows = [row for row in record.rows if row.metric == metric]
        for number, batch in enumerate(_batched(rows)):
            scale = quantities.scale(batch[0].unit, [row.median for row in batch])
            lines = tuple(Line(settings[row.scenario], row, scale) for row in batch)
            marks = tuple(_mark(line, series[line.row.scenario]) for line in lines)
            tail = f" (part {number + 1})" if number else ""
            title = words.measured(metric) + tail
            yield _chart(title, "", lines, _lanes_of((("", marks),), scale))


def _by_unit(record: Record, rows: Sequence[Row]) -> Iterator[Chart]:
    """Plots of figures that are nobody's in particular."""
    only = {row.scenario for row in rows}
    for unit, part in _grouped(rows, lambda row: row.unit):
        scenarios = {row.scenario for row in part}
        title = f"Figures in {unit}" if unit else "Ratios and shares"
        # A name that all figures have in common says nothing in front of each.
        alike = len(only) == 1 or scenarios == {record.scenario["name"]}
        common = next(iter(scenarios)) if alike else ""
        for batch in _batched(part):
            scale = quantities.scale(unit, [row.median for row in batch])
            lines = tuple(Line(_generic_label(row, common), row, scale) for row in batch)
            marks = tuple(
                _mark(line, number % words.SERIES_COUNT if len(batch) > 1 else 0)
                for number, line in enumerate(lines)
            )
            yield _chart(title, "", lines, _lanes_of((("", marks),), scale))


def _generic_label(row: Row, common: str) -> str:
    return row.metric if row.scenario == common else f"{row.metric}, {row.scenario}"


def _lanes(
    record: Record, rows: Sequence[Row], title: str, heading: Callable[[Row], str]
) -> Iterator[Chart]:
    """Plots with a lane for each row, below headings; headings that are all alike are left out."""
    parameters = [record.scenarios[row.scenario] for row in rows]
    shared = words.common(parameters)
    keys = [k for k in words.varying(parameters) if k not in LOAD]
    keys = ["backend", *(k for k in keys if k != "backend")]
    groups = [(name, tuple(part)) for name, part in _grouped(rows, heading)]
    for number, chunk in enumerate(_chunks(groups)):
        shown = [row for _, part in chunk for row in part]
        unit = shown[0].unit
        scale = quantities.scale(unit, [row.median for row in shown])
        label = _labeller(record, keys, shared)
        lines = tuple(Line(label(row), row, scale) for row in shown)
        by_row = {id(line.row): _mark(line, _series(record, line)) for line in lines}
        lanes = tuple((name, tuple(by_row[id(row)] for row in part)) for name, part in chunk)
        if len(groups) == 1:
            lanes = (("", lanes[0][1]),)
        else:
            lines = tuple(
                replace(line, label=f"{name}: {line.label}" if name else line.label)
                for (name, part), first in zip(chunk, _offsets(chunk), strict=True)
                for line in lines[first : first + len(part)]
            )
        said = groups[0][0] if len(groups) == 1 else ""
        about = _about(shared, said)
        tail = f" (part {number + 1})" if number else ""
        yield _chart(title + tail, about, lines, _lanes_of(lanes, scale))


def _curves(record: Record, rows: Sequence[Row], title: str, unit: str) -> Chart | None:
    """Figures over the size of frames; None where there are too few sizes."""
    parameters = [record.scenarios[row.scenario] for row in rows]
    frames = sorted({str(one["frame"]) for one in parameters if "frame" in one}, key=_frame_order)
    if len(frames) < FEWEST_FRAMES or any("frame" not in one for one in parameters):
        return None
    shared = words.common(parameters)
    keys = [key for key in words.varying(parameters) if key not in ("frame", "backend")]
    label = _labeller(record, ["backend", *keys], shared)
    scale = quantities.scale(unit, [row.median for row in rows])
    by_backend = keys == [] and "backend" not in shared
    lines: list[Line] = []
    series: list[tuple[str, tuple[tuple[int, Mark], ...]]] = []
    for name, part in _grouped(rows, label):
        ordered = sorted(part, key=lambda row: _frame_order(_frame(record, row)))
        points = []
        for row in ordered:
            line = Line(f"{words.word('frame', _frame(record, row))}: {name}", row, scale)
            lines.append(line)
            mark = _mark(line, _series(record, line) if by_backend else len(series))
            points.append((frames.index(_frame(record, row)), mark))
        series.append((name, tuple(points)))
    lines.sort(key=lambda line: _frame_order(_frame(record, line.row)))
    log = quantities.logarithmic([row.median for row in rows])
    plot = Curves(tuple(frames), tuple(series), _axis(scale, log), log)
    return _chart(title, _about(shared, ""), tuple(lines), plot)


def _chart(title: str, about: str, lines: tuple[Line, ...], plot: Lanes | Curves) -> Chart:
    said = "; ".join(f"{one.label}: {one.scale.quantity(one.row.median)}" for one in lines)
    finding = f"{title}. Medians: {said}."
    return Chart("", title, about, plot, lines, lines[0].scale.unit, finding)


def _lanes_of(groups: tuple[tuple[str, tuple[Mark, ...]], ...], scale: Scale) -> Lanes:
    marks = [mark for _, part in groups for mark in part]
    medians = [mark.median for mark in marks]
    lowest = min(min((mark.low, *mark.trials)) for mark in marks)
    log = quantities.logarithmic(medians) and lowest > 0
    return Lanes(groups, _axis(scale, log), log)


def _axis(scale: Scale, log: bool) -> str:
    return ", ".join(filter(None, [scale.unit, "logarithmic scale" if log else ""]))


def _mark(line: Line, series: int) -> Mark:
    row, scale = line.row, line.scale
    return Mark(
        label=line.label,
        text=scale.quantity(row.median),
        series=series,
        median=row.median * scale.factor,
        low=row.low * scale.factor,
        high=row.high * scale.factor,
        trials=tuple(trial * scale.factor for trial in row.trials),
        note="" if row.stable else "unstable",
        filled=row.stable,
    )


def _labeller(
    record: Record, keys: Sequence[str], shared: Mapping[str, Any]
) -> Callable[[Row], str]:
    """What a row is called where its neighbours differ in some parameters."""
    told = [key for key in keys if key != "backend" or "backend" not in shared]

    def label(row: Row) -> str:
        parameters = record.scenarios[row.scenario]
        return words.phrase(parameters, told) or str(parameters.get("backend", row.scenario))

    return label


def _load(record: Record, rows: Sequence[Row]) -> Callable[[Row], str]:
    """What was sent, as far as it is not the same in all rows."""
    varying = words.varying([record.scenarios[row.scenario] for row in rows])
    keys = [key for key in LOAD if key in varying]
    return lambda row: words.phrase(record.scenarios[row.scenario], keys)


def _percentile(row: Row) -> str:
    return row.metric


def _about(shared: Mapping[str, Any], heading: str) -> str:
    """What a plot's title does not say and all in it have in common."""
    keys = [
        k for k in shared if k not in ("path", "traffic") and not (k == "queues" and _one(shared))
    ]
    said = words.phrase(shared, keys)
    return f"{heading}: {said}" if heading and heading in PERCENTILES else said


def _one(shared: Mapping[str, Any]) -> bool:
    return bool(shared.get("queues") == 1)


def _series(record: Record, line: Line) -> int:
    backend = str(record.scenarios[line.row.scenario].get("backend", ""))
    return words.SERIES.get(backend, 0) % words.SERIES_COUNT


def _frame(record: Record, row: Row) -> str:
    return str(record.scenarios[row.scenario]["frame"])


def _frame_order(frame: str) -> tuple[int, str]:
    return (int(frame), "") if frame.isdecimal() else (1 << 30, frame)


def _batched(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), MOST_MARKS):
        yield items[start : start + MOST_MARKS]


def _chunks(groups: Sequence[tuple[str, Sequence[Row]]]) -> list[list[tuple[str, Sequence[Row]]]]:
    """Groups in portions that one plot can hold; only a group that is too large is cut."""
    chunks: list[list[tuple[str, Sequence[Row]]]] = [[]]
    for name, rows in groups:
        for part in _batched(rows):
            if sum(len(other) for _, other in chunks[-1]) + len(part) > MOST_MARKS:
                chunks.append([])
            chunks[-1].append((name, part))
    return [chunk for chunk in chunks if chunk]


def _offsets(chunk: Sequence[tuple[str, Sequence[Row]]]) -> list[int]:
    """Where each group begins in the rows of a chunk."""
    return [sum(len(rows) for _, rows in chunk[:number]) for number in range(len(chunk))]


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> list[tuple[K, list[T]]]:
    """Items with equal keys, in the order in which the keys come first."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())
