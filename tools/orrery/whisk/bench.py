"""The benchmark of an OpenWhisk: warm cost, throughput, cold starts, memory, length of the store.

Both sides of a comparison are measured by turns in one run, so that whatever else the machine
does meets both. The client's own cost is measured against a server that does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from orrery.measure import host as hosts
from orrery.measure import record as records
from orrery.measure.record import Record
from orrery.whisk import figures, floor, load, probe, stored, target
from orrery.whisk.access import Access
from orrery.whisk.client import WhiskClient
from orrery.whisk.figures import Found, Trials
from orrery.whisk.options import BenchOptions

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """One host under measurement, with the deployed action."""

    client: WhiskClient
    action: str
    memory_mb: int
    trials: Trials


def run(coroutine: Coroutine[Any, Any, Record]) -> Record:
    """Run to the end, on the faster event loop where it is installed; Ctrl-C cancels it."""
    try:
        import uvloop
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)


async def measure(
    options: BenchOptions, access: Access, baseline: Access | None = None, tell: Tell = print
) -> Record:
    """Measure everything the options ask for and return the record, not yet saved.

    Raises:
        ConfigurationError: Credentials or throttles do not suffice, or `--stored` cannot be done.
        FunctionError: A host does not answer or refuses.
        MeasurementError: What came back is no measurement.
    """
    started, seen = records.begin(), hosts.describe()
    found = Found()
    async with contextlib.AsyncExitStack() as stack:
        places = [(figures.TARGET, access)]
        if baseline is not None:
            places.append((figures.BASELINE, baseline))
        clients = [
            (label, await stack.enter_async_context(place.client(options.connections)))
            for label, place in places
        ]
        for _, client in clients:
            await _check(client, options)
        second = stored.plan(clients[0][1].base) if options.stored else None
        sides = [await _deploy(stack, label, client) for label, client in clients]
        found.hosts = [side.trials for side in sides]
        await _floor(options, found, tell)
        await _trials(options, sides, tell)
        await _cold(options, sides, tell)
        await _memory(options, sides[0], found, tell)
    if second is not None:
        found.stored = await stored.measure(second, options, tell)
    rows = figures.rows(options, found)
    summary = figures.summary(options, found, rows)
    versions = {"aiohttp": metadata.version("aiohttp")}
    return records.make(options, rows, summary, started=started, versions=versions, host=seen)


async def _check(client: WhiskClient, options: BenchOptions) -> None:
    """Limits first: nothing is deployed where they would cut the measurement short."""
    found = target.throttle(await client.info(), await client.limits())
    needed = target.Throttle(options.per_minute, options.connections)
    target.check_throttle(client.base, found, needed)


async def _deploy(stack: contextlib.AsyncExitStack, label: str, client: WhiskClient) -> Side:
    memory = await probe.memory_mb(client)
    action = await stack.enter_async_context(probe.deployed(client, memory))
    return Side(client, action, memory, Trials(label))


async def _floor(options: BenchOptions, found: Found, tell: Tell) -> None:
    tell("client's own cost")
    async with floor.server() as url, WhiskClient(url, "floor:floor") as client:
        tally = load.Tally()
        await load.some(client, "floor", 1, options.warm_up, tally)
        for _ in range(options.trials):
            trial = await load.warm(client, "floor", options.warm_calls, tally)
            found.floor_ms.append(trial.client_p50)


async def _trials(options: BenchOptions, sides: list[Side], tell: Tell) -> None:
    for side in sides:
        tell(f"{side.trials.label}: first calls")
        tally = side.trials.tally
        await load.some(side.client, side.action, options.connections, options.warm_up, tally)
    for number in range(1, options.trials + 1):
        for side in sides:
            found = side.trials
            tell(f"{found.label}: warm calls, trial {number} of {options.trials}")
            found.warm.append(
                await load.warm(side.client, side.action, options.warm_calls, found.tally)
            )
        for side in sides:
            found = side.trials
            tell(f"{found.label}: throughput, trial {number} of {options.trials}")
            found.per_s.append(
                await load.throughput(
                    side.client, side.action, options.connections, options.seconds, found.tally
                )
            )


async def _cold(options: BenchOptions, sides: list[Side], tell: Tell) -> None:
    for number in range(1, options.cold_trials + 1):
        for side in sides:
            tell(f"{side.trials.label}: cold start {number} of {options.cold_trials}")
            took = await load.cold(side.client, side.memory_mb, side.trials.tally)
            side.trials.cold_ms.append(took)


async def _memory(options: BenchOptions, side: Side, found: Found, tell: Tell) -> None:
    """Read the engine's memory after so many activations, where its process can be seen."""
    if not options.rss_after:
        return
    pid = target.local_pid(side.client.base)
    if pid is None:
        found.notes.append(
            "rss_mb: the engine's process is not on this machine, or only root can see it"
        )
        return
    tally = side.trials.tally
    missing = options.rss_after - tally.activations
    if missing > 0:
        tell(f"memory: {missing} more activations")
        await load.some(side.client, side.action, options.connections, missing, tally)
    found.rss_mb, found.rss_after = target.rss_mb(pid), tally.activations
