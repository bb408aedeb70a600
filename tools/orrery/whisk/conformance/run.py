"""Checks facts against a host."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orrery.errors import ConfigurationError, FunctionError
from orrery.whisk import target
from orrery.whisk.answers import Reply
from orrery.whisk.client import WhiskClient, basic
from orrery.whisk.conformance import actions, activations, information, invocations
from orrery.whisk.conformance.fact import KIND, TOOL_SOURCE, Fact, Step, Who, fill
from orrery.whisk.conformance.match import difference

FACTS: tuple[Fact, ...] = (
    *information.FACTS,
    *actions.FACTS,
    *invocations.FACTS,
    *activations.FACTS,
)
"""Every fact, in the order of the table."""

PREFIX = "orrery-fact-"
PATIENCE_S = 20.0
POLL_S = 0.1
AT_A_TIME = 4
_STRANGER = "00000000-0000-4000-8000-000000000000:" + "0" * 64


@dataclass(frozen=True)
class Verdict:
    """What became of one fact; `detail` says what was found where it does not hold."""

    fact: Fact
    passed: bool
    detail: str = ""


async def check_all(
    client: WhiskClient,
    facts: Sequence[Fact] = FACTS,
    *,
    patience_s: float = PATIENCE_S,
    tell: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Check the facts, a few at a time; everything that was deployed is removed.

    A record or a log may take `patience_s` to appear [s].

    Raises:
        FunctionError: The host does not answer, or the shared action cannot be deployed.
        ConfigurationError: Credentials or throttles do not suffice.
    """
    await _check_throttle(client, facts)
    namespaces = await client.call("GET", "/api/v1/namespaces")
    tool = PREFIX + secrets.token_hex(6)
    names = {"ns": str(namespaces[0]), "tool": tool}
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one(fact: Fact) -> Verdict:
        async with gate:
            found = await _check(client, fact, names, patience_s)
        tell(found)
        return found

    try:
        await client.put_action(tool, kind=KIND, code=TOOL_SOURCE)
        return await asyncio.gather(*(one(fact) for fact in facts))
    finally:
        await _remove(client, tool)


def invocations_needed(facts: Sequence[Fact]) -> int:
    """Activations that checking the facts starts."""
    return sum(step.invokes for fact in facts for step in fact.steps)


async def _check_throttle(client: WhiskClient, facts: Sequence[Fact]) -> None:
    found = target.throttle(await client.info(), await client.limits())
    count = invocations_needed(facts)
    if found.per_minute < count:
        raise ConfigurationError(
            f"{client.base}: the user may start {found.per_minute} activations a minute, "
            f"{count} needed. Raise invocationsPerMinute of the user."
        )


async def _check(
    client: WhiskClient, fact: Fact, shared: Mapping[str, str], patience_s: float
) -> Verdict:
    token = secrets.token_hex(6)
    names = {**shared, "a": f"{PREFIX}{token}-a", "b": f"{PREFIX}{token}-b"}
    try:
        for number, step in enumerate(fact.steps, start=1):
            if wrong := await _step(client, fill(step, names), names, patience_s):
                return Verdict(fact, False, f"step {number}, {step.method} {step.path}: {wrong}")
    except FunctionError as error:
        return Verdict(fact, False, str(error))
    finally:
        if any(step.method == "PUT" and "<a>" in step.path for step in fact.steps):
            await _remove(client, names["a"])
    return Verdict(fact, True)


async def _step(client: WhiskClient, step: Step, names: dict[str, str], patience_s: float) -> str:
    """Make the request until it fits or patience ends; returns what is wrong."""
    end = time.monotonic() + (patience_s if step.until else 0.0)
    while True:
        reply = await client.request(
            step.method,
            step.path,
            query=step.query,
            body=step.body,
            data=step.data,
            headers={**_credentials(step.who), **step.send},
        )
        wrong = _compare(step, reply)
        if not wrong:
            return _save(step, reply, names)
        if time.monotonic() >= end:
            return wrong
        await asyncio.sleep(POLL_S)


def _credentials(who: Who) -> dict[str, str | None]:
    if who is Who.USER:
        return {}
    return {"Authorization": None if who is Who.NOBODY else basic(_STRANGER)}


def _compare(step: Step, reply: Reply) -> str:
    if reply.status != step.status:
        return f"status {reply.status} ({reply.error}), {step.status} expected"
    for name, pattern in step.headers.items():
        if wrong := difference(pattern, reply.header(name), f"header {name}"):
            return wrong
    return difference(step.match, reply.body)


def _save(step: Step, reply: Reply, names: dict[str, str]) -> str:
    for name, source in step.save.items():
        value: Any = (
            reply.header(source[1:]) if source.startswith("@") else (reply.body or {}).get(source)
        )
        if not isinstance(value, str):
            return f"{source} is missing"
        names[name] = value
    return ""


async def _remove(client: WhiskClient, name: str) -> None:
    # It may never have been there, and a host that is gone is reported by what failed first.
    with contextlib.suppress(FunctionError):
        await client.delete_action(name)
