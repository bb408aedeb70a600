from __future__ import annotations

import asyncio
import sqlite3
import tomllib
from pathlib import Path

import pytest

from orrery.engine import config as engine_config
from orrery.errors import ConfigurationError, FunctionError
from orrery.whisk import stored
from orrery.whisk.toml import dumps

LAB = """
lab_name = "orrery"
listen = ["127.0.0.1:3233", "10.161.33.1:3233"]
database = "/var/lib/orrery/engine.db"
docker_socket = "/var/run/docker.sock"
network = "orrery-functions"
container_prefix = "orrery-fn"
api_host = "http://10.161.33.1:3233"
pool_memory_mb = 4096
default_kind = "python:3.11"
idle_timeout_s = 30.5

[runtimes]
"python:3.11" = "orrery/python:3.11"

[container_limits]
pids = 512

[[users]]
namespace = "guest"
uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
key = "0123456789abcdef0123456789abcdef"
"""


def test_the_second_engine_shares_nothing_with_the_lab_that_could_hurt_it(tmp_path: Path) -> None:
    lab = tomllib.loads(LAB)
    first = stored.derive(lab, tmp_path, 1, 4001)
    second = stored.derive(lab, tmp_path, 2, 4002)
    assert lab == tomllib.loads(LAB)
    for key in ("lab_name", "container_prefix", "listen", "database", "users"):
        assert len({str(document[key]) for document in (lab, first, second)}) == 3, key
    assert first["network"] == lab["network"]
    parsed = engine_config.parse(tomllib.loads(dumps(first)), "derived")
    assert parsed.listen == (("127.0.0.1", 4001),)
    assert parsed.container_limits.pids == 512
    assert parsed.users[0].concurrent_invocations == 200


def test_a_store_is_filled_before_its_engine_starts(tmp_path: Path) -> None:
    database = tmp_path / "engine.db"
    asyncio.run(stored.fill(database, 2500))
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT count(*), count(DISTINCT id) FROM activations").fetchone()
        logs = connection.execute("SELECT count(*) FROM logs").fetchone()
    finally:
        connection.close()
    assert rows == (2500, 2500)
    assert logs == (2500,)


def test_an_engine_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    second = stored.Second(
        ("sh", "-c", "echo the port is taken; exit 3"),
        "http://127.0.0.1:9",
        "u:k",
        tmp_path / "log",
    )

    async def go() -> None:
        async with stored._running(second, 1):
            pass

    with pytest.raises(FunctionError) as error:
        asyncio.run(go())
    assert str(error.value) == "the second engine did not start:\nthe port is taken"


def test_toml_is_read_back_as_it_was(tmp_path: Path) -> None:
    document = {
        "text": 'quote " backslash \\ newline \n del \x7f snow \u2603 \U0001f600',
        "numbers": [1, 2.5, True],
        "table": {"a:b": "x", "inner": {"y": 1}},
        "items": [{"n": 1}, {"n": 2, "deep": {"z": False}}],
        "empty": [],
    }
    assert tomllib.loads(dumps(document)) == document
    with pytest.raises(ConfigurationError, match="when: NoneType cannot be written as TOML"):
        dumps({"when": None})
