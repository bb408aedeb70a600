"""How long one picture takes: warm, and in a container that does not exist yet."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from orrery.measure import stats
from orrery.measure.record import Row
from orrery.measure.scenario import Scenario
from orrery.mnist import api
from orrery.whisk.client import WhiskClient


@dataclass(frozen=True)
class LatencyScenario(Scenario):
    """Parameters of one measurement.

    Attributes:
        calls: Warm calls in each trial, one after the other.
        trials: Trials, warm and cold.
        warmup: Calls that are not counted.
    """

    kind: ClassVar[str] = "mnist.latency"

    calls: int = 100
    trials: int = 5
    warmup: int = 10


@dataclass(frozen=True)
class Latency:
    """What came out [ms].

    Attributes:
        p50: Median of each warm trial.
        p99: 99th percentile of each warm trial.
        cold: Each cold call.
    """

    p50: list[float]
    p99: list[float]
    cold: list[float]

    def rows(self, scenario: LatencyScenario) -> list[Row]:
        """The rows of the record."""
        return [
            Row.of(scenario, "warm p50", "ms", self.p50),
            Row.of(scenario, "warm p99", "ms", self.p99),
            Row.of(scenario, "cold", "ms", self.cold),
        ]

    def summary(self) -> dict[str, Any]:
        """The stable keys of `mnist.latency`."""
        warm = {
            "p50": round(stats.median(self.p50), 3),
            "p99": round(stats.median(self.p99), 3),
        }
        return {"warm_ms": warm, "cold_ms": {"p50": round(stats.median(self.cold), 3)}}


async def measure(
    client: WhiskClient, url: str, scenario: LatencyScenario, advance: Callable[[int], object]
) -> Latency:
    """Classify one picture by its URL again and again; warm and cold trials take turns.

    Args:
        client: An open client.
        url: Of a picture on an allowed host.
        scenario: How often.
        advance: Gets 1 for every trial that is done.

    Raises:
        FunctionError: A call failed.
    """
    for _ in range(scenario.warmup):
        await api.classify(client, {"url": url})
    p50, p99, cold = [], [], []
    for _ in range(scenario.trials):
        times = [
            (await api.classify(client, {"url": url})).seconds * 1000 for _ in range(scenario.calls)
        ]
        p50.append(stats.quantile(times, 0.5))
        p99.append(stats.quantile(times, 0.99))
        cold.append(await _cold(client, url) * 1000)
        advance(1)
    return Latency(p50, p99, cold)


async def _cold(client: WhiskClient, url: str) -> float:
    """Time of the first call of an action that has no container [s].

    A copy under a new name has none; the warm containers of the original stay.
    """
    original = await client.get_action(api.ACTION)
    name = f"{api.ACTION}-cold-{uuid.uuid4().hex[:8]}"
    recipe = original["exec"]
    await client.put_action(
        name,
        kind=recipe["kind"],
        code=recipe.get("code"),
        image=recipe.get("image"),
        main=recipe.get("main"),
        limits=original["limits"],
        parameters=original.get("parameters") or [],
    )
    try:
        return (await api.classify(client, {"url": url}, name)).seconds
    finally:
        await client.delete_action(name)
