"""What the routes work with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from orrery.engine.auth import Users
from orrery.engine.config import ActionLimitRange, EngineConfig
from orrery.engine.dispatch import Dispatcher
from orrery.engine.entities.runtimes import Runtimes
from orrery.engine.invoker import Invoker
from orrery.engine.store import Store
from orrery.engine.throttle import Throttle

LARGE_BODIES: Final = 4


@dataclass(frozen=True)
class Engine:
    """The parts of a running engine.

    Attributes:
        allowed: What an action may ask for; never more memory than the pool has.
        large_bodies: Taken while a body with code is in memory, so that a few uploads at a time
            bound what they need together.
    """

    config: EngineConfig
    store: Store
    invoker: Invoker
    users: Users
    throttle: Throttle
    runtimes: Runtimes
    dispatcher: Dispatcher
    allowed: ActionLimitRange
    large_bodies: asyncio.Semaphore


def make_engine(
    config: EngineConfig, store: Store, invoker: Invoker, throttle: Throttle | None = None
) -> Engine:
    """Put an engine together; nothing is started."""
    limits = config.action_limits
    memory = min(limits.memory_max_mb, config.pool_memory_mb)
    return Engine(
        config=config,
        store=store,
        invoker=invoker,
        users=Users(config.users),
        throttle=throttle or Throttle(),
        runtimes=Runtimes(config.runtimes, config.default_kind),
        dispatcher=Dispatcher(store, invoker),
        allowed=replace(
            limits, memory_max_mb=memory, memory_std_mb=min(limits.memory_std_mb, memory)
        ),
        large_bodies=asyncio.Semaphore(LARGE_BODIES),
    )
