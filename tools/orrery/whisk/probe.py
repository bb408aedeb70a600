"""The benchmark's own action: it does nothing and says how long that took."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from orrery.errors import FunctionError, MeasurementError
from orrery.whisk.client import WhiskClient

KIND = "python:default"
MEMORY_MB = 128
PREFIX = "orrery-bench-"

SOURCE = """\
import time


def main(args):
    began = time.perf_counter()
    answer = {"echo": args.get("n")}
    answer["run_us"] = (time.perf_counter() - began) * 1e6
    return answer
"""


@dataclass(frozen=True)
class Call:
    """One timed call.

    Attributes:
        client_ms: From the call of the client to its result [ms].
        run_ms: What the action measured itself [ms].
        cold: Whether the container was initialised for it.
    """

    client_ms: float
    run_ms: float
    cold: bool

    @property
    def overhead_ms(self) -> float:
        """What was not the action [ms]."""
        return self.client_ms - self.run_ms


@contextlib.asynccontextmanager
async def deployed(client: WhiskClient, memory_mb: int = MEMORY_MB) -> AsyncIterator[str]:
    """Deploy the action under a fresh name; it is removed again, also after Ctrl-C."""
    name = PREFIX + secrets.token_hex(6)
    try:
        await client.put_action(name, kind=KIND, code=SOURCE, limits={"memory": memory_mb})
        yield name
    except BaseException:
        # What went wrong first is what the user has to hear of.
        with contextlib.suppress(FunctionError):
            await client.delete_action(name)
        raise
    await client.delete_action(name)


async def call(client: WhiskClient, name: str) -> Call:
    """Invoke the action once, blocking.

    Raises:
        MeasurementError: It did not answer as it must.
        FunctionError: The host refused.
    """
    began = time.perf_counter()
    found = await client.invoke(name)
    took_ms = (time.perf_counter() - began) * 1000
    if not found.ok:
        raise MeasurementError(
            f"{client.base}: the benchmark's action answered {found.status_code}: {found.body}"
        )
    return read(found.body, took_ms, client.base)


def read(body: Any, took_ms: float, base: str) -> Call:
    """Take the figures from an activation record.

    Raises:
        MeasurementError: They are not there.
    """
    try:
        run_us = float(body["response"]["result"]["run_us"])
        keys = {item["key"] for item in body.get("annotations") or ()}
    except (KeyError, TypeError, ValueError) as error:
        text = f"{base}: the benchmark's action answered without run_us: {body}"
        raise MeasurementError(text) from error
    return Call(took_ms, run_us / 1000, "initTime" in keys)


async def memory_mb(client: WhiskClient) -> int:
    """Memory for the action that the host allows [MB]."""
    limits = (await client.info()).get("limits")
    if not isinstance(limits, dict):
        raise FunctionError(f"{client.base}/ shows no limits: this is no OpenWhisk")
    return max(MEMORY_MB, int(limits.get("min_action_memory", 0)) // (1024 * 1024))
