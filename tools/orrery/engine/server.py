"""The process: sockets, uvicorn, signals."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette

from orrery.engine.app import create_app, running
from orrery.engine.config import EngineConfig
from orrery.engine.invoker import Invoker
from orrery.engine.store import Store
from orrery.errors import HostError

BACKLOG: Final = 1024
GRACE_S: Final = 5
KEEP_ALIVE_S: Final = 75
"""Longer than clients keep an idle connection, so that none writes into one just closed."""
SWITCH_INTERVAL_S: Final = 0.001
"""How long a thread may keep the interpreter [s]: the writer hands answers to the event loop, and
with Python's 5 ms each would wait that long for the other under load."""

logger = logging.getLogger(__name__)


def bind(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Make a listening socket for each address.

    Raises:
        HostError: A port is taken, or an address is not on this host.
    """
    sockets: list[socket.socket] = []
    try:
        for host, port in addresses:
            sockets.append(_bind_one(host, port))
    except HostError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def _bind_one(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise HostError(_why(host, port, error)) from error
    return listener


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is taken by another process: stop it, or move this lab with "
            "lab_port_base"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this host: the lab's function network has to be there"
    return f"port {port} of {host} cannot be listened on: {error.strerror}"


def make_invoker(config: EngineConfig) -> Invoker:
    """The real one, on Docker."""
    # Only the process that runs containers needs that half of the engine.
    from orrery.engine.pool import ContainerPool

    return ContainerPool(config)


def serve(config: EngineConfig, invoker: Invoker | None = None) -> None:
    """Run the engine until SIGTERM or SIGINT.

    Raises:
        HostError: A port, the database or Docker cannot be used.
    """
    sockets = bind(config.listen)
    try:
        _run(config, invoker, sockets)
    finally:
        for listener in sockets:
            listener.close()


def _run(config: EngineConfig, invoker: Invoker | None, sockets: list[socket.socket]) -> None:
    store = Store(config.database, keep=config.activations_keep)
    app = create_app(config, store, invoker or make_invoker(config))
    server = make_server(app)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn has handlers of its own while it serves; these are for the time before and after.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()

    async def main() -> None:
        async with running(app):
            addresses = ", ".join(f"{host}:{port}" for host, port in config.listen)
            logger.info("listening on %s", addresses)
            await server.serve(sockets)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def make_server(app: Starlette) -> uvicorn.Server:
    """Uvicorn as this engine uses it; `running(app)` has to be entered around it."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
    )
