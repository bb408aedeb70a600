"""A link that is cut or stalled, and who meddles, do it once and in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orrery.drill.faults import MIDDLE_BYTES, Link, injected
from orrery.drill.migration import Now
from orrery.drill.scenario import ENDS, Fault
from orrery.drill.states import STAYS, Outcome, Sample, Status
from orrery.errors import GuestError
from tests.unit.drill.sides import Side, pair


def now(source: Side, target: Side, sent: int, status: Status = Status.ACTIVE) -> Now:
    sample = Sample(0.0, sent, 0, 0, 1, 0.0, 0.0, 0, 0)
    return Now(source, target, status, None, sample, 1.0)


async def echo(path: Path) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, path)


def test_a_link_carries_both_ways_until_it_is_cut(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with await echo(tmp_path / "far"), Link(tmp_path / "near", tmp_path / "far") as link:
            reader, writer = await asyncio.open_unix_connection(tmp_path / "near")
            writer.write(b"memory")
            assert await reader.readexactly(6) == b"MEMORY"
            assert link.carried >= 6
            link.cut()
            left = await reader.read()
            writer.close()
            return left

    assert asyncio.run(run()) == b""
    assert not (tmp_path / "near").exists()


def test_a_stalled_link_keeps_the_connection_and_lets_nothing_through(tmp_path: Path) -> None:
    async def run() -> None:
        async with await echo(tmp_path / "far"), Link(tmp_path / "near", tmp_path / "far") as link:
            reader, writer = await asyncio.open_unix_connection(tmp_path / "near")
            writer.write(b"a")
            await reader.readexactly(1)
            link.stall()
            writer.write(b"b")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await reader.readexactly(1)
            assert not reader.at_eof()
            writer.close()

    asyncio.run(run())


def test_a_fault_comes_once_and_not_before_the_middle(tmp_path: Path) -> None:
    killed: list[str] = []

    async def run() -> None:
        source, target = pair()
        async with injected(
            Fault.TARGET_DIES, tmp_path, tmp_path / "in", lambda: killed.append("dead")
        ) as found:
            assert found.meddle is not None
            await found.meddle(now(source, target, MIDDLE_BYTES - 1))
            await found.meddle(now(source, target, MIDDLE_BYTES, Status.SETUP))
            assert not killed
            await found.meddle(now(source, target, MIDDLE_BYTES))
            await found.meddle(now(source, target, MIDDLE_BYTES * 2))

    asyncio.run(run())
    assert killed == ["dead"]


def test_a_second_order_has_to_be_refused(tmp_path: Path) -> None:
    async def run(refuses: bool) -> None:
        source, target = pair()
        source.refuses = {"migrate"} if refuses else set()
        async with injected(Fault.TWICE, tmp_path, tmp_path / "in", lambda: None) as found:
            assert found.meddle is not None
            await found.meddle(now(source, target, MIDDLE_BYTES))

    asyncio.run(run(refuses=True))
    with pytest.raises(GuestError, match="took a second order"):
        asyncio.run(run(refuses=False))


def test_a_stranger_greets_and_hangs_up(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with injected(Fault.WRONG_PEER, tmp_path, tmp_path / "in", lambda: None) as found:
            path = found.reach.removeprefix("unix:")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"QEVM")
            try:
                return await reader.read()
            except ConnectionResetError:
                return b"220 reset"
            finally:
                writer.close()

    assert asyncio.run(run()).startswith(b"220 ")


def test_nobody_means_that_nobody_listens(tmp_path: Path) -> None:
    async def run() -> None:
        async with injected(Fault.NOBODY, tmp_path, tmp_path / "in", lambda: None) as found:
            assert not found.listens
            with pytest.raises(OSError, match="No such file"):
                await asyncio.open_unix_connection(found.reach.removeprefix("unix:"))

    asyncio.run(run())


def test_every_fault_has_an_end_in_which_the_guest_runs() -> None:
    assert set(ENDS) == set(Fault)
    for ends in ENDS.values():
        assert ends <= STAYS | {Outcome.MOVED}
