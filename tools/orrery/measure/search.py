"""The highest load that a device forwards without losing more than it may. Pure.

Throughput as RFC 2544, 26.1 has it, by bisection. What is counted is the offered load, that is what
the sender really sent, and never the intended one that it was asked for (RFC 2285, 3.5.1, 3.5.2).
RFC 2544 knows no loss but zero; a share above zero is the loss ratio of draft-ietf-bmwg-mlrsearch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from orrery.errors import MeasurementError

OFFERED_NEEDED = 0.95
"""A sender that sends less than this share of what it was asked for has reached its own limit."""

CLEAR_LOSS = 0.10
"""A loss above this is overload, and no mishap of one trial: nothing is gained by another look."""


@dataclass(frozen=True)
class Counts:
    """Packets of one trial: sent, and received on the other side."""

    sent: int
    received: int

    @property
    def loss(self) -> float:
        """Share of the sent packets that did not arrive; 1 where none was sent."""
        if self.sent <= 0:
            return 1.0
        return max(0.0, 1.0 - self.received / self.sent)


@dataclass(frozen=True)
class Step:
    """One trial of a search.

    Attributes:
        load_pps: Intended load [packets/s].
        offered_pps: Offered load [packets/s].
        loss: Share of the sent packets.
        passed: Whether the loss is allowed.
        limited: Whether the sender could not offer the intended load.
    """

    load_pps: int
    offered_pps: int
    sent: int
    received: int
    loss: float
    passed: bool
    limited: bool


@dataclass(frozen=True)
class Throughput:
    """What a search found.

    Attributes:
        load_pps: Highest offered load that passed and was confirmed [packets/s]; 0 if none did.
        steps: Every trial, in order.
        bounded: Whether a load within the precision above it was seen to fail.
        why: How the search ended.
    """

    load_pps: int
    steps: tuple[Step, ...]
    bounded: bool
    why: str


def search(
    measure: Callable[[float, int], Counts],
    *,
    low_pps: int,
    high_pps: int,
    loss: float = 0.0,
    precision: float = 0.02,
    duration_s: float = 2.0,
    most_steps: int = 24,
    confirm: int = 1,
) -> Throughput:
    """Search between two loads.

    The highest load goes first. If it fails, the load just below what still arrived follows, and if
    that fails, too, the lowest. Then it is always the (geometric) middle between a load that passes
    and one that fails, until they are within `precision`, as a share of the upper one. A load that
    fails by little is tried `confirm` times again, the lowest twice as often, and fails if none of
    these passes. The result has to pass `confirm` more trials; if it does not, it is a load that
    fails, and the search goes on below it. After `most_steps` trials it ends with what it has.

    A device that fails at some load and passes at a higher one has several boundaries; the search
    ends at one of them, whose lower side passes.

    `measure` offers a load [packets/s] for a duration [s]; `loss` is the share that may be lost.

    Raises:
        MeasurementError: The limits make no sense, or the sender sent nothing.
    """
    for wrong, why in (
        (not 1 <= low_pps <= high_pps, f"loads go from {low_pps} to {high_pps}: no range"),
        (not 0.0 <= loss < 1.0, f"loss is {loss}; 0 to 1 is needed, 1 excluded"),
        (not 0.0 < precision < 1.0, f"precision is {precision}; between 0 and 1 is needed"),
        (most_steps < 3 + confirm or confirm < 0, f"{most_steps} steps are too few"),
        (duration_s <= 0, f"a trial of {duration_s} s gives nothing"),
    ):
        if wrong:
            raise MeasurementError(f"search: {why}")
    return _Search(measure, loss, precision, duration_s, most_steps, confirm).run(low_pps, high_pps)


class _Search:
    """State of one search. The bracket holds intended loads, so that every step makes it smaller.

    `failing` is the lowest load that is known to fail. It only ever falls.
    """

    def __init__(
        self,
        measure: Callable[[float, int], Counts],
        loss: float,
        precision: float,
        duration_s: float,
        most_steps: int,
        confirm: int,
    ) -> None:
        self.measure, self.loss, self.precision = measure, loss, precision
        self.duration_s, self.most_steps, self.confirm = duration_s, most_steps, confirm
        self.steps: list[Step] = []
        self.failing: int | None = None

    def run(self, low: int, high: int) -> Throughput:
        """Bracket, bisect, confirm; where confirmation fails, once more below."""
        top = self._verdict(high)
        if not top.passed:
            self._follow(top, low)
        lowest_tried = False
        while True:
            best = self._best()
            if best is None:
                if lowest_tried or self._spare() <= self.confirm:
                    return Throughput(0, tuple(self.steps), bounded=False, why=self._nothing())
                lowest_tried = True
                self._verdict(low, looks=2 * self.confirm)
                continue
            middle = self._middle(best.load_pps)
            if middle is not None and self._spare() > self.confirm:
                self._verdict(middle)
            elif self._spare() < self.confirm:
                return self._ended(best, middle, confirmed=False)
            elif self._holds(best):
                return self._ended(best, middle, confirmed=True)

    def _follow(self, top: Step, low: int) -> None:
        """Try just below, and where that passes just above, what still arrived at the top."""
        arrived = top.received / self.duration_s
        near, above = (round(arrived * (1 + side * self.precision / 2)) for side in (-1, 1))
        if self.failing is None or not low < near < self.failing:
            return
        if self._verdict(near).passed and above < self.failing and self._spare() > self.confirm:
            self._verdict(above)

    def _spare(self) -> int:
        return self.most_steps - len(self.steps)

    def _best(self) -> Step | None:
        """The highest load that passed and was not refuted since."""
        below = [
            step
            for step in self.steps
            if step.passed and (self.failing is None or step.load_pps < self.failing)
        ]
        return max(below, key=lambda step: step.load_pps, default=None)

    def _middle(self, passing: int) -> int | None:
        """The next load to try; None where the bracket is closed."""
        if self.failing is None or self.failing - passing <= self.precision * self.failing:
            return None
        middle = round(math.sqrt(passing * self.failing))
        return middle if passing < middle < self.failing else None

    def _trial(self, load: int) -> Step:
        counts = self.measure(self.duration_s, load)
        if counts.sent <= 0:
            raise MeasurementError(
                f"search: the sender sent nothing when asked for {load} packets/s. "
                "Look at its output, its route and its link."
            )
        offered = round(counts.sent / self.duration_s)
        step = Step(
            load_pps=load,
            offered_pps=offered,
            sent=counts.sent,
            received=counts.received,
            loss=counts.loss,
            passed=counts.loss <= self.loss,
            limited=offered < OFFERED_NEEDED * load,
        )
        self.steps.append(step)
        return step

    def _verdict(self, load: int, looks: int | None = None) -> Step:
        """Try a load; a failure that may be a mishap is looked at again."""
        step = self._trial(load)
        for _ in range(self.confirm if looks is None else looks):
            if step.passed or step.loss > max(CLEAR_LOSS, 2 * self.loss) or self._spare() <= 0:
                break
            step = self._trial(load)
        if not step.passed:
            self._fails(step)
        return step

    def _fails(self, step: Step) -> None:
        """What fails is the offered load; a load that passed below stays below."""
        load = min(step.load_pps, step.offered_pps) if step.limited else step.load_pps
        best = self._best()
        if best is not None and best.load_pps < step.load_pps:
            load = max(load, best.load_pps + 1)
        self.failing = load if self.failing is None else min(self.failing, load)

    def _holds(self, best: Step) -> bool:
        for _ in range(self.confirm):
            if not self._trial(best.load_pps).passed:
                self.failing = best.load_pps
                return False
        return True

    def _ended(self, best: Step, middle: int | None, *, confirmed: bool) -> Throughput:
        passed = [one for one in self.steps if one.load_pps == best.load_pps and one.passed]
        load = min(one.offered_pps for one in passed)
        closed = self.failing is not None and middle is None and confirmed
        if not confirmed or middle is not None:
            why = f"ended after {len(self.steps)} trials, with {self.failing} packets/s failing"
            why += "" if confirmed else "; the result is not confirmed"
        elif any(one.limited for one in passed):
            why, closed = f"the sender offers no more than {load} packets/s", False
        elif self.failing is None:
            why = "the device passes the highest load that was allowed"
        else:
            why = f"passes {load} packets/s, fails at {self.failing}"
        return Throughput(load, tuple(self.steps), closed, why)

    def _nothing(self) -> str:
        if not any(step.received for step in self.steps):
            return "nothing arrived at any load"
        lowest = min(self.steps, key=lambda step: (step.load_pps, step.loss))
        return f"{lowest.loss:.3%} are lost at {lowest.load_pps} packets/s, the lowest load tried"
