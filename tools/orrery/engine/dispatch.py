"""From an accepted request to a stored record: one task for each activation.

The task belongs to the engine, not to the request: a client that hangs up or stops waiting
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from orrery.engine import messages, records
from orrery.engine.entities.actions import Action
from orrery.engine.errors import ApiError, UnavailableError
from orrery.engine.invoker import Invoker, Job, Outcome, Run, Status
from orrery.engine.records import Record, Seed
from orrery.engine.store import Store
from orrery.engine.throttle import Slot

RETRY_EVERY_S: Final = 1.0
RETRIES: Final = 60
LOGS_TIMEOUT_S: Final = 120.0

T = TypeVar("T")

logger = logging.getLogger(__name__)

Answer = Record | ApiError
"""What a waiting client gets: the record, or why it could not be stored."""


class Dispatcher:
    """Runs accepted activations and stores what comes out."""

    def __init__(self, store: Store, invoker: Invoker) -> None:
        self._store = store
        self._invoker = invoker
        self._tasks: set[asyncio.Task[None]] = set()
        self._collecting: dict[str, asyncio.Future[None]] = {}
        self._stopping = False
        self.finished = 0

    async def accept(
        self, job: Job, action: Action, seed: Seed, slot: Slot, *, promise: bool
    ) -> asyncio.Future[Answer]:
        """Start an activation; the slot is released when it is over.

        With `promise` the client is told the id at once, so it is on record before this returns.

        Raises:
            UnavailableError: The engine stops, or the database cannot be written. Nothing was run.
        """
        if self._stopping:
            raise UnavailableError(messages.STOPPING)
        if promise or not self._store.healthy:
            await self._store.begin(seed)
        else:
            self._store.begin_unattended(seed)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        task = loop.create_task(self._run(job, action, seed, slot, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return answer

    async def logs_collected(self, activation_ids: Iterable[str], timeout_s: float) -> None:
        """Wait until the logs of these activations are stored, or the time is over [s]."""
        waiting = [self._collecting[item] for item in activation_ids if item in self._collecting]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new; wait for what runs, at most this long [s]."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    async def abandon(self) -> None:
        """Give up what still runs; the next start closes its records as errors."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(
        self,
        job: Job,
        _action: Action,  # held so that the store shares its code while it runs
        seed: Seed,
        slot: Slot,
        answer: asyncio.Future[Answer],
    ) -> None:
        try:
            run = await self._invoke(job)
            record = records.finish(seed, run.outcome)
            lines = _lines(run.logs) if run.logs.done() else None
            if lines is None:
                self._collecting[seed.activation_id] = asyncio.get_running_loop().create_future()
            saved = await self._save(record, lines, answer)
            slot.release()
            if not saved:
                await self._save_later(record, run.logs)
            elif lines is None:
                await self._store_logs(seed.activation_id, run.logs)
        except Exception:
            logger.exception("activation %s was not stored", seed.activation_id)
            _settle(answer, ApiError(messages.INTERNAL))
        finally:
            slot.release()
            collected = self._collecting.pop(seed.activation_id, None)
            if collected is not None:
                _settle(collected, None)

    async def _invoke(self, job: Job) -> Run:
        try:
            return await self._invoker.run(job)
        except Exception:
            logger.exception("activation %s: the invoker failed", job.activation_id)
        now = time.time_ns() // 1_000_000
        logs: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        logs.set_result([])
        result = {"error": messages.ENGINE_FAILED}
        outcome = Outcome(Status.WHISK_ERROR, result, now, now, max(0, now - job.accepted_ms))
        return Run(outcome, logs)

    async def _save(
        self, record: Record, lines: Sequence[str] | None, answer: asyncio.Future[Answer]
    ) -> bool:
        try:
            await self._store.finish(record, lines)
        except ApiError as error:
            _settle(answer, error)
            return False
        self.finished += 1
        _settle(answer, record)
        return True

    async def _save_later(self, record: Record, logs: asyncio.Future[Sequence[str]]) -> None:
        """Try again for a while: the disk may only be full for now."""
        lines = await _collected(logs)
        for _ in range(RETRIES):
            await asyncio.sleep(RETRY_EVERY_S)
            try:
                await self._store.finish(record, lines)
            except ApiError:
                continue
            self.finished += 1
            return
        logger.error("activation %s was given up: it cannot be stored", record.activation_id)

    async def _store_logs(self, activation_id: str, logs: asyncio.Future[Sequence[str]]) -> None:
        lines = await _collected(logs)
        try:
            await self._store.add_logs(activation_id, lines)
        except ApiError as error:
            logger.error("the log of activation %s was lost: %s", activation_id, error)


def _settle(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)


async def _collected(logs: asyncio.Future[Sequence[str]]) -> Sequence[str]:
    await asyncio.wait([logs], timeout=LOGS_TIMEOUT_S)
    return _lines(logs)


def _lines(logs: asyncio.Future[Sequence[str]]) -> Sequence[str]:
    if not logs.done() or logs.cancelled() or logs.exception() is not None:
        return [messages.LOGS_LOST]
    return logs.result()
