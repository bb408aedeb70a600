"""Plots as SVG, drawn by matplotlib without pyplot's global state.

They are narrow, so that a phone shows them in a size that can be read: labels stand above their
lanes, not beside them. One unit of the drawing is one pixel at a width of `WIDTH`.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from orrery.report import svg
from orrery.report.charts import Curves, Lanes, Mark
from orrery.report.layout import (
    linear_ticks,
    log_ticks,
    shorten,
    spread,
    tick_text,
    width,
    wrap,
)

WIDTH = 360.0
LABEL, NOTE, TICK = 12.5, 11.0, 11.0
"""Sizes of text [px]."""
SIDE = 12.0
"""Left and right of the axis [px]: half of the widest label below it."""
WIDEST_VALUE = 0.6
NEAR = 0.8
"""A plot of ratios reaches at least to this, and as far to the other side."""
SHAPES = ("o", "s", "^", "D", "P", "v", "X", "p")
CURVES_HEIGHT = 230.0
_LINE, _NOTE_LINE, _TRACK, _HEADING, _FOOT = 17.0, 14.0, 28.0, 26.0, 38.0
_TRANSPARENT = "none"


def draw(plot: Lanes | Curves, key: str, finding: str) -> str:
    """A plot as an SVG element for a page; the same plot and key give the same text."""
    with quiet(key):
        figure_ = _lanes(plot) if isinstance(plot, Lanes) else _curves(plot)
        out = io.StringIO()
        figure_.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    return svg.adopt(out.getvalue(), key, finding)


@contextlib.contextmanager
def quiet(key: str) -> Iterator[None]:
    """Have matplotlib's settings for plots of pages; `key` makes names in them the same again."""
    # Half a second that no other task has to wait for.
    import matplotlib as mpl

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": key,
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "figure.dpi": 72,
        "path.simplify": False,
    }
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A letter that the font lacks: the page's own font will have it.
        warnings.simplefilter("ignore")
        yield


def _lanes(plot: Lanes) -> Any:
    """Lanes below each other; the height follows from what is in them."""
    blocks, height = _layout(plot)
    canvas = Canvas(height)
    axes = canvas.axes(top=0.0, bottom=height - _FOOT)
    marks = [mark for _, part in plot.groups for mark in part]
    _horizontal(axes, plot, marks)
    for kind, top, content in blocks:
        if kind == "heading":
            canvas.text(0, top + 17, content, NOTE + 0.5, svg.MUTED, weight="bold")
        else:
            _lane(canvas, axes, plot, content, top)
    canvas.text(WIDTH, height - 4, shorten(plot.axis, TICK, WIDTH), TICK, svg.MUTED, ha="right")
    return canvas.figure


def _layout(plot: Lanes) -> tuple[list[tuple[str, float, Any]], float]:
    """Headings and lanes with the place where they begin [px], and the height of all."""
    blocks: list[tuple[str, float, Any]] = []
    top = 0.0
    for heading, marks in plot.groups:
        if heading:
            for line in wrap(heading, NOTE + 0.5, WIDTH):
                blocks.append(("heading", top, line))
                top += _HEADING
        for mark in marks:
            blocks.append(("lane", top, mark))
            top += _lane_height(mark)
    return blocks, top + _FOOT


def _lane_height(mark: Mark) -> float:
    lines, notes = _label_lines(mark)
    return len(lines) * _LINE + len(notes) * _NOTE_LINE + _TRACK


def _label_lines(mark: Mark) -> tuple[list[str], list[str]]:
    room = WIDTH - width(_value(mark), LABEL, bold=True) - 12
    lines = wrap(mark.label, LABEL, room)
    return lines, wrap(mark.note, NOTE, WIDTH) if mark.note else []


def _value(mark: Mark) -> str:
    """The figure; a unit that nobody expects must leave room for the label."""
    return shorten(mark.text, LABEL, WIDTH * WIDEST_VALUE, bold=True)


def _lane(canvas: Canvas, axes: Any, plot: Lanes, mark: Mark, top: float) -> None:
    lines, notes = _label_lines(mark)
    for number, line in enumerate(lines):
        canvas.text(0, top + 13 + number * _LINE, line, LABEL, svg.INK)
    canvas.text(WIDTH, top + 13, _value(mark), LABEL, svg.INK, weight="bold", ha="right")
    top += len(lines) * _LINE
    for number, line in enumerate(notes):
        canvas.text(0, top + 11 + number * _NOTE_LINE, line, NOTE, svg.MUTED)
    middle = top + len(notes) * _NOTE_LINE + 10
    colour = svg.series(mark.series)
    start, end = axes.get_xlim()
    axes.plot([start, end], [middle, middle], color=svg.GRID, lw=1, zorder=1)
    # Short lines in each lane, not long ones through the text between them.
    axes.vlines(axes.get_xticks(), middle - 6, middle + 6, color=svg.GRID, lw=1, zorder=1)
    if plot.reference is not None:
        here = [plot.reference, plot.reference]
        axes.plot(here, [middle - 7, middle + 7], color=svg.INK, lw=1.6, zorder=1)
    if plot.reference is None and not plot.log:
        axes.plot(
            [0, mark.median],
            [middle, middle],
            color=colour,
            alpha=0.35,
            lw=9,
            zorder=2,
            solid_capstyle="butt",
        )
    axes.plot(
        [mark.low, mark.high], [middle, middle], color=colour, lw=3, zorder=3, solid_capstyle="butt"
    )
    _point(axes, mark, mark.median, middle)
    below = [middle + 8.5] * len(mark.trials)
    # A shape at the end of the axis reaches over it.
    circles = {"ms": 3.6, "mfc": _TRANSPARENT, "mec": svg.MUTED, "mew": 0.9}
    axes.plot(mark.trials, below, "o", zorder=4, clip_on=False, **circles)


def _point(axes: Any, mark: Mark, x: float, y: float) -> None:
    colour = svg.series(mark.series)
    shape = SHAPES[mark.series % len(SHAPES)]
    # The page's background lies in a shape that is not filled, so that no line shows through.
    axes.plot(
        [x],
        [y],
        shape,
        ms=8,
        mec=colour,
        mew=1.8,
        zorder=5,
        mfc=colour if mark.filled else svg.PAPER,
        clip_on=False,
    )


def _horizontal(axes: Any, plot: Lanes, marks: Sequence[Mark]) -> None:
    values = [v for m in marks for v in (m.median, m.low, m.high, *m.trials)]
    low, high = min(values), max(values)
    if plot.reference is not None:
        low, high = min(low, plot.reference * NEAR), max(high, plot.reference / NEAR)
    ticks = _scale(axes, "x", low, high, log=plot.log, zero=plot.reference is None)
    axes.set_xticks(ticks, [tick_text(tick) for tick in ticks])
    axes.tick_params(axis="x", length=0, labelsize=TICK, labelcolor=svg.MUTED, pad=5)
    axes.set_yticks([])


def _scale(axes: Any, which: str, low: float, high: float, *, log: bool, zero: bool) -> list[float]:
    """Set the limits of an axis so that all is inside; returns its ticks."""
    limits = getattr(axes, f"set_{which}lim")
    if log:
        getattr(axes, f"set_{which}scale")("log")
        getattr(axes, f"{which}axis").set_minor_locator(_null())
        span = max(math.log10(high / low), 0.05)
        low, high = low * 10 ** (-0.06 * span), high * 10 ** (0.06 * span)
        limits(low, high)
        return log_ticks(low, high)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or abs(high) or 1.0
    low, high = low - (0.04 * span if low or not zero else 0.0), high + 0.04 * span
    limits(low, high)
    return linear_ticks(low, high)


def _curves(plot: Curves) -> Any:
    """One curve for each side, labelled at its right end; trials beside the medians."""
    names = [name for name, _ in plot.series]
    room = min(max(width(name, NOTE) for name in names) + 20, WIDTH * 0.42)
    height = CURVES_HEIGHT + 60
    canvas = Canvas(height)
    canvas.text(0, 12, shorten(plot.axis, TICK, WIDTH), TICK, svg.MUTED)
    left = 44.0
    axes = canvas.axes(top=22, bottom=height - 44, left=left, right=WIDTH - room, pixels=False)
    marks = [mark for _, points in plot.series for _, mark in points]
    values = [v for m in marks for v in (m.median, m.low, m.high, *m.trials)]
    ticks = _scale(axes, "y", min(values), max(values), log=plot.log, zero=True)
    axes.set_yticks(ticks, [tick_text(tick) for tick in ticks])
    axes.set_xlim(-0.4, len(plot.places) - 0.6)
    axes.set_xticks(range(len(plot.places)), plot.places, rotation=0)
    axes.tick_params(length=0, labelsize=TICK - 1, labelcolor=svg.MUTED, pad=4)
    for tick in ticks:
        axes.axhline(tick, color=svg.GRID, lw=0.8, zorder=0)
    for number, (_, points) in enumerate(plot.series):
        _curve(axes, points, (number - (len(names) - 1) / 2) * 0.12)
    _name_curves(canvas, axes, plot, height, room)
    canvas.text(
        (left + WIDTH - room) / 2, height - 8, "bytes of a frame", TICK, svg.MUTED, ha="center"
    )
    return canvas.figure


def _curve(axes: Any, points: Sequence[tuple[int, Mark]], aside: float) -> None:
    colour = svg.series(points[0][1].series)
    axes.plot(
        [p + aside for p, _ in points],
        [m.median for _, m in points],
        color=colour,
        lw=1.6,
        zorder=2,
    )
    for place, mark in points:
        x = place + aside
        axes.plot([x, x], [mark.low, mark.high], color=colour, lw=3, zorder=3)
        axes.plot(
            [x] * len(mark.trials),
            mark.trials,
            "o",
            ms=2.6,
            mfc=_TRANSPARENT,
            mec=svg.MUTED,
            mew=0.7,
            zorder=6,
        )
        axes.plot(
            [x],
            [mark.median],
            SHAPES[mark.series % len(SHAPES)],
            ms=6.5,
            mec=colour,
            mew=1.6,
            mfc=colour if mark.filled else svg.PAPER,
            zorder=5,
        )


def _name_curves(canvas: Canvas, axes: Any, plot: Curves, height: float, room: float) -> None:
    """Names beside the right ends, moved apart where they would lie on each other."""
    wanted = []
    for name, points in plot.series:
        mark = points[-1][1]
        y = height - axes.transData.transform((0, mark.median))[1]
        lines = wrap(name, NOTE, room - 20)
        wanted.append((y, lines, mark))
    wanted.sort(key=lambda entry: entry[0])
    tall = [len(lines) * _NOTE_LINE + 3 for _, lines, _ in wanted]
    places = spread([y for y, _, _ in wanted], tall, 26, height - 40)
    for (_, lines, mark), y in zip(wanted, places, strict=True):
        x = WIDTH - room
        canvas.point(x + 9, y, mark)
        for number, line in enumerate(lines):
            canvas.text(x + 19, y + 4 + number * _NOTE_LINE, line, NOTE, svg.INK)


def _null() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


class Canvas:
    """A figure whose places are pixels from the left and from the top."""

    def __init__(self, height: float) -> None:
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.height = height
        self.figure = FigureCanvasSVG(Figure(figsize=(WIDTH / 72, height / 72))).figure

    def axes(
        self,
        *,
        top: float,
        bottom: float,
        left: float = SIDE,
        right: float = WIDTH - SIDE,
        pixels: bool = True,
    ) -> Any:
        """Axes without a frame; with `pixels`, their y is the canvas's."""
        place = (
            left / WIDTH,
            1 - bottom / self.height,
            (right - left) / WIDTH,
            (bottom - top) / self.height,
        )
        axes = self.figure.add_axes(place)
        axes.patch.set_visible(False)
        axes.spines[:].set_visible(False)
        if pixels:
            axes.set_ylim(bottom, top)
        return axes

    def text(self, x: float, y: float, text: str, size: float, colour: str, **style: Any) -> None:
        """Write a line whose baseline is at y."""
        self.figure.text(
            x / WIDTH,
            1 - y / self.height,
            svg.printable(text),
            fontsize=size,
            color=colour,
            va="baseline",
            **style,
        )

    def point(self, x: float, y: float, mark: Mark) -> None:
        """Draw the shape of a mark's series."""
        from matplotlib.lines import Line2D

        colour = svg.series(mark.series)
        line = Line2D(
            [x / WIDTH],
            [1 - y / self.height],
            marker=SHAPES[mark.series % len(SHAPES)],
            ms=6.5,
            mec=colour,
            mfc=colour if mark.filled else svg.PAPER,
            mew=1.6,
            ls="",
            transform=self.figure.transFigure,
        )
        self.figure.add_artist(line)
