"""Which container runs which activation: memory, reuse, waiting, eviction, pausing, removal.

A job goes, in this order, to an idle container of the same action revision and namespace; to one
that only finishes its log; to a new container if its memory fits; else the oldest idle containers
make room. What cannot be placed waits, first come first served, so that nothing starves.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

from orrery.engine import protocol
from orrery.engine.config import EngineConfig
from orrery.engine.container import GoneError, ProvisionError, Worker, Workers
from orrery.engine.docker import DockerError
from orrery.engine.invoker import Job, Outcome, PoolSnapshot, Run, Status
from orrery.engine.protocol import Verdict, now_ms
from orrery.engine.slots import IDLE, Key, Slot, State, Waiter
from orrery.engine.workers import DockerWorkers, PoolSettings

__all__ = ["ContainerPool", "PoolSettings"]

LOGGER = logging.getLogger(__name__)

ATTEMPTS = 5
# The log of an answered activation is there within a millisecond or two, a new container takes
# some hundred: a client that calls again at once gets the container it just used.
RESERVATION_S = 0.25
STOP_TIMEOUT_S = 20.0


class ContainerPool:
    """Runs activations in containers of a bounded total memory; implements `Invoker`."""

    def __init__(
        self, settings: PoolSettings | EngineConfig, workers: Workers | None = None
    ) -> None:
        if isinstance(settings, EngineConfig):
            settings = PoolSettings.from_config(settings)
        self._settings = settings
        self._workers = workers or DockerWorkers(settings)
        self._slots: set[Slot] = set()
        self._idle: dict[Key, list[Slot]] = {}
        self._draining: dict[Key, list[Slot]] = {}
        self._queue: deque[Waiter] = deque()
        self._used_mb = 0
        self._leaving_mb = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self) -> None:
        """Get ready; remove every container that a dead engine of this lab left."""
        await self._workers.start()

    async def stop(self) -> None:
        """Abandon what runs and remove every container."""
        self._stopping = True
        while self._queue:
            self._dismiss(self._queue.popleft())
        for slot in list(self._slots):
            if slot.worker is not None:
                self._discard(slot)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                # A container that is still being made goes as soon as it is there.
                await self._empty.wait()
        await self._workers.stop()

    async def forget(self, path: str) -> None:
        """Drop idle containers of an action; busy ones go when they are done."""
        for slot in [slot for slot in self._slots if slot.path == path]:
            slot.forgotten = True
            if slot.state in IDLE:
                self._discard(slot)
        self._pump()

    def snapshot(self) -> PoolSnapshot:
        """What the pool holds now."""
        states = [slot.state for slot in self._slots]
        return PoolSnapshot(
            busy=states.count(State.BUSY) + states.count(State.DRAINING),
            warm=states.count(State.READY) + states.count(State.PAUSING),
            paused=states.count(State.PAUSED),
            waiting=len(self._queue),
            used_mb=self._used_mb,
            capacity_mb=self._settings.pool_memory_mb,
        )

    async def run(self, job: Job) -> Run:
        """Run one activation; whatever happens to it becomes an `Outcome`."""
        needed, capacity = job.action.memory_mb, self._settings.pool_memory_mb
        if needed > capacity:
            error = (
                f"The action needs {needed} MB of memory, the pool of the engine has {capacity} MB."
            )
            return self._without_container(job, protocol.whisk_error(error))
        for _ in range(ATTEMPTS):
            if self._stopping:
                break
            slot = await self._obtain(job)
            if slot is None:
                break
            try:
                outcome, verdict = await self._use(slot, job)
            except GoneError as error:
                LOGGER.info("activation %s goes elsewhere: %s", job.activation_id, error)
                self._discard(slot)
            except ProvisionError as error:
                self._discard(slot)
                return self._without_container(job, error.verdict)
            except asyncio.CancelledError:
                self._discard(slot)
                raise
            except Exception:
                LOGGER.exception("activation %s failed in the engine", job.activation_id)
                self._discard(slot)
                return self._without_container(job, protocol.whisk_error())
            else:
                return self._hand_over(slot, job, outcome, verdict)
        return self._without_container(job, protocol.whisk_error())

    async def _use(self, slot: Slot, job: Job) -> tuple[Outcome, Verdict]:
        """Run a job in the container of a slot, which is made where there is none."""
        init_ms: int | None = None
        if slot.worker is None:
            exited = functools.partial(self._exited, slot)
            slot.worker = await self._workers.create(job.action, exited)
            if self._stopping:
                raise GoneError("the engine stops")
            start_ms = now_ms()
            failed = await slot.worker.init(job)
            init_ms = now_ms() - start_ms
            verdict = failed or await slot.worker.run(job)
        else:
            await self._wake(slot, slot.worker)
            start_ms = now_ms()
            verdict = await slot.worker.run(job)
        if self._stopping and verdict.status is not Status.SUCCESS:
            verdict = protocol.whisk_error("The engine was stopped.")
        outcome = Outcome(
            status=verdict.status,
            result=verdict.result,
            start_ms=start_ms,
            end_ms=now_ms(),
            wait_ms=max(0, start_ms - job.accepted_ms),
            init_ms=init_ms,
            timed_out=verdict.timed_out,
        )
        return outcome, verdict

    async def _wake(self, slot: Slot, worker: Worker) -> None:
        """Unpause a container that is paused, or about to be."""
        if slot.pausing is None:
            return
        await slot.pausing
        slot.pausing = None
        try:
            await worker.unpause()
        except DockerError as error:
            raise GoneError(str(error)) from error

    def _hand_over(self, slot: Slot, job: Job, outcome: Outcome, verdict: Verdict) -> Run:
        """Answer now, collect the log afterwards, and only then free the container."""
        lines: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        if slot.state is State.BUSY:
            slot.state = State.DRAINING
            self._draining.setdefault(slot.key, []).append(slot)
        self._spawn(self._drain(slot, job, verdict, lines))
        return Run(outcome, lines)

    async def _drain(
        self, slot: Slot, job: Job, verdict: Verdict, lines: asyncio.Future[Sequence[str]]
    ) -> None:
        found: Sequence[str] = ()
        complete = False
        try:
            if slot.worker is not None:
                found, complete = await slot.worker.collect(job, verdict)
        except Exception:
            LOGGER.exception("the log of %s could not be collected", job.activation_id)
        finally:
            if not lines.done():
                lines.set_result(found)
        keep = verdict.status in (Status.SUCCESS, Status.APPLICATION_ERROR) and complete
        if keep and slot.state is State.DRAINING and not self._stopping:
            self._release(slot)
        else:
            self._discard(slot)

    def _without_container(self, job: Job, verdict: Verdict) -> Run:
        moment = now_ms()
        wait_ms = max(0, moment - job.accepted_ms)
        outcome = Outcome(verdict.status, verdict.result, moment, moment, wait_ms)
        lines: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        lines.set_result(())
        return Run(outcome, lines)

    async def _obtain(self, job: Job) -> Slot | None:
        """A slot for a job, in its turn; None when the engine stops."""
        waiter = Waiter(job, asyncio.get_running_loop())
        self._queue.append(waiter)
        self._pump()
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            granted = None if waiter.slot.cancelled() else waiter.slot.result()
            if granted is not None:
                self._give_back(granted)
            raise

    def _pump(self) -> None:
        """Place waiting jobs in their order, until one cannot be placed."""
        while self._queue:
            waiter = self._queue[0]
            if not waiter.slot.done() and not self._place(waiter):
                return
            self._queue.popleft()

    def _place(self, waiter: Waiter) -> bool:
        """Find a slot for a waiter, or one that is about to be free."""
        slot = self._pop_idle(waiter.key)
        if slot is None and waiter.patient and self._reserve(waiter):
            return True
        action = waiter.job.action
        if slot is None and action.memory_mb <= self._settings.pool_memory_mb - self._used_mb:
            slot = Slot(waiter.key, action)
            self._slots.add(slot)
            self._empty.clear()
            self._used_mb += slot.memory_mb
        if slot is None:
            self._evict_for(action.memory_mb)
            return False
        waiter.slot.set_result(slot)
        return True

    def _pop_idle(self, key: Key) -> Slot | None:
        """The idle container used last, so that those not needed grow old."""
        slots = self._idle.get(key)
        while slots:
            slot = slots[-1]
            if slot.worker is not None and slot.worker.alive:
                self._remove_idle(slot)
                slot.state = State.BUSY
                return slot
            self._discard(slot)
        return None

    def _reserve(self, waiter: Waiter) -> bool:
        """Promise a container that only finishes its log."""
        for slot in self._draining.get(waiter.key, ()):
            if slot.reserved_for is None and not slot.forgotten:
                slot.reserved_for = waiter
                loop = asyncio.get_running_loop()
                loop.call_later(RESERVATION_S, self._end_reservation, slot, waiter)
                return True
        return False

    def _end_reservation(self, slot: Slot, waiter: Waiter) -> None:
        """Send a waiter back to the head of the queue: its container takes too long."""
        if slot.reserved_for is waiter:
            slot.reserved_for = None
            waiter.patient = False
            self._requeue(waiter)

    def _evict_for(self, needed_mb: int) -> None:
        """Remove the oldest idle containers if that makes enough room."""
        free = self._settings.pool_memory_mb - self._used_mb + self._leaving_mb
        idle = sorted(
            (slot for slots in self._idle.values() for slot in slots),
            key=lambda slot: slot.idle_since,
        )
        if free + sum(slot.memory_mb for slot in idle) < needed_mb:
            return
        for slot in idle:
            if free >= needed_mb:
                return
            free += slot.memory_mb
            self._discard(slot)

    def _give_back(self, slot: Slot) -> None:
        """Take back a slot that its job did not use."""
        if slot.worker is None or slot.pausing is not None:
            self._discard(slot)
        else:
            self._release(slot)

    def _release(self, slot: Slot) -> None:
        """A container is free: for the job that was promised it, or for whoever comes."""
        self._remove_draining(slot)
        if slot.forgotten or slot.worker is None or not slot.worker.alive:
            self._discard(slot)
            return
        waiter, slot.reserved_for = slot.reserved_for, None
        if waiter is not None and not waiter.slot.done():
            slot.state = State.BUSY
            waiter.slot.set_result(slot)
            return
        loop = asyncio.get_running_loop()
        slot.state = State.READY
        slot.idle_since = loop.time()
        self._idle.setdefault(slot.key, []).append(slot)
        grace_s, idle_s = self._settings.pause_grace_s, self._settings.idle_timeout_s
        if grace_s < idle_s:
            slot.timer = loop.call_later(grace_s, self._begin_pause, slot)
        else:
            slot.timer = loop.call_later(idle_s, self._discard, slot)
        self._pump()

    def _begin_pause(self, slot: Slot) -> None:
        if slot.worker is not None:
            slot.state = State.PAUSING
            slot.pausing = self._spawn(self._pause(slot, slot.worker))

    async def _pause(self, slot: Slot, worker: Worker) -> None:
        try:
            await worker.pause()
        except DockerError as error:
            LOGGER.warning("a container could not be paused: %s", error)
            if slot.state is State.PAUSING:
                self._discard(slot)
            return
        if slot.state is State.PAUSING:
            slot.state = State.PAUSED
            rest_s = self._settings.idle_timeout_s - self._settings.pause_grace_s
            slot.timer = asyncio.get_running_loop().call_later(rest_s, self._discard, slot)

    def _exited(self, slot: Slot) -> None:
        """A container ended by itself, or Docker did."""
        if slot.state in IDLE:
            self._discard(slot)

    def _discard(self, slot: Slot) -> None:
        """Remove a container; its memory is free when it is gone."""
        if slot.state is State.GONE:
            return
        if slot.state in IDLE:
            self._remove_idle(slot)
        self._remove_draining(slot)
        slot.stop_timer()
        slot.state = State.GONE
        self._leaving_mb += slot.memory_mb
        waiter, slot.reserved_for = slot.reserved_for, None
        self._spawn(self._remove(slot))
        if waiter is not None:
            self._requeue(waiter)

    def _requeue(self, waiter: Waiter) -> None:
        """A promise was not kept: the waiter is the next to be placed."""
        if self._stopping:
            self._dismiss(waiter)
        elif not waiter.slot.done():
            self._queue.appendleft(waiter)
            self._pump()

    @staticmethod
    def _dismiss(waiter: Waiter) -> None:
        if not waiter.slot.done():
            waiter.slot.set_result(None)

    async def _remove(self, slot: Slot) -> None:
        try:
            if slot.worker is not None:
                await slot.worker.remove()
        except Exception:
            LOGGER.exception("a container could not be removed")
        self._slots.discard(slot)
        if not self._slots:
            self._empty.set()
        self._leaving_mb -= slot.memory_mb
        self._used_mb -= slot.memory_mb
        self._pump()

    def _remove_idle(self, slot: Slot) -> None:
        slot.stop_timer()
        slots = self._idle[slot.key]
        slots.remove(slot)
        if not slots:
            del self._idle[slot.key]

    def _remove_draining(self, slot: Slot) -> None:
        slots = self._draining.get(slot.key, [])
        if slot in slots:
            slots.remove(slot)
            if not slots:
                del self._draining[slot.key]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
