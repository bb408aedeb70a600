"""Monitors speak QMP, and a QEMU that has ended is told from one that says no."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from orrery.drill.migration import GoneError
from orrery.drill.monitors import Watched, watched
from orrery.errors import GuestError

GREETING = {"QMP": {"version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""},
                    "capabilities": []}}  # fmt: skip
STAMP = {"seconds": 1700000000, "microseconds": 250000}


class Qemu:
    """A QMP server: answers, says what it is told to, and can end."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.asked: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        with contextlib.suppress(ConnectionResetError):
            await self.send(GREETING)
            await self.answer(reader)
        writer.close()

    async def answer(self, reader: asyncio.StreamReader) -> None:
        # Messages of the library have no line end; it sends one at a time.
        while data := await reader.read(1 << 16):
            order = json.loads(data)
            self.asked.append(order)
            answer: dict[str, Any] = {"return": {}}
            if order["execute"] == "refuse":
                answer = {"error": {"class": "GenericError", "desc": "Postcopy is not supported"}}
            if order["execute"] == "die":
                self.end()
                return
            await self.send({**answer, **({"id": order["id"]} if "id" in order else {})})

    async def send(self, message: dict[str, Any]) -> None:
        assert self.writer is not None
        self.writer.write(json.dumps(message).encode() + b"\r\n")
        await self.writer.drain()

    def end(self) -> None:
        assert self.writer is not None
        self.writer.transport.abort()


def talk(path: Path, act: Callable[[Qemu, Watched], Awaitable[None]]) -> Qemu:
    async def run() -> Qemu:
        qemu = Qemu()
        async with asyncio.timeout(20), await asyncio.start_unix_server(qemu.serve, path):
            async with watched(path, "guest a") as side:
                await act(qemu, side)
            return qemu

    return asyncio.run(run())


def test_a_command_has_its_answer_and_events_come_in_their_order(tmp_path: Path) -> None:
    async def act(qemu: Qemu, side: Watched) -> None:
        for name in ("STOP", "RESUME"):
            await qemu.send({"event": name, "timestamp": STAMP})
        assert await side.execute("query-status") == {}
        assert (await side.next()).name == "STOP"
        event = await side.next()
        assert event.name == "RESUME"
        assert event.at_s == 1700000000.25

    qemu = talk(tmp_path / "q", act)
    assert [one["execute"] for one in qemu.asked] == ["qmp_capabilities", "query-status"]


def test_a_refusal_is_one_with_what_qemu_said(tmp_path: Path) -> None:
    async def act(_: Qemu, side: Watched) -> None:
        with pytest.raises(GuestError, match="guest a: refuse: Postcopy is not supported") as found:
            await side.execute("refuse")
        assert not isinstance(found.value, GoneError)

    talk(tmp_path / "q", act)


def test_events_before_the_end_of_qemu_are_told_before_it(tmp_path: Path) -> None:
    async def act(qemu: Qemu, side: Watched) -> None:
        await qemu.send({"event": "MIGRATION", "timestamp": STAMP, "data": {"status": "failed"}})
        await side.execute("query-status")
        qemu.end()
        assert (await side.next()).data == {"status": "failed"}
        with pytest.raises(GoneError, match="guest a: QEMU has ended"):
            await side.next()

    talk(tmp_path / "q", act)


def test_a_qemu_that_ends_while_it_is_asked_is_gone(tmp_path: Path) -> None:
    async def act(_: Qemu, side: Watched) -> None:
        with pytest.raises(GoneError, match="die: QEMU has ended"):
            await side.execute("die")
        with pytest.raises(GoneError):
            await side.execute("query-status")

    talk(tmp_path / "q", act)


def test_a_monitor_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def run() -> None:
        async with watched(tmp_path / "none", "guest b"):
            raise AssertionError("nobody is there")

    with pytest.raises(GuestError, match="monitor of guest b"):
        asyncio.run(run())
