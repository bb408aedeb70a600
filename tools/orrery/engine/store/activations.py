"""Activations in SQLite: written in two or three small steps, read in pieces."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orrery.engine import jsons
from orrery.engine.records import NO_LOGS, Record, Seed

TRIM_BATCH: Final = 200
CHUNK_BYTES: Final = 1024 * 1024

Stored = tuple[bytes, int, bytes, bytes]
"""Head, status, result and log of an activation."""


@dataclass(frozen=True)
class Selection:
    """Which activations of a namespace a list is about.

    Attributes:
        action: Only this one, as `name` or `package/name`.
        since_ms: Only those that started then or later, Unix time [ms].
        upto_ms: Only those that started then or earlier, Unix time [ms].
    """

    namespace: str
    action: str | None = None
    since_ms: int | None = None
    upto_ms: int | None = None

    def condition(self) -> tuple[str, list[str | int]]:
        """The condition, of constant texts that one index covers, and the values to bind."""
        terms: list[tuple[str, str | int | None]] = [
            ("namespace = ?", self.namespace),
            ("action = ?", self.action),
            ("start >= ?", self.since_ms),
            ("start <= ?", self.upto_ms),
        ]
        given = [(text, value) for text, value in terms if value is not None]
        return " AND ".join(text for text, _ in given), [value for _, value in given]


def begin(connection: sqlite3.Connection, seed: Seed) -> None:
    """Note that an activation was accepted."""
    connection.execute(
        "INSERT INTO running (id, namespace, action, accepted, head, annotations) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            seed.activation_id,
            seed.namespace,
            seed.action,
            seed.accepted_ms,
            seed.head,
            seed.unfinished_annotations(),
        ),
    )


def finish(connection: sqlite3.Connection, record: Record, lines: Sequence[str] | None) -> None:
    """Store what came out; with `lines` (its log, perhaps empty) the record is complete."""
    cursor = connection.execute(
        "INSERT INTO activations (id, namespace, action, start, status, head, result) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.activation_id,
            record.namespace,
            record.action,
            record.start_ms,
            int(record.status),
            record.head,
            record.result,
        ),
    )
    if lines is not None:
        _complete(connection, record.activation_id, cursor.lastrowid, lines)


def add_logs(connection: sqlite3.Connection, activation_id: str, lines: Sequence[str]) -> None:
    """Store the log that came after the result."""
    seq = None
    if lines:
        row = connection.execute(
            "SELECT seq FROM activations WHERE id = ?", (activation_id,)
        ).fetchone()
        seq = row[0] if row else None
    _complete(connection, activation_id, seq, lines)


def _complete(
    connection: sqlite3.Connection, activation_id: str, seq: int | None, lines: Sequence[str]
) -> None:
    if lines and seq is not None:
        connection.execute(
            "INSERT OR REPLACE INTO logs (seq, lines) VALUES (?, ?)",
            (seq, jsons.encode(list(lines))),
        )
    connection.execute("DELETE FROM running WHERE id = ?", (activation_id,))


def trim(connection: sqlite3.Connection, keep: int) -> int:
    """Remove some of the oldest records above `keep`; return how many.

    Sequence numbers have no gaps but the removed beginning, so no counting is needed.
    """
    oldest = connection.execute(
        "SELECT seq FROM activations WHERE seq <= (SELECT max(seq) FROM activations) - ? "
        "ORDER BY seq LIMIT ?",
        (keep, TRIM_BATCH),
    ).fetchall()
    connection.executemany("DELETE FROM logs WHERE seq = ?", oldest)
    connection.executemany("DELETE FROM activations WHERE seq = ?", oldest)
    return len(oldest)


def get(connection: sqlite3.Connection, namespace: str, activation_id: str) -> Stored | None:
    """One activation."""
    row = connection.execute(
        "SELECT a.head, a.status, a.result, l.lines FROM activations AS a "
        "LEFT JOIN logs AS l ON l.seq = a.seq WHERE a.id = ? AND a.namespace = ?",
        (activation_id, namespace),
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2], row[3] or NO_LOGS)


def some(
    connection: sqlite3.Connection, namespace: str, activation_ids: Sequence[str]
) -> tuple[list[Stored], int]:
    """The first of these activations, up to about `CHUNK_BYTES`, and how many were looked for."""
    found: list[Stored] = []
    size = read = 0
    for activation_id in activation_ids:
        read += 1
        row = get(connection, namespace, activation_id)
        if row is not None:
            found.append(row)
            size += len(row[2]) + len(row[3])
        if size > CHUNK_BYTES:
            break
    return found, read


def heads(
    connection: sqlite3.Connection, selection: Selection, limit: int, skip: int
) -> list[tuple[str, bytes, int]]:
    """Id, head and status of activations, newest first; results and logs are not read."""
    condition, values = selection.condition()
    statement = "".join(
        (
            "SELECT id, head, status FROM activations WHERE ",
            condition,
            " ORDER BY start DESC, seq DESC LIMIT ? OFFSET ?",
        )
    )
    return connection.execute(statement, (*values, limit, skip)).fetchall()


def count(connection: sqlite3.Connection, selection: Selection) -> int:
    """How many activations a selection has."""
    condition, values = selection.condition()
    statement = "".join(("SELECT count(*) FROM activations WHERE ", condition))
    found: int = connection.execute(statement, values).fetchone()[0]
    return found
