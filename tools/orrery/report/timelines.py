"""Moves of guests as timelines: phases of the migration over what each clock showed.

A record of a drill has a timeline of every move; of each scenario two are drawn, the middle one
and the worst one by the longest silence of its connections. Each is drawn twice: all of it, and
the switch-over alone, where the silences are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from orrery.measure.record import Record
from orrery.report import svg
from orrery.report.layout import linear_ticks, shorten, tick_text
from orrery.report.plots import NOTE, TICK, WIDTH, Canvas, quiet

KEY = "timelines"
BEFORE_MS, AFTER_MS = 250.0, 1500.0
"""What is drawn of a switch-over, from the pause's begin and its end [ms]."""
MOST = 8
"""Timelines of a page."""
NETWORK = "packets"
COUNTED = ("packets", "bytes", "dropped", "errors")
WAYS = {"rx": "from the guest", "tx": "to the guest"}
COLOURS = {"setup": 7, "memory": 0, "memory after the switch-over": 3, "switch-over": 1}
PAUSE_COLOUR, GAP_COLOUR, STREAM_COLOUR = 1, 4, 2
_HEAD, _ROW, _BAR, _STREAM, _FOOT = 14.0, 36.0, 11.0, 46.0, 34.0


@dataclass(frozen=True)
class Clock:
    """A row of the table: what a clock showed.

    Attributes:
        longest: Its longest silence in the switch-over, as text.
    """

    name: str
    longest: str


@dataclass(frozen=True)
class PortWay:
    """A row of the table of ports: what the switch counted one way.

    Attributes:
        counts: Of each of `COUNTED`: what was added in the move, before it and after it, as
            texts; empty for what the port does not count.
    """

    name: str
    counts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Drawn:
    """One move.

    Attributes:
        whole: The plot of all of it.
        close: The plot of the switch-over; empty where the guest never stopped.
    """

    key: str
    title: str
    whole: Markup
    close: Markup
    clocks: tuple[Clock, ...]
    ports: tuple[PortWay, ...] = ()


def drawn(record: Record) -> tuple[Drawn, ...]:
    """The timelines of a record; none where it has none."""
    found = record.summary.get(KEY)
    if not isinstance(found, list):
        return ()
    by_scenario: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        by_scenario.setdefault(str(one["scenario"]), []).append(one)
    several = len(by_scenario) > 1
    made = [
        _drawn(f"timeline-{number}-{which}", f"{name}: {word}" if several else word, one)
        for number, (name, moves) in enumerate(by_scenario.items(), start=1)
        for which, (word, one) in enumerate(_chosen(moves), start=1)
    ]
    return tuple(made[:MOST])


def longest(timeline: Mapping[str, Any], name: str = "") -> float:
    """The longest silence in the switch-over, of one clock or of all connections [ms]."""
    start, end = _close(timeline)
    clocks = [
        one
        for one in timeline["clocks"]
        if (one["name"] == name if name else one["name"].startswith(NETWORK))
    ]
    gaps = [gap for one in clocks for gap in one["gaps"]]
    return max((length for at, length in gaps if at + length > start and at < end), default=0.0)


def _chosen(
    moves: Sequence[Mapping[str, Any]],
) -> list[tuple[str, Mapping[str, Any]]]:
    ordered = sorted(moves, key=longest)
    middle, worst = ordered[(len(ordered) - 1) // 2], ordered[-1]
    if len(moves) == 1:
        return [("the move", worst)]
    return [(f"the middle one of {len(moves)} moves", middle), ("the worst move", worst)]


def _drawn(key: str, title: str, timeline: Mapping[str, Any]) -> Drawn:
    clocks = tuple(
        Clock(one["name"], f"{longest(timeline, one['name']):.0f} ms") for one in timeline["clocks"]
    )
    said = "; ".join(f"{one.name}: {one.longest}" for one in clocks)
    finding = f"{title}, longest silence in the switch-over: {said}."
    start, end = _close(timeline)
    close = Markup("")
    if timeline["paused"]:
        close = _plot(timeline, start, end, f"{key}-close", finding)
    whole = _plot(timeline, timeline["start_ms"], timeline["end_ms"], f"{key}-whole", finding)
    route = f"{timeline['source']} to {timeline['target']}, {timeline['outcome']}"
    return Drawn(key, f"{title} ({route})", whole, close, clocks, _ports(timeline))


def _ports(timeline: Mapping[str, Any]) -> tuple[PortWay, ...]:
    """Both ports, both ways; none in a record from before they were counted."""
    return tuple(
        PortWay(
            f"{one['side']} ({one['port']}), {word}",
            tuple(_count(one, f"{way}_{kind}") for kind in COUNTED),
        )
        for one in timeline.get("ports", ())
        for way, word in WAYS.items()
    )


def _count(port: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    if name not in port["after"]:
        return ("", "", "")
    before, after = port["before"].get(name, 0), port["after"][name]
    return (f"{port['added'][name]:,}", f"{before:,}", f"{after:,}")


def _close(timeline: Mapping[str, Any]) -> tuple[float, float]:
    if not timeline["paused"]:
        return float(timeline["start_ms"]), float(timeline["end_ms"])
    stopped, resumed = timeline["paused"]
    return stopped - BEFORE_MS, resumed + AFTER_MS


def _plot(timeline: Mapping[str, Any], start: float, end: float, key: str, finding: str) -> Markup:
    with quiet(key):
        figure = _figure(timeline, start, end)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    # Markup: `svg.adopt` gives an element whose text ElementTree has escaped.
    return Markup(svg.adopt(out.getvalue(), key, finding))  # noqa: S704 - see above


def _figure(timeline: Mapping[str, Any], start: float, end: float) -> Any:
    rows = [
        ("migration", timeline["phases"]),
        *((c["name"], c["gaps"]) for c in timeline["clocks"]),
    ]
    height = _HEAD + len(rows) * _ROW + (_STREAM if timeline["stream"] else 0) + _FOOT
    canvas = Canvas(height)
    axes = canvas.axes(top=0.0, bottom=height - _FOOT)
    axes.set_xlim(start, end)
    _ground(axes, timeline, height, start, end)
    for number, (name, _) in enumerate(rows):
        top = _HEAD + number * _ROW
        canvas.text(0, top + 8, shorten(name, NOTE, WIDTH), NOTE, svg.INK)
        middle = top + 20
        axes.plot([start, end], [middle, middle], color=svg.GRID, lw=1, zorder=1)
        if number == 0:
            _phases(axes, timeline, middle)
        else:
            _bars(axes, rows[number][1], middle, svg.series(GAP_COLOUR))
    if timeline["stream"]:
        _stream(canvas, axes, timeline, _HEAD + len(rows) * _ROW)
    foot = "ms since the source was told to migrate"
    canvas.text(WIDTH, height - 4, foot, TICK, svg.MUTED, ha="right")
    return canvas.figure


def _ground(
    axes: Any, timeline: Mapping[str, Any], height: float, start: float, end: float
) -> None:
    """The axis, the pause behind all lanes, and what announced the guest."""
    ticks = [tick for tick in linear_ticks(start, end) if start <= tick <= end]
    axes.set_xticks(ticks, [tick_text(tick) for tick in ticks])
    axes.tick_params(axis="x", length=0, labelsize=TICK, labelcolor=svg.MUTED, pad=5)
    axes.set_yticks([])
    bottom = height - _FOOT
    if timeline["paused"]:
        stopped, resumed = timeline["paused"]
        colour = svg.series(PAUSE_COLOUR)
        axes.fill_between([stopped, resumed], 0, bottom, color=colour, alpha=0.18, lw=0, zorder=0)
    at = timeline["announced"]
    axes.vlines(at, 4, bottom, color=svg.MUTED, lw=0.8, ls=(0, (2, 3)), zorder=1)


def _phases(axes: Any, timeline: Mapping[str, Any], middle: float) -> None:
    for one in timeline["phases"]:
        colour = svg.series(COLOURS.get(one["name"], 7))
        _bars(axes, [(one["start_ms"], one["end_ms"] - one["start_ms"])], middle, colour)
    axes.vlines(timeline["rounds"], middle - 8, middle + 8, color=svg.PAPER, lw=1, zorder=4)


def _bars(axes: Any, spans: Sequence[Sequence[float]], middle: float, colour: str) -> None:
    """Draw spans of begin and length [ms] as one collection: a lane may have hundreds."""
    axes.broken_barh(spans, (middle - _BAR / 2, _BAR), color=colour, lw=0, zorder=3)


def _stream(canvas: Canvas, axes: Any, timeline: Mapping[str, Any], top: float) -> None:
    stream = timeline["stream"]
    values, step = stream["mbit_per_s"], stream["step_ms"]
    most = max(max(values, default=0.0), 1e-9)
    name = f"TCP stream, at most {most:.3g} Mbit/s"
    canvas.text(0, top + 8, shorten(name, NOTE, WIDTH), NOTE, svg.INK)
    base = top + _STREAM - 4
    xs = [timeline["start_ms"] + number * step for number in range(len(values))]
    ys = [base - value / most * (_STREAM - 18) for value in values]
    colour = svg.series(STREAM_COLOUR)
    axes.fill_between(xs, ys, base, step="post", color=colour, alpha=0.5, lw=0, zorder=2)
