"""All 10,000 test images through the API: how many are right, and what is taken for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from orrery.errors import FunctionError
from orrery.measure.record import Row
from orrery.measure.scenario import Scenario
from orrery.mnist import api, images
from orrery.mnist.data import Examples
from orrery.whisk.client import WhiskClient


@dataclass(frozen=True)
class EvaluateScenario(Scenario):
    """Parameters of one evaluation.

    Attributes:
        inverted: Whether the images are sent dark on white.
        count: How many images, from the set's beginning.
        batch: Images in one activation.
        connections: Activations at once.
    """

    kind: ClassVar[str] = "mnist.evaluate"

    inverted: bool = False
    count: int = 10_000
    batch: int = 250
    connections: int = 2


@dataclass
class Evaluation:
    """What came out.

    Attributes:
        confusion: Rows are the digits that are there, columns those that were read.
        seconds: From the first call to the last answer [s].
    """

    confusion: list[list[int]] = field(
        default_factory=lambda: [[0] * images.CLASSES for _ in range(images.CLASSES)]
    )
    seconds: float = 0.0

    def add(self, labels: Sequence[int], digits: Sequence[int]) -> None:
        """Count one batch.

        Raises:
            FunctionError: The answers are not as many as the pictures.
        """
        if len(labels) != len(digits):
            raise FunctionError(f"{len(labels)} pictures were sent, {len(digits)} answers came")
        for label, digit in zip(labels, digits, strict=True):
            self.confusion[label][digit] += 1

    @property
    def count(self) -> int:
        """Pictures that were classified."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """Pictures that were read right."""
        return sum(self.confusion[digit][digit] for digit in range(images.CLASSES))

    @property
    def accuracy(self) -> float:
        """Share of the pictures that were read right."""
        return self.right / self.count

    def rows(self, scenario: EvaluateScenario) -> list[Row]:
        """The rows of the record."""
        return [
            Row.of(scenario, "accuracy", "", [self.accuracy], needed=1),
            Row.of(scenario, "time", "s", [self.seconds], needed=1),
        ]

    def recall(self, digit: int) -> float:
        """Share of one digit's pictures that were read right; 0 where there are none."""
        total = sum(self.confusion[digit])
        return self.confusion[digit][digit] / total if total else 0.0


async def evaluate(
    client: WhiskClient,
    examples: Examples,
    scenario: EvaluateScenario,
    advance: Callable[[int], object],
) -> Evaluation:
    """Send the images in batches, several at once.

    Args:
        client: An open client.
        examples: The test set.
        scenario: How many, how large, how concurrent.
        advance: Gets the number of pictures of every batch that is done.

    Raises:
        FunctionError: A batch was not classified.
    """
    evaluation = Evaluation()
    starts = iter(range(0, scenario.count, scenario.batch))
    began = time.monotonic()

    async def worker() -> None:
        for start in starts:
            indices = range(start, min(start + scenario.batch, scenario.count))
            pictures = [
                api.encode(images.picture(examples, index, inverted=scenario.inverted))
                for index in indices
            ]
            answer = await api.classify(client, {"images": pictures})
            evaluation.add([examples.labels.data[index] for index in indices], answer.res)
            advance(len(indices))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(scenario.connections):
                group.create_task(worker())
    except* FunctionError as several:
        # The other workers were cancelled; the first reason is the one to tell.
        raise several.exceptions[0] from None
    evaluation.seconds = time.monotonic() - began
    return evaluation
