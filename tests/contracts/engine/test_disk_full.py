"""A full disk under the database: reading goes on, writing comes back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orrery import shell
from tests.fakes.engine import Client, EngineServer, basic, eventually, settings

ACTIONS = "/api/v1/namespaces/_/actions"
ACTIVATIONS = "/api/v1/namespaces/_/activations"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    shell.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], timeout_s=30)
    yield disk
    shell.run(["umount", disk], timeout_s=30)


def fill(disk: Path) -> Path:
    """Take all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return ballast


def exhaust(client: Client) -> None:
    """Write until the space that the WAL already has is used up too."""
    for number in range(200):
        reply = client.put(f"filler-{number}", "#" * 100_000)
        if reply.status != 200:
            assert reply.status == 503
            assert reply.error.startswith("The engine cannot write to its database: ")
            assert reply.error.endswith(" Reading still works.")
            return
    raise AssertionError("the disk never was full")


@pytest.mark.root
def test_a_full_disk_refuses_writes_and_recovers(small_disk: Path) -> None:
    with EngineServer(settings(small_disk)) as server, closing(server.client()) as client:
        client.put("echo", "first")
        before = client.invoke("echo", {"n": 1}).json["activationId"]
        ballast = fill(small_disk)
        exhaust(client)
        for query in ("blocking=true", ""):
            reply = client.invoke("echo", {"n": "x" * 500_000}, query)
            assert reply.status == 503
            assert reply.error.startswith("The engine cannot write to its database: ")
        assert len(server.invoker.jobs) == 1
        check_reads(client, before)
        ballast.unlink()
        assert client.put("echo", "second").status == 200
        assert client.invoke("echo", {"n": 2}).status == 200
        assert client.call("GET", f"{ACTIONS}/echo").json["exec"]["code"] == "second"
        check_reads(client, before)
    with EngineServer(settings(small_disk)) as server, closing(server.client()) as client:
        check_reads(client, before)
        assert client.call("GET", f"{ACTIONS}/echo").json["exec"]["code"] == "second"
        assert client.call("GET", f"{ACTIVATIONS}?count=true").json == {"activations": 2}


@pytest.mark.root
def test_what_ran_while_the_disk_was_full_is_stored_later(small_disk: Path) -> None:
    with (
        EngineServer(settings(small_disk)) as server,
        closing(server.client()) as client,
        closing(server.client()) as waiting,
    ):
        client.put("held")
        headers = {"Authorization": basic()}
        body = json.dumps({"n": "x" * 500_000})
        waiting._connection.request("POST", f"{ACTIONS}/held?blocking=true", body, headers)
        eventually(lambda: server.invoker.jobs)
        ballast = fill(small_disk)
        exhaust(client)
        server.call(server.invoker.release)
        assert waiting.read().status == 503
        ballast.unlink()
        path = f"{ACTIVATIONS}?name=held&docs=true"
        (record,) = eventually(lambda: client.call("GET", path).json)
        assert record["response"]["size"] == len(body) - 1


def check_reads(client: Client, activation_id: str) -> None:
    """What was stored before can still be read."""
    assert client.call("GET", f"{ACTIONS}/echo").status == 200
    assert client.call("GET", ACTIONS).status == 200
    found = client.call("GET", f"{ACTIVATIONS}/{activation_id}").json
    assert found["response"]["result"] == {"n": 1}
