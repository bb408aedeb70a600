"""The ASGI application: routes, and what is done around every request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orrery.engine import messages
from orrery.engine.api import actions, activations, info, namespaces
from orrery.engine.api.http import error_response
from orrery.engine.config import EngineConfig
from orrery.engine.context import Engine, make_engine
from orrery.engine.errors import ApiError
from orrery.engine.invoker import Invoker
from orrery.engine.names import transaction_id
from orrery.engine.store import Store
from orrery.engine.throttle import Throttle

DRAIN_S: Final = 5.0
STOP_S: Final = 30.0
LAST_WRITES_S: Final = 2.0

CORS_HEADERS: Final = (
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-allow-headers",
        b"Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
    ),
    (b"access-control-allow-methods", b"GET, DELETE, POST, PUT, HEAD"),
)

logger = logging.getLogger("orrery.engine.requests")


def create_app(
    config: EngineConfig, store: Store, invoker: Invoker, *, throttle: Throttle | None = None
) -> Starlette:
    """Make the application; `running` starts and stops what is behind it."""
    app = Starlette(
        routes=[*actions.ROUTES, *activations.ROUTES, *namespaces.ROUTES, *info.ROUTES],
        middleware=[Middleware(Edge)],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error},
    )
    app.router.redirect_slashes = False
    app.state.engine = make_engine(config, store, invoker, throttle)
    return app


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[None]:
    """Open the store and start the invoker; afterwards stop both in bounded time.

    This is no lifespan of ASGI, because a server reports an error of that as a traceback.

    Raises:
        HostError: The database or Docker cannot be used.
    """
    engine: Engine = app.state.engine
    await engine.store.open()
    try:
        await engine.invoker.start()
        yield
        await engine.dispatcher.drain(DRAIN_S)
    finally:
        try:
            await asyncio.wait_for(engine.invoker.stop(), STOP_S)
        except TimeoutError:
            logger.error("the containers were not removed within %.0f s", STOP_S)
        # What the invoker gave up has an outcome now, which is still stored.
        await engine.dispatcher.drain(LAST_WRITES_S)
        await engine.dispatcher.abandon()
        await engine.store.close()


class Edge:
    """Around every request: transaction id, CORS, a log line, and no traceback for the client."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        transaction = transaction_id(_header(scope, b"x-request-id"))
        scope["orrery.transaction"] = transaction
        extra = (*CORS_HEADERS, (b"x-request-id", transaction.encode()))
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            if scope["method"] == "OPTIONS":
                await Response()(scope, receive, send_marked)
            else:
                await self._app(scope, receive, send_marked)
        except ClientDisconnect:
            status = 499
        except Exception:
            logger.exception("request %s failed", transaction)
            if status:
                raise
            error = ApiError(messages.INTERNAL)
            await error_response(error, transaction)(scope, receive, send_marked)
        finally:
            _log(scope, status, started, transaction)


def _log(scope: Scope, status: int, started: float, transaction: str) -> None:
    # The path as it was sent: percent-encoded, so that no name can forge a line of the log, and
    # without its query.
    logger.info(
        "%s %s %d %.1f ms %s",
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        status,
        (time.perf_counter() - started) * 1000,
        transaction,
    )


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


async def _api_error(request: Any, error: Any) -> Response:
    return error_response(error, request.scope["orrery.transaction"])


async def _http_error(request: Any, error: Any) -> Response:
    """What Starlette itself refuses: unknown paths and methods."""
    headers = dict(error.headers or {})
    text = error.detail
    if error.status_code == 404:
        text = messages.PATH_UNKNOWN
    elif error.status_code == 405:
        text = messages.method_not_allowed([headers.get("Allow", "")])
    refusal = ApiError(text, error.status_code, headers)
    return error_response(refusal, request.scope["orrery.transaction"])
