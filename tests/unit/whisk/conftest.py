"""What the tests of the client share: a running engine, and a host that answers as it is told."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.whisk.engine_in_process import Engine, EngineThread, config

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The real API with actions that run in this process."""
    with EngineThread(config(tmp_path_factory.mktemp("engine"))) as found:
        yield found


@pytest.fixture
def small_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose user has OpenWhisk's default throttles but fewer in flight."""
    with EngineThread(config(tmp_path, per_minute=60, in_flight=2)) as found:
        yield found


@pytest.fixture
def host() -> Callable[[Handler], contextlib.AbstractAsyncContextManager[str]]:
    """A host that hands every request to a function; gives its URL."""

    @contextlib.asynccontextmanager
    async def serve(handler: Handler) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    return serve


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that nobody listens on: bound, so that nobody else takes it meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
