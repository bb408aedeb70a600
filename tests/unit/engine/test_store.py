from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orrery.engine import messages, names, records
from orrery.engine.config import ActionLimitRange
from orrery.engine.entities import actions
from orrery.engine.entities.actions import Action, ActionName
from orrery.engine.entities.execs import Exec
from orrery.engine.entities.parameters import Parameter
from orrery.engine.entities.runtimes import Runtimes
from orrery.engine.errors import ConflictError
from orrery.engine.invoker import Job, Outcome, Status
from orrery.engine.records import Record, Seed
from orrery.engine.store import Store
from orrery.engine.store.activations import TRIM_BATCH, Selection
from orrery.errors import HostError

RUNTIMES = Runtimes({"python:3.11": "lab/python"}, "python:3.11")


def action(name: str = "a", *, updated_ms: int = 1, code: str = "source") -> Action:
    put = actions.parse_put(
        {
            "exec": {"kind": "python", "code": code, "main": "go"},
            "parameters": [{"key": "p", "value": {"x": [1]}}, {"key": "E", "init": True}],
            "annotations": [{"key": "note", "value": "é"}],
            "limits": {"memory": 128},
        },
        RUNTIMES,
    )
    return actions.create(
        ActionName("guest", "", name), put, ActionLimitRange(), now_ms=updated_ms, revision=name
    )


def seed(*, name: str = "a", accepted_ms: int = 1000) -> Seed:
    job = Job(
        activation_id=names.new_activation_id(),
        transaction_id="t",
        namespace="guest",
        action=action(name).to_revision(RUNTIMES),
        arguments={},
        api_key=None,
        accepted_ms=accepted_ms,
    )
    return records.seed(
        job, subject="somebody", action=name, kind="python:3.11", limits={"memory": 128}
    )


def record(begun: Seed, *, start_ms: int = 2000, result: Any = None) -> Record:
    outcome = Outcome(Status.SUCCESS, result or {"ok": True}, start_ms, start_ms + 5, 3)
    return records.finish(begun, outcome)


def with_store(
    path: Path, body: Callable[[Store], Awaitable[None]], *, keep: int = 200_000
) -> None:
    async def run() -> None:
        store = Store(path, keep=keep)
        await store.open()
        try:
            await body(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_an_action_is_the_same_after_a_restart(tmp_path: Path) -> None:
    made = action()

    async def write(store: Store) -> None:
        await store.insert_action(made)

    async def read(store: Store) -> None:
        assert await store.get_action(made.id) == made
        assert await store.get_action(ActionName("other", "", "a")) is None

    with_store(tmp_path / "db", write)
    with_store(tmp_path / "db", read)


def test_the_database_is_private(tmp_path: Path) -> None:
    async def look(_: Store) -> None:
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
        assert modes == dict.fromkeys(("db", "db-wal", "db-shm", "db.lock"), 0o600)

    with_store(tmp_path / "db", look)


def test_writes_that_race_are_conflicts(tmp_path: Path) -> None:
    made = action()
    second = replace(made, revision="2")

    async def race(store: Store) -> None:
        await store.insert_action(made)
        with pytest.raises(ConflictError, match="resource already exists"):
            await store.insert_action(second)
        await store.replace_action(second, made.revision)
        with pytest.raises(ConflictError, match="Concurrent modification to resource detected"):
            await store.replace_action(replace(made, revision="3"), made.revision)
        with pytest.raises(ConflictError, match="Concurrent modification"):
            await store.delete_action(made)
        await store.delete_action(second)
        assert await store.get_action(made.id) is None

    with_store(tmp_path / "db", race)


def test_a_conflict_spoils_no_other_write_of_its_batch(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        await store.insert_action(action("a"))
        results = await asyncio.gather(
            *(store.insert_action(action(name)) for name in ("b", "a", "c")),
            return_exceptions=True,
        )
        assert [type(item) for item in results] == [type(None), ConflictError, type(None)]
        assert await store.count_actions("guest") == 3

    with_store(tmp_path / "db", write)


def test_actions_are_listed_by_their_last_update(tmp_path: Path) -> None:
    async def look(store: Store) -> None:
        for number, name in enumerate(("x", "y", "z")):
            await store.insert_action(action(name, updated_ms=10 + number))
        await store.replace_action(replace(action("x"), updated_ms=99, revision="n"), "x")
        listed = await store.list_actions("guest", 2, 0)
        assert [item["name"] for item in listed] == ["x", "z"]
        assert [item["name"] for item in await store.list_actions("guest", 5, 2)] == ["y"]
        assert listed[0]["exec"] == {"binary": False}

    with_store(tmp_path / "db", look)


def test_large_code_is_shared_but_not_kept(tmp_path: Path) -> None:
    big = replace(action("big"), exec=Exec("python:3.11", "#" * 17_000_000, False))

    async def look(store: Store) -> None:
        await store.insert_action(big)
        first = await store.get_action(big.id)
        assert first is await store.get_action(big.id)

    async def again(store: Store) -> None:
        first = await store.get_action(big.id)
        assert first is await store.get_action(big.id)
        assert first == big
        assert not store._cache._recent

    with_store(tmp_path / "db", look)
    with_store(tmp_path / "db", again)


def test_the_cache_is_bounded_and_right(tmp_path: Path) -> None:
    async def look(store: Store) -> None:
        for number in range(300):
            await store.insert_action(action(f"a{number}"))
        assert len(store._cache._recent) == 256
        old = await store.get_action(ActionName("guest", "", "a0"))
        assert old is not None
        new = replace(old, parameters=(Parameter("n", 1),), revision="new")
        await store.replace_action(new, old.revision)
        assert await store.get_action(old.id) == new

    with_store(tmp_path / "db", look)


def test_a_record_has_the_form_of_openwhisk(tmp_path: Path) -> None:
    begun = seed()
    outcome = Outcome(
        Status.APPLICATION_ERROR, {"error": "é"}, 2000, 2010, 7, init_ms=4, timed_out=True
    )

    async def look(store: Store) -> None:
        await store.begin(begun)
        await store.finish(records.finish(begun, outcome), ["line"])
        found = await store.get_activation("guest", begun.activation_id)
        assert found is not None
        assert json.loads(records.full_json(*found)) == {
            "namespace": "guest",
            "name": "a",
            "version": "0.0.1",
            "subject": "somebody",
            "activationId": begun.activation_id,
            "start": 2000,
            "end": 2010,
            "duration": 10,
            "response": {
                "status": "application error",
                "success": False,
                "result": {"error": "é"},
                "size": 14,
            },
            "logs": ["line"],
            "annotations": [
                {"key": "path", "value": "guest/a"},
                {"key": "kind", "value": "python:3.11"},
                {"key": "limits", "value": {"memory": 128}},
                {"key": "timeout", "value": True},
                {"key": "waitTime", "value": 7},
                {"key": "initTime", "value": 4},
            ],
            "publish": False,
        }
        assert await store.get_activation("other", begun.activation_id) is None

    with_store(tmp_path / "db", look)


def test_activations_are_selected_by_name_and_time(tmp_path: Path) -> None:
    async def look(store: Store) -> None:
        for number in range(10):
            begun = seed(name="even" if number % 2 == 0 else "odd")
            await store.finish(record(begun, start_ms=1000 + number), [])

        async def starts(selection: Selection, limit: int = 200, skip: int = 0) -> list[int]:
            rows = await store.list_activations(selection, limit, skip)
            return [json.loads(records.summary_json(*row[1:]))["start"] for row in rows]

        everything = Selection("guest")
        assert await starts(everything, 3) == [1009, 1008, 1007]
        assert await starts(everything, 3, 8) == [1001, 1000]
        assert await starts(Selection("guest", "odd", 1003, 1007)) == [1007, 1005, 1003]
        assert await store.count_activations(Selection("guest", since_ms=1008)) == 2
        assert await store.count_activations(Selection("nobody")) == 0

    with_store(tmp_path / "db", look)


def plan(path: Path, statement: str) -> str:
    with sqlite3.connect(path) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    connection.close()
    return " ".join(row[3] for row in rows)


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (Selection("guest"), "activations_by_time"),
        (Selection("guest", since_ms=1, upto_ms=2), "activations_by_time"),
        (Selection("guest", "a"), "activations_by_action"),
        (Selection("guest", "a", since_ms=1), "activations_by_action"),
    ],
)
def test_lists_follow_an_index_and_sort_nothing(
    selection: Selection, index: str, tmp_path: Path
) -> None:
    async def nothing(_: Store) -> None:
        return

    with_store(tmp_path / "db", nothing)
    condition, values = selection.condition()
    for value in values:
        condition = condition.replace("?", repr(value), 1)
    found = plan(
        tmp_path / "db",
        f"SELECT id, head, status FROM activations WHERE {condition} "
        "ORDER BY start DESC, seq DESC LIMIT 30",
    )
    assert f"USING INDEX {index}" in found
    assert "B-TREE" not in found


def test_old_records_are_trimmed_in_small_batches(tmp_path: Path) -> None:
    extra = 2 * TRIM_BATCH

    async def fill(store: Store) -> None:
        for number in range(100 + extra):
            await store.finish(record(seed(), start_ms=number), ["line"])
        assert await store.count_activations(Selection("guest")) <= 100 + TRIM_BATCH + 1
        newest = (await store.list_activations(Selection("guest"), 1, 0))[0]
        assert json.loads(records.summary_json(*newest[1:]))["start"] == 99 + extra

    with_store(tmp_path / "db", fill, keep=100)
    with sqlite3.connect(tmp_path / "db") as connection:
        logs, kept = connection.execute(
            "SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM activations)"
        ).fetchone()
    connection.close()
    assert logs == kept


def test_what_ran_when_the_engine_died_is_closed_as_an_error(tmp_path: Path) -> None:
    begun, answered = seed(accepted_ms=1234), seed()

    async def die(store: Store) -> None:
        await store.begin(begun)
        await store.begin(answered)
        await store.finish(record(answered), None)

    async def look(store: Store) -> None:
        found = await store.get_activation("guest", begun.activation_id)
        assert found is not None
        document = json.loads(records.full_json(*found))
        assert document["response"]["status"] == "whisk internal error"
        assert document["response"]["result"] == {"error": messages.ENGINE_STOPPED}
        assert document["start"] == 1234
        assert document["annotations"][0] == {"key": "path", "value": "guest/a"}
        found = await store.get_activation("guest", answered.activation_id)
        assert found is not None
        document = json.loads(records.full_json(*found))
        assert document["response"]["result"] == {"ok": True}
        assert document["logs"] == [messages.LOGS_LOST]

    with_store(tmp_path / "db", die)
    with_store(tmp_path / "db", look)
    with_store(tmp_path / "db", look)


def test_a_second_engine_is_kept_away_from_the_file(tmp_path: Path) -> None:
    async def second(_: Store) -> None:
        with pytest.raises(HostError) as caught:
            await Store(tmp_path / "db").open()
        assert str(caught.value) == (
            f"{tmp_path}/db.lock: another engine uses this database; stop it first"
        )

    with_store(tmp_path / "db", second)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(HostError) as caught:
        asyncio.run(Store(path).open())
    assert str(caught.value) == f"{path}: cannot be opened: file is not a database"


def test_a_database_of_a_newer_engine_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=9")
    connection.close()
    with pytest.raises(HostError, match="the database has schema 9, this engine knows 1"):
        asyncio.run(Store(path).open())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "db"
    with pytest.raises(HostError, match=r"none/db\.lock: cannot be made: No such file"):
        asyncio.run(Store(path).open())
