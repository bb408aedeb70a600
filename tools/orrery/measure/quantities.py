"""Figures as people read them: units that fit, digits that count. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DECADES = 20.0
"""Values of one plot that differ by more than this factor get a logarithmic axis."""

# Unit as recorded: from which size on another one is read more easily, its factor and its name.
_STEPS: dict[str, tuple[tuple[float, float, str], ...]] = {
    "Mbit/s": ((1e3, 1e-3, "Gbit/s"), (1.0, 1.0, "Mbit/s"), (0.0, 1e3, "kbit/s")),
    "packets/s": ((1e6, 1e-6, "Mpackets/s"), (1e4, 1e-3, "kpackets/s")),
    "us": ((1e6, 1e-6, "s"), (1e4, 1e-3, "ms")),
    "ms": ((1e4, 1e-3, "s"), (0.1, 1.0, "ms"), (0.0, 1e3, "us")),
    "s": ((0.1, 1.0, "s"), (0.0, 1e3, "ms")),
}


@dataclass(frozen=True)
class Scale:
    """How the values of one plot and its table are written.

    Attributes:
        factor: By which a recorded value is multiplied.
        unit: That it has then; empty for a plain number.
    """

    factor: float
    unit: str

    def number(self, value: float) -> str:
        """The figure without its unit."""
        return figure(value * self.factor)

    def quantity(self, value: float) -> str:
        """The figure and its unit."""
        return f"{self.number(value)} {self.unit}".strip()


def scale(unit: str, values: Iterable[float]) -> Scale:
    """The unit in which the largest of the values is read easily."""
    largest = max((abs(value) for value in values), default=0.0)
    for least, factor, name in _STEPS.get(unit, ()):
        if largest >= least and largest > 0:
            return Scale(factor, name)
    return Scale(1.0, unit)


def figure(value: float) -> str:
    """A number with as many digits as a reader can use."""
    if value == 0:
        return "0"
    size = abs(value)
    if 100 <= size < 1e7:
        return f"{value:,.0f}"
    if 0.001 <= size < 100:
        # A share close to all: what is missing counts.
        digits = 4 if 0.99 <= size < 1 else 2 - math.floor(math.log10(size))
        return f"{value:.{max(digits, 0)}f}"
    return f"{value:.3g}"


def ratios(*values: float) -> tuple[str, ...]:
    """Ratios with two digits of the smallest, or with three where two would hide what differs.

    Where all lie on one side of 1.0, none is written as 1.0.
    """
    texts: tuple[str, ...] = ()
    aside = min(values) > 1 or max(values) < 1
    smallest = min((abs(value) for value in values if value), default=1.0)
    for digits in (2, 3):
        decimals = max(digits - 1 - math.floor(math.log10(smallest)), 0)
        texts = tuple(f"{value:.{min(decimals, 9)}f}" for value in values)
        hidden = aside and any(float(text) == 1 for text in texts)
        if not hidden and len(set(texts)) == len(set(values)):
            break
    return texts


def logarithmic(values: Sequence[float]) -> bool:
    """Whether values differ so much that a linear axis would hide the small ones."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > DECADES
