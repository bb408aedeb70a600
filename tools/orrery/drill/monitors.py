"""The monitors of both sides in one event loop, through QEMU's own library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from qemu.qmp import ExecInterruptedError, QMPClient, StateError
from qemu.qmp.error import QMPError

from orrery.drill.migration import GoneError
from orrery.drill.states import Event
from orrery.errors import GuestError

ANSWER_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 10.0


class Watched:
    """One side's monitor that also listens. Made by `watched`.

    Attributes:
        name: For people, `guest a`.
    """

    def __init__(self, name: str, client: QMPClient) -> None:
        self.name = name
        self._client = client

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Run a command of QMP.

        Raises:
            GoneError: QEMU has ended meanwhile.
            GuestError: It was refused, or nothing came in time.
        """
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._client.execute(command, dict(arguments or {}))
        except TimeoutError:
            raise GuestError(
                f"{self.name}: {command}: no answer within {ANSWER_TIMEOUT_S:g} s"
            ) from None
        except (ExecInterruptedError, StateError, OSError, EOFError) as error:
            raise GoneError(f"{self.name}: {command}: QEMU has ended") from error
        except QMPError as error:
            raise GuestError(
                f"{self.name}: {command}: {str(error) or type(error).__name__}"
            ) from error

    async def next(self) -> Event:
        """The next event; those before the end of QEMU come first.

        Raises:
            GoneError: QEMU has ended.
        """
        if self._client.events.empty():
            said = asyncio.create_task(self._client.events.get())
            ended = asyncio.create_task(self._client.runstate_changed())
            try:
                await asyncio.wait({said, ended}, return_when=asyncio.FIRST_COMPLETED)
                if said.done():
                    return Event.of(said.result())
            finally:
                for task in (said, ended):
                    task.cancel()
                await asyncio.gather(said, ended, return_exceptions=True)
            if self._client.events.empty():
                raise GoneError(f"{self.name}: QEMU has ended")
        return Event.of(await self._client.events.get())


@contextlib.asynccontextmanager
async def watched(path: Path, name: str) -> AsyncIterator[Watched]:
    """The monitor at a socket.

    Raises:
        GuestError: Nobody answers there.
    """
    client = QMPClient(name)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(str(path))
    except (QMPError, OSError, EOFError, TimeoutError) as error:
        raise GuestError(f"monitor of {name}: {str(error) or type(error).__name__}") from error
    try:
        yield Watched(name, client)
    finally:
        # One that is gone has closed the connection itself.
        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await client.disconnect()
