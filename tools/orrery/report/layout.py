"""Where text and ticks of a plot go, so that nothing lies on anything else."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from orrery.report.svg import printable

MOST_TICKS = 5


def spread(
    places: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Places in rising order, moved as little as is needed so that none lies on another [px]."""
    found: list[float] = []
    for place, _ in zip(places, heights, strict=True):
        least = found[-1] + heights[len(found) - 1] if found else low
        found.append(max(place, least))
    end = high
    for number in range(len(found) - 1, -1, -1):
        found[number] = min(found[number], end - heights[number])
        end = found[number]
    return found


def linear_ticks(low: float, high: float) -> list[float]:
    """At most `MOST_TICKS` round values from low to high."""
    step = 10.0 ** math.floor(math.log10(high - low))
    for factor in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0):
        width_ = step * factor
        first, last = math.ceil(low / width_ - 1e-9), math.floor(high / width_ + 1e-9)
        if last - first < MOST_TICKS:
            return [number * width_ for number in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float) -> list[float]:
    """At most `MOST_TICKS` round values; of a narrow range those of a linear axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for heads in ((1, 2, 5), (1, 3), (1,)):
        ticks = [h * 10.0**e for e in range(first, last + 1) for h in heads]
        inside = [tick for tick in ticks if low <= tick <= high]
        if 3 <= len(inside) <= MOST_TICKS:
            return inside
    decades = [10.0**e for e in range(first, last + 1) if low <= 10.0**e <= high]
    if len(decades) > MOST_TICKS:
        return decades[:: math.ceil(len(decades) / MOST_TICKS)]
    return linear_ticks(low, high)


def tick_text(value: float) -> str:
    """A round value below an axis."""
    return f"{value:,.10g}" if 1e-4 <= abs(value) < 1e9 or value == 0 else f"{value:.3g}"


def wrap(text: str, size: float, room: float) -> list[str]:
    """Lines of a text that are not wider than the room [px]; a word that is gets cut."""
    lines = [""]
    for word in printable(text).split():
        for part in _parts(word, size, room):
            joined = f"{lines[-1]} {part}".strip()
            if width(joined, size) <= room:
                lines[-1] = joined
            else:
                lines.append(part)
    return [line for line in lines if line] or [""]


def shorten(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """The text, or as much of its beginning as the room holds [px]."""
    if width(text, size, bold=bold) <= room:
        return text
    while text and width(text + "...", size, bold=bold) > room:
        text = text[:-1]
    return text + "..."


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a text in DejaVu Sans, which is wider than most fonts [px]."""
    return sum(_advance(letter, size, bold) for letter in printable(text))


def _parts(word: str, size: float, room: float) -> Iterator[str]:
    while len(word) > 1 and width(word, size) > room:
        fits = max(int(len(word) * room / width(word, size)), 1)
        yield word[:fits]
        word = word[fits:]
    yield word


@functools.cache
def _advance(letter: str, size: float, bold: bool) -> float:
    """How far a letter leads [px], fitted to pixels as a browser may; kerning is less than that."""
    font = _font(bold)
    font.set_size(size, 72)
    # The box of glyph 0 stands for what the font lacks.
    return float(font.load_glyph(font.get_char_index(ord(letter))).horiAdvance) / 64


@functools.cache
def _font(bold: bool) -> Any:
    from matplotlib import font_manager

    weight = "bold" if bold else "normal"
    found = font_manager.findfont(font_manager.FontProperties(family="DejaVu Sans", weight=weight))
    return font_manager.get_font(found)
