"""The store as the API sees it: awaitable reads and writes, and a bounded cache of actions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from orrery.engine import messages
from orrery.engine.entities.actions import Action, ActionName
from orrery.engine.errors import UnavailableError
from orrery.engine.records import Record, Seed
from orrery.engine.store import actions, activations, database
from orrery.engine.store.activations import Selection, Stored
from orrery.engine.store.writer import Writer
from orrery.errors import HostError

T = TypeVar("T")

READERS: Final = 2
CACHE_ENTRIES: Final = 256
CACHE_BYTES: Final = 16 * 1024 * 1024


class Store:
    """Actions and activations of one engine.

    Args:
        path: The SQLite file; made with mode 0600 where it does not exist.
        keep: Activation records that are kept; the oldest go first.
    """

    def __init__(self, path: Path, *, keep: int = 200_000) -> None:
        self._path = path
        self._keep = keep
        self._lock = database.DatabaseLock(path)
        self._writer = Writer(path, database.prepare)
        self._readers: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._cache = _ActionCache()
        self._stored = 0
        self._trimming = False

    @property
    def healthy(self) -> bool:
        """Whether the last write succeeded."""
        return self._writer.healthy

    async def open(self) -> None:
        """Open the file, close what was running when the last engine died.

        Raises:
            HostError: The file cannot be used, or another engine uses it.
        """
        self._lock.acquire()
        try:
            database.create_private(self._path)
            self._stored = await self._writer.start()
        except sqlite3.Error as error:
            self._lock.release()
            raise HostError(f"{self._path}: cannot be opened: {error}") from error
        except BaseException:
            self._lock.release()
            raise
        self._readers = ThreadPoolExecutor(READERS, "orrery-reader", self._open_reader)

    async def close(self) -> None:
        """Write what waits and close the file; what still runs is closed at the next start."""
        if self._readers is None:
            return
        await asyncio.to_thread(self._readers.shutdown, wait=True)
        self._readers = None
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        await self._writer.close()
        self._lock.release()

    # Actions

    async def get_action(self, name: ActionName) -> Action | None:
        """One action, complete; the last used ones come from memory."""
        found = self._cache.get(name)
        if found is None:
            generation = self._cache.generation
            found = await self._read(partial(actions.get, name=name))
            if found is not None and generation == self._cache.generation:
                self._cache.put(found)
        return found

    async def insert_action(self, action: Action) -> None:
        """Store a new action, synced to the disk.

        Raises:
            ConflictError: There is one of this name.
            StoreError: The disk is full or broken.
        """
        await self._writer.submit(partial(actions.insert, action=action), durable=True)
        self._cache.put(action, changed=True)

    async def replace_action(self, action: Action, old_revision: str) -> None:
        """Store the next revision, synced to the disk; errors as of `insert_action`."""
        operation = partial(actions.replace, action=action, old_revision=old_revision)
        await self._writer.submit(operation, durable=True)
        self._cache.put(action, changed=True)

    async def delete_action(self, action: Action) -> None:
        """Remove an action; errors as of `insert_action`."""
        await self._writer.submit(partial(actions.delete, action=action), durable=True)
        self._cache.drop(action.id)

    async def list_actions(self, namespace: str, limit: int, skip: int) -> list[dict[str, Any]]:
        """Actions as a list shows them, the latest update first."""
        return await self._read(
            partial(actions.summaries, namespace=namespace, limit=limit, skip=skip)
        )

    async def count_actions(self, namespace: str) -> int:
        """How many actions a namespace has."""
        return await self._read(partial(actions.count, namespace=namespace))

    # Activations

    def begin(self, seed: Seed) -> asyncio.Future[None]:
        """Note that an activation was accepted; await it where the answer promises that."""
        return self._writer.submit(partial(activations.begin, seed=seed))

    def begin_unattended(self, seed: Seed) -> None:
        """Note it without waiting: the write comes before all later ones."""
        self._writer.post(partial(activations.begin, seed=seed))

    async def finish(self, record: Record, lines: Sequence[str] | None) -> None:
        """Store a record; `lines` is its log where that is known already.

        Raises:
            StoreError: The disk is full or broken.
        """
        await self._writer.submit(partial(activations.finish, record=record, lines=lines))
        self._stored += 1
        if self._stored > self._keep + activations.TRIM_BATCH and not self._trimming:
            self._trim()

    async def add_logs(self, activation_id: str, lines: Sequence[str]) -> None:
        """Store the log that came after the result."""
        operation = partial(activations.add_logs, activation_id=activation_id, lines=lines)
        await self._writer.submit(operation)

    async def get_activation(self, namespace: str, activation_id: str) -> Stored | None:
        """One finished activation."""
        return await self._read(
            partial(activations.get, namespace=namespace, activation_id=activation_id)
        )

    async def some_activations(
        self, namespace: str, activation_ids: Sequence[str]
    ) -> tuple[list[Stored], int]:
        """The first of these activations, about a megabyte, and how many were looked for."""
        return await self._read(
            partial(activations.some, namespace=namespace, activation_ids=activation_ids)
        )

    async def list_activations(
        self, selection: Selection, limit: int, skip: int
    ) -> list[tuple[str, bytes, int]]:
        """Id, head and status, newest first."""
        return await self._read(
            partial(activations.heads, selection=selection, limit=limit, skip=skip)
        )

    async def count_activations(self, selection: Selection) -> int:
        """How many activations a selection has."""
        return await self._read(partial(activations.count, selection=selection))

    def _trim(self) -> None:
        self._trimming = True
        future = self._writer.submit(partial(activations.trim, keep=self._keep))
        future.add_done_callback(self._trimmed)

    def _trimmed(self, future: asyncio.Future[int]) -> None:
        self._trimming = False
        if not future.cancelled() and future.exception() is None:
            self._stored -= future.result()

    # Reading

    def _open_reader(self) -> None:
        connection = database.open_reader(self._path)
        self._local.connection = connection
        self._connections.append(connection)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._readers is None:
            raise UnavailableError(messages.STOPPING)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, lambda: query(self._local.connection))


class _ActionCache:
    """The actions used last, bounded in number and bytes of code.

    Whatever still runs keeps its action alive, and is shared: thirty activations of an action
    with 48 MB of code hold one copy of it.

    Attributes:
        generation: Changes with every write, so that a read that began before is not kept.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._recent: OrderedDict[ActionName, Action] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[ActionName, Action] = weakref.WeakValueDictionary()
        self._bytes = 0

    def get(self, name: ActionName) -> Action | None:
        action = self._recent.get(name)
        if action is not None:
            self._recent.move_to_end(name)
            return action
        return self._alive.get(name)

    def put(self, action: Action, *, changed: bool = False) -> None:
        if changed:
            self.generation += 1
        self._forget(action.id)
        self._alive[action.id] = action
        size = _size(action)
        if size > CACHE_BYTES:
            return
        self._recent[action.id] = action
        self._bytes += size
        while self._bytes > CACHE_BYTES or len(self._recent) > CACHE_ENTRIES:
            _, oldest = self._recent.popitem(last=False)
            self._bytes -= _size(oldest)

    def drop(self, name: ActionName) -> None:
        self.generation += 1
        self._forget(name)
        self._alive.pop(name, None)

    def _forget(self, name: ActionName) -> None:
        old = self._recent.pop(name, None)
        if old is not None:
            self._bytes -= _size(old)


def _size(action: Action) -> int:
    return len(action.exec.code or "") + 4096
