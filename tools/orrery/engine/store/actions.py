"""Actions in SQLite: rows, statements, and what a list shows."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from orrery.engine import jsons, messages
from orrery.engine.entities import limits as limits_of
from orrery.engine.entities.actions import Action, ActionName
from orrery.engine.entities.execs import Exec
from orrery.engine.entities.parameters import Parameter, annotations_to_json
from orrery.engine.errors import ConflictError

_COLUMNS: Final = (
    "revision, version, publish, updated, kind, is_binary, main, image, limits, annotations, "
    "parameters, code"
)
_MATCH: Final = "WHERE namespace = ? AND package = ? AND name = ?"
_MARKS: Final = ", ".join("?" * (3 + len(_COLUMNS.split(", "))))
_ASSIGNMENTS: Final = ", ".join(f"{column} = ?" for column in _COLUMNS.split(", "))

# Statements of constants only; what comes from outside is bound.
_EXISTS: Final = " ".join(("SELECT 1 FROM actions", _MATCH))
_SELECT: Final = " ".join(("SELECT", _COLUMNS, "FROM actions", _MATCH))
_INSERT: Final = "".join(
    ("INSERT INTO actions (namespace, package, name, ", _COLUMNS, ") VALUES (", _MARKS, ")")
)
_UPDATE: Final = " ".join(("UPDATE actions SET", _ASSIGNMENTS, _MATCH, "AND revision = ?"))
_DELETE: Final = " ".join(("DELETE FROM actions", _MATCH, "AND revision = ?"))


def insert(connection: sqlite3.Connection, action: Action) -> None:
    """Store a new action.

    Raises:
        ConflictError: There is one of this name.
    """
    if connection.execute(_EXISTS, _key(action.id)).fetchone():
        raise ConflictError(messages.RESOURCE_EXISTS)
    connection.execute(
        _INSERT,
        (*_key(action.id), *_values(action)),
    )


def replace(connection: sqlite3.Connection, action: Action, old_revision: str) -> None:
    """Store the next revision of an action.

    Raises:
        ConflictError: It is not at `old_revision` any more.
    """
    changed = connection.execute(
        _UPDATE,
        (*_values(action), *_key(action.id), old_revision),
    ).rowcount
    if changed != 1:
        raise ConflictError(messages.CONFLICT)


def delete(connection: sqlite3.Connection, action: Action) -> None:
    """Remove an action.

    Raises:
        ConflictError: It changed in between.
    """
    changed = connection.execute(_DELETE, (*_key(action.id), action.revision)).rowcount
    if changed != 1:
        raise ConflictError(messages.CONFLICT)


def get(connection: sqlite3.Connection, name: ActionName) -> Action | None:
    """Read one action, complete."""
    row = connection.execute(_SELECT, _key(name)).fetchone()
    if row is None:
        return None
    (revision, version, publish, updated, kind, binary, main, image, limits) = row[:9]
    annotations, parameters, code = row[9:]
    return Action(
        id=name,
        exec=Exec(kind, code, bool(binary), main, image),
        parameters=tuple(Parameter(*item) for item in json.loads(parameters)),
        limits=limits_of.from_json(json.loads(limits)),
        version=version,
        publish=bool(publish),
        annotations=json.loads(annotations),
        updated_ms=updated,
        revision=revision,
    )


def summaries(
    connection: sqlite3.Connection, namespace: str, limit: int, skip: int
) -> list[dict[str, Any]]:
    """Actions of a namespace as a list shows them, the latest update first."""
    rows = connection.execute(
        "SELECT package, name, version, publish, updated, is_binary, limits, annotations "
        "FROM actions WHERE namespace = ? ORDER BY updated DESC, rowid DESC LIMIT ? OFFSET ?",
        (namespace, limit, skip),
    )
    return [
        {
            "namespace": ActionName(namespace, package, name).container,
            "name": name,
            "version": version,
            "publish": bool(publish),
            "updated": updated,
            "exec": {"binary": bool(binary)},
            "limits": json.loads(limits),
            "annotations": annotations_to_json(json.loads(annotations)),
        }
        for package, name, version, publish, updated, binary, limits, annotations in rows
    ]


def count(connection: sqlite3.Connection, namespace: str) -> int:
    """How many actions a namespace has."""
    row = connection.execute("SELECT count(*) FROM actions WHERE namespace = ?", (namespace,))
    found: int = row.fetchone()[0]
    return found


def _key(name: ActionName) -> tuple[str, str, str]:
    return name.namespace, name.package, name.name


def _values(action: Action) -> tuple[Any, ...]:
    return (
        action.revision,
        action.version,
        action.publish,
        action.updated_ms,
        action.exec.kind,
        action.exec.binary,
        action.exec.main,
        action.exec.image,
        json.dumps(action.limits.to_json()),
        jsons.encode(action.annotations),
        jsons.encode([(item.key, item.value, item.init) for item in action.parameters]),
        action.exec.code,
    )
