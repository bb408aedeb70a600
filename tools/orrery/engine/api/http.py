"""What every route shares: answers, bodies, query parameters and the caller's rights."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orrery.engine import jsons, messages, names
from orrery.engine.config import User
from orrery.engine.context import Engine
from orrery.engine.errors import ApiError, BadRequestError, ForbiddenError, TooLargeError

Handler = Callable[[Request], Awaitable[Response]]

ACTIVATION_HEADER: Final = "x-openwhisk-activation-id"
BODY_TIMEOUT_S: Final = 120.0
LIST_DEFAULT: Final = 30
LIST_MAX: Final = 200

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True)
class Caller:
    """An authenticated user and the namespace that the request is about (the user's own)."""

    user: User
    namespace: str


def resource(path: str, **handlers: Handler) -> Route:
    """A route with one handler for each method; other methods are answered with 405."""
    methods = sorted(handlers)

    async def dispatch(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        handler = handlers.get(method)
        if handler is None:
            raise HTTPException(405, headers={"Allow": ", ".join(methods)})
        return await handler(request)

    # Starlette must not look at methods: it answers 405 before it tries later routes.
    return Route(path, _AnyMethod(dispatch), name=path)


class _AnyMethod:
    """An ASGI application: Starlette checks no methods for these."""

    def __init__(self, dispatch: Handler) -> None:
        self._dispatch = dispatch

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive, send)
        response = await self._dispatch(request)
        await response(scope, receive, send)


def engine_of(request: Request) -> Engine:
    """The engine behind the application."""
    engine: Engine = request.app.state.engine
    return engine


def transaction_of(request: Request) -> str:
    """The request's transaction id."""
    found: str = request.scope["orrery.transaction"]
    return found


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer with a JSON value."""
    return raw_json(jsons.encode(value), status, headers)


def raw_json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with JSON that is encoded already."""
    return Response(body, status, headers, "application/json")


def error_response(error: ApiError, transaction: str) -> Response:
    """The answer to a request that failed."""
    return json_response({"error": error.message, "code": transaction}, error.status, error.headers)


def authorize(request: Request, entity: str = "") -> Caller:
    """Authenticate, and check that the namespace in the path is the caller's own.

    Raises:
        UnauthorizedError: No or wrong credentials.
        BadRequestError: The namespace is no name.
        ForbiddenError: It is somebody else's.
    """
    user = engine_of(request).users.authenticate(request.headers.get("authorization"))
    namespace = request.path_params.get("namespace", "_")
    if namespace not in ("_", user.namespace):
        if not names.is_entity_name(namespace):
            raise BadRequestError(messages.NAMESPACE_ILLEGAL)
        target = f"{namespace}/{entity}" if entity else namespace
        raise ForbiddenError(messages.not_authorized(target))
    return Caller(user, user.namespace)


async def read_body(request: Request, field: str, allowed: int) -> bytes:
    """Read a JSON body of at most `allowed` bytes, whatever its headers claim.

    Raises:
        TooLargeError: It is, or says it is, larger; the rest is not kept.
        ApiError: Its media type is not JSON (415), or it does not arrive in time (408).
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > allowed:
        raise TooLargeError(field, int(length), allowed)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > allowed:
                    raise TooLargeError(field, size, allowed)
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError(messages.BODY_TIMEOUT, 408) from None
    if size:
        _check_media_type(request)
    return b"".join(chunks)


def _check_media_type(request: Request) -> None:
    found = request.headers.get("content-type", "")
    plain = found.partition(";")[0].strip().lower()
    if plain not in ("", "application/json"):
        raise ApiError(messages.media_type(plain[:128]), 415)


def boolean(request: Request, name: str, default: bool = False) -> bool:
    """A switch in the query.

    Raises:
        BadRequestError: It is neither on nor off.
    """
    value = request.query_params.get(name)
    if value is None:
        return default
    lowered = value.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise BadRequestError(messages.malformed_query(name, messages.not_a_boolean(value)))


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for."""

    limit: int
    skip: int


def page(request: Request, collection: str) -> Page:
    """`limit` and `skip` of a list; a limit of 0 means the most there is.

    Raises:
        BadRequestError: One of them is no number or out of its range.
    """
    limit = _integer(request, "limit", collection, LIST_DEFAULT)
    skip = _integer(request, "skip", collection, 0)
    if not 0 <= limit <= LIST_MAX:
        reason = messages.limit_out_of_range(collection, limit, LIST_MAX)
        raise BadRequestError(messages.malformed_query("limit", reason))
    if skip < 0:
        reason = messages.skip_out_of_range(collection, skip)
        raise BadRequestError(messages.malformed_query("skip", reason))
    return Page(limit or LIST_MAX, skip)


def _integer(request: Request, name: str, collection: str, default: int) -> int:
    value = request.query_params.get(name)
    if value is None:
        return default
    number = small_integer(value)
    if number is None:
        reason = messages.not_an_integer(collection, value)
        raise BadRequestError(messages.malformed_query(name, reason))
    return number


def small_integer(text: str) -> int | None:
    """A whole number that SQLite can hold, or None."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        return None
    return int(text)
