"""Opening, checking and recovering the SQLite file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from importlib import resources
from pathlib import Path
from typing import Final

from orrery.engine import jsons, messages
from orrery.engine.invoker import Status
from orrery.errors import HostError

SCHEMA_VERSION: Final = 1


class DatabaseLock:
    """Keeps a second engine away from the same file for as long as this one lives."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            HostError: The folder cannot be written, or another process holds the lock.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"{self._path}: cannot be made: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise HostError(
                f"{self._path}: another engine uses this database; stop it first"
            ) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def create_private(path: Path) -> None:
    """Make the file readable for its owner only: parameters may be secrets."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise HostError(f"{path}: cannot be made: {error.strerror}") from error


def prepare(connection: sqlite3.Connection) -> int:
    """Set a new connection up, make the schema, close what was running; count activations.

    Raises:
        HostError: The file was written by a newer engine.
        sqlite3.Error: It is no database, or cannot be written.
    """
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "wal_autocheckpoint=0",
        "journal_size_limit=33554432",
        "temp_store=MEMORY",
        "cache_size=-8192",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise HostError(
            f"the database has schema {version}, this engine knows {SCHEMA_VERSION}: "
            "use the newer engine or move the file away"
        )
    if version == 0:
        schema = resources.files("orrery.engine.store").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(f"BEGIN; {schema} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    close_running(connection)
    count: int = connection.execute("SELECT count(*) FROM activations").fetchone()[0]
    return count


def close_running(connection: sqlite3.Connection) -> int:
    """Close activations that a dead engine left, as errors; return how many there were.

    One whose result was stored only lacks its log.
    """
    now = time.time_ns() // 1_000_000
    result = jsons.encode({"error": messages.ENGINE_STOPPED})
    line = jsons.encode([messages.LOGS_LOST])
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(
        "INSERT OR IGNORE INTO logs (seq, lines) SELECT a.seq, ? FROM running AS r "
        "JOIN activations AS a ON a.id = r.id",
        (line,),
    )
    rows = connection.execute(
        "SELECT id, namespace, action, accepted, head, annotations FROM running "
        "WHERE id NOT IN (SELECT id FROM activations) ORDER BY accepted, id"
    ).fetchall()
    for activation_id, namespace, action, accepted, head, closing in rows:
        end = max(now, accepted)
        timing = f',"start":{accepted},"end":{end},"duration":{end - accepted},"annotations":'
        connection.execute(
            "INSERT INTO activations (id, namespace, action, start, status, head, result) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                activation_id,
                namespace,
                action,
                accepted,
                int(Status.WHISK_ERROR),
                head + timing.encode() + closing,
                result,
            ),
        )
    connection.execute("DELETE FROM running")
    connection.execute("COMMIT")
    return len(rows)


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("query_only=ON", "cache_size=-2048", "temp_store=MEMORY", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection
