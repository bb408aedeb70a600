"""Faults in the middle of a migration: a link that fails, a side that dies, a second order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from orrery.drill.migration import Meddle, Now
from orrery.drill.scenario import Fault
from orrery.drill.states import Status
from orrery.errors import GuestError

CHUNK = 1 << 16
MIDDLE_BYTES = 16 << 20
"""A migration is in its middle when so much was sent: all it needs to know was said by then."""
GREETING = b"220 this is no QEMU\r\n"


@dataclass(frozen=True)
class Injection:
    """How a migration is done differently.

    Attributes:
        reach: Where the source connects; empty for the destination itself.
        listens: Whether the destination is told to listen.
        meddle: None where nothing happens in the middle.
    """

    reach: str = ""
    listens: bool = True
    meddle: Meddle | None = None


class Link:
    """A way between two sockets that can be cut or stalled. To be used in an `async with` block.

    Attributes:
        carried: Bytes that the source has sent over it.
    """

    def __init__(self, near: Path, far: Path) -> None:
        self.near, self.far = near, far
        self.carried = 0
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Link:
        self._server = await asyncio.start_unix_server(self._accept, self.near)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
        _forget(self.near)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Let nothing through any more; connections stay."""
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self.far)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._open.wait()
                sink.write(data)
                await sink.drain()
                self.carried += len(data)
        sink.transport.abort()


@contextlib.asynccontextmanager
async def injected(
    fault: Fault | None, folder: Path, socket: Path, kill: Callable[[], None]
) -> AsyncIterator[Injection]:
    """Have a fault ready.

    Args:
        fault: None for none.
        folder: For sockets of our own.
        socket: Where the destination listens.
        kill: Ends the destination's QEMU.
    """
    near = folder / "link.sock"
    if fault in (Fault.LINK_CUT, Fault.LINK_STALLED):
        async with Link(near, socket) as link:
            act = link.cut if fault is Fault.LINK_CUT else link.stall
            yield Injection(reach=f"unix:{near}", meddle=_once(_called(act)))
    elif fault is Fault.WRONG_PEER:
        async with _stranger(near):
            yield Injection(reach=f"unix:{near}")
    elif fault is Fault.NOBODY:
        yield Injection(reach=f"unix:{near}", listens=False)
    elif fault is Fault.TARGET_DIES:
        yield Injection(meddle=_once(_called(kill)))
    elif fault is Fault.CANCEL:
        yield Injection(meddle=_once(_cancel))
    elif fault is Fault.TWICE:
        yield Injection(meddle=_once(_again(f"unix:{socket}")))
    else:
        yield Injection()


def _once(act: Meddle) -> Meddle:
    """Act when the migration is in its middle, and never again."""
    done = False

    async def meddle(now: Now) -> None:
        nonlocal done
        middle = now.sample is not None and now.sample.transferred >= MIDDLE_BYTES
        if not done and now.status is Status.ACTIVE and middle:
            done = True
            await act(now)

    return meddle


def _called(act: Callable[[], None]) -> Meddle:
    async def meddle(_: Now) -> None:
        act()

    return meddle


async def _cancel(now: Now) -> None:
    await now.source.execute("migrate_cancel")


def _again(uri: str) -> Meddle:
    async def meddle(now: Now) -> None:
        try:
            await now.source.execute("migrate", {"uri": uri})
        except GuestError:
            # Refused, as it has to be; the first one goes on.
            return
        raise GuestError("the source took a second order to migrate while it did")

    return meddle


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def _stranger(near: Path) -> AsyncIterator[None]:
    """Somebody who listens, greets, and does not understand."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(GREETING)
            await writer.drain()
            await reader.read(CHUNK)
        writer.transport.abort()

    server = await asyncio.start_unix_server(answer, near)
    try:
        yield
    finally:
        server.close()
        _forget(near)
