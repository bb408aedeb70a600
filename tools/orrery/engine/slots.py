"""What the pool remembers of each container, and of each job that waits for one."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from orrery.engine.container import Worker
from orrery.engine.invoker import Job, Revision

Key = tuple[str, str, str]


class State(Enum):
    """Where a container is in its life."""

    BUSY = auto()
    DRAINING = auto()
    READY = auto()
    PAUSING = auto()
    PAUSED = auto()
    GONE = auto()


IDLE = (State.READY, State.PAUSING, State.PAUSED)


class Slot:
    """Memory of the pool that a container takes, and what is known of the container.

    Attributes:
        key: Action, revision and invoking namespace: what a job must have to run in it.
        worker: The container; None while it is being made.
        forgotten: Whether its action was updated or deleted: it is not used again.
        idle_since: Time of the event loop [s].
        timer: What happens next if nobody needs it: pause or removal.
        pausing: The pause under way or done; who takes the container waits for it and unpauses.
        reserved_for: Who gets it when its log is complete.
    """

    def __init__(self, key: Key, action: Revision) -> None:
        self.key = key
        self.path = action.path
        self.memory_mb = action.memory_mb
        self.worker: Worker | None = None
        self.state = State.BUSY
        self.forgotten = False
        self.idle_since = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.pausing: asyncio.Task[None] | None = None
        self.reserved_for: Waiter | None = None

    def stop_timer(self) -> None:
        """Nothing happens to this container by itself any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Waiter:
    """A job without a container.

    Attributes:
        slot: What it gets in its turn; None when the engine stops.
        patient: Whether it still waits for a container that only finishes its log.
    """

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self.job = job
        self.key = (job.action.path, job.action.revision, job.namespace)
        self.slot: asyncio.Future[Slot | None] = loop.create_future()
        self.patient = True
