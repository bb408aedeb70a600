"""The one thread that writes: operations that wait are committed together."""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orrery.engine.errors import UnavailableError
from orrery.engine.messages import OVERLOADED, store_failed

Operation = Callable[[sqlite3.Connection], Any]

MAX_BATCH: Final = 256
MAX_WAITING: Final = 20_000

CHECKPOINT_IDLE_S: Final = 0.2
"""A checkpoint is made when nothing was written for this long [s]..."""
CHECKPOINT_WRITES: Final = 4_000
"""...or, under constant load, after so many operations."""
WORTH_A_CHECKPOINT: Final = 200

logger = logging.getLogger(__name__)


class StoreError(UnavailableError):
    """SQLite could not write: the disk is full or broken. Nothing of the operation is kept."""

    def __init__(self, error: Exception) -> None:
        super().__init__(store_failed(str(error)))


@dataclass
class _Item:
    operation: Operation
    future: asyncio.Future[Any] | None
    durable: bool
    result: Any = None
    error: Exception | None = field(default=None, repr=False)


class Writer:
    """Runs operations in order, many to a transaction.

    With WAL and synchronous=NORMAL a commit is in the operating system's hands when it returns,
    so it survives the death of this process; `durable` operations are also synced to the disk
    and survive a power cut.

    Attributes:
        healthy: False from a failed write until the next that succeeds.
    """

    def __init__(self, path: Path, prepare: Operation) -> None:
        self.healthy = True
        self._path = path
        self._prepare = prepare
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._unsaved = 0

    async def start(self) -> Any:
        """Open the database in the thread and return what `prepare` returned.

        Raises:
            sqlite3.Error: The database cannot be opened or prepared.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[Any] = loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(loop, ready), name="orrery-writer", daemon=True
        )
        self._thread.start()
        try:
            return await ready
        except BaseException:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            raise

    async def close(self) -> None:
        """Commit what waits, then close the database."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def submit(self, operation: Operation, *, durable: bool = False) -> asyncio.Future[Any]:
        """Queue an operation; the future is done once it is committed.

        Raises:
            UnavailableError: Too many operations wait.
        """
        if self._waiting >= MAX_WAITING:
            raise UnavailableError(OVERLOADED)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Item(operation, future, durable))
        return future

    def post(self, operation: Operation) -> None:
        """Queue an operation that nobody waits for; a failure is logged."""
        self._put(_Item(operation, None, durable=False))

    def _put(self, item: _Item) -> None:
        self._waiting += 1
        self._queue.put(item)

    def _deliver(self, batch: list[_Item]) -> None:
        """Hand out results (in the event loop)."""
        self._waiting -= len(batch)
        for item in batch:
            self._note_health(item.error)
            if item.future is None or item.future.done():
                continue
            if item.error is not None:
                item.future.set_exception(item.error)
            else:
                item.future.set_result(item.result)

    def _note_health(self, error: Exception | None) -> None:
        failed = isinstance(error, StoreError)
        if failed and self.healthy:
            logger.error("the database cannot be written: %s", error)
        elif not failed and not self.healthy:
            logger.warning("the database can be written again")
        self.healthy = not failed

    def _run(self, loop: asyncio.AbstractEventLoop, ready: asyncio.Future[Any]) -> None:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self._path, isolation_level=None)
            result = self._prepare(connection)
        except Exception as error:
            if connection is not None:
                connection.close()
            loop.call_soon_threadsafe(ready.set_exception, error)
            return
        loop.call_soon_threadsafe(ready.set_result, result)
        try:
            while batch := self._collect(connection):
                _commit(connection, batch)
                self._unsaved += len(batch)
                loop.call_soon_threadsafe(self._deliver, batch)
                if self._unsaved >= CHECKPOINT_WRITES:
                    self._checkpoint(connection)
        finally:
            self._checkpoint(connection)
            connection.close()

    def _collect(self, connection: sqlite3.Connection) -> list[_Item]:
        """Wait for operations; an empty list means the end."""
        first = self._first(connection)
        if first is None:
            return []
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            batch.append(item)
        return batch

    def _first(self, connection: sqlite3.Connection) -> _Item | None:
        if self._unsaved >= WORTH_A_CHECKPOINT:
            try:
                return self._queue.get(timeout=CHECKPOINT_IDLE_S)
            except queue.Empty:
                self._checkpoint(connection)
        return self._queue.get()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the WAL into the database; a failure leaves it where it is, which is safe."""
        self._unsaved = 0
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            logger.warning("the WAL could not be moved into the database: %s", error)


def _commit(connection: sqlite3.Connection, batch: list[_Item]) -> None:
    """Run a batch in one transaction; when SQLite fails, each operation in its own.

    Whatever goes wrong is an error of the operations: this thread has to live on.
    """
    try:
        _transact(connection, batch)
    except Exception as error:
        if len(batch) == 1:
            batch[0].error = StoreError(error)
            return
        for item in batch:
            item.error = None
            try:
                _transact(connection, [item])
            except Exception as single:
                item.error = StoreError(single)


def _transact(connection: sqlite3.Connection, batch: list[_Item]) -> None:
    durable = any(item.durable for item in batch)
    if durable:
        connection.execute("PRAGMA synchronous=FULL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for item in batch:
                _run_one(connection, item)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled back by itself (a full disk does that).
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    finally:
        if durable:
            connection.execute("PRAGMA synchronous=NORMAL")


def _run_one(connection: sqlite3.Connection, item: _Item) -> None:
    """Run one operation; an answer that is a refusal (a conflict) spoils nobody else's."""
    try:
        item.result = item.operation(connection)
    except sqlite3.Error:
        raise
    except Exception as error:
        item.error = error
