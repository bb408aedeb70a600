"""Trials: warm calls in a row, calls over several connections, cold starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from orrery.errors import MeasurementError
from orrery.measure import stats
from orrery.whisk import probe
from orrery.whisk.client import WhiskClient


@dataclass(frozen=True)
class WarmTrial:
    """Quantiles over the calls of one trial [ms]."""

    overhead_p50: float
    overhead_p99: float
    client_p50: float
    client_p99: float


@dataclass
class Tally:
    """Activations that one host got so far, and how many warm calls turned out cold."""

    activations: int = 0
    cold_seen: int = 0


async def warm(client: WhiskClient, name: str, calls: int, tally: Tally) -> WarmTrial:
    """One trial of warm calls, one after the other; a cold one among them does not count.

    Raises:
        MeasurementError: No call was warm.
    """
    made = []
    for _ in range(calls):
        made.append(await probe.call(client, name))  # noqa: PERF401 -- one call at a time
    tally.activations += len(made)
    tally.cold_seen += sum(one.cold for one in made)
    return summarise(made, client.base)


def summarise(made: Sequence[probe.Call], base: str) -> WarmTrial:
    """Quantiles of the warm ones among some calls.

    Raises:
        MeasurementError: There is none.
    """
    counted = [one for one in made if not one.cold]
    if not counted:
        raise MeasurementError(
            f"{base}: each of {len(made)} calls in a row was a cold start. "
            "The host keeps no container warm: free memory for its pool, or raise --warm-calls."
        )
    overhead = [one.overhead_ms for one in counted]
    client = [one.client_ms for one in counted]
    return WarmTrial(
        stats.median(overhead),
        stats.quantile(overhead, 0.99),
        stats.median(client),
        stats.quantile(client, 0.99),
    )


async def throughput(
    client: WhiskClient, name: str, connections: int, seconds: float, tally: Tally
) -> float:
    """Finished activations a second, with one call in flight on each connection [1/s]."""
    began = time.perf_counter()
    done = await _drive(client, name, connections, tally, until=began + seconds)
    return done / (time.perf_counter() - began)


async def some(client: WhiskClient, name: str, connections: int, calls: int, tally: Tally) -> None:
    """A number of activations over several connections, untimed."""
    await _drive(client, name, connections, tally, calls=calls)


async def cold(client: WhiskClient, memory_mb: int, tally: Tally) -> float:
    """The client's time for the first call of a fresh action [ms].

    Raises:
        MeasurementError: The call was not a cold start.
    """
    async with probe.deployed(client, memory_mb) as name:
        first = await probe.call(client, name)
    tally.activations += 1
    if not first.cold:
        raise MeasurementError(
            f"{client.base}: the first call of a fresh action shows no initTime; "
            "a cold start cannot be told from a warm one"
        )
    return first.client_ms


async def _drive(
    client: WhiskClient,
    name: str,
    connections: int,
    tally: Tally,
    *,
    calls: int | None = None,
    until: float | None = None,
) -> int:
    left = calls
    done = 0

    def more() -> bool:
        nonlocal left
        if left is not None:
            left -= 1
            return left >= 0
        return until is not None and time.perf_counter() < until

    async def worker() -> None:
        nonlocal done
        while more():
            await probe.call(client, name)
            done += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(worker())
    except ExceptionGroup as failed:
        # All workers meet the same refusal; the first says it.
        raise failed.exceptions[0] from None
    finally:
        tally.activations += done
    return done
