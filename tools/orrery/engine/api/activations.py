"""/namespaces/{ns}/activations: list, get, logs, result."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from orrery.engine import messages, names, records
from orrery.engine.api.http import (
    authorize,
    boolean,
    engine_of,
    json_response,
    page,
    raw_json,
    resource,
    small_integer,
)
from orrery.engine.context import Engine
from orrery.engine.errors import BadRequestError, NotFoundError
from orrery.engine.store.activations import Selection, Stored

LOGS_WAIT_S: Final = 10.0
"""How long an answer waits for a log that is still being collected [s]."""


async def list_activations(request: Request) -> Response:
    """Activations, newest first; with `docs=true` complete, with `count=true` their number."""
    namespace = authorize(request).namespace
    engine = engine_of(request)
    part = page(request, "activations")
    count, docs = boolean(request, "count"), boolean(request, "docs")
    selection = Selection(
        namespace, _action(request), _time_ms(request, "since"), _time_ms(request, "upto")
    )
    if count and docs:
        raise BadRequestError(messages.DOCS_WITH_COUNT)
    if count:
        total = await engine.store.count_activations(selection)
        return json_response({"activations": max(0, total - part.skip)})
    rows = await engine.store.list_activations(selection, part.limit, part.skip)
    if docs:
        ids = [activation_id for activation_id, _, _ in rows]
        await engine.dispatcher.logs_collected(ids, LOGS_WAIT_S)
        return StreamingResponse(_documents(engine, namespace, ids), media_type="application/json")
    return raw_json(b"[" + b",".join(records.summary_json(*row[1:]) for row in rows) + b"]")


async def _documents(engine: Engine, namespace: str, ids: list[str]) -> AsyncIterator[bytes]:
    """Complete records, some at a time: two hundred of a megabyte are never in memory together."""
    separator = b"["
    position = 0
    while position < len(ids):
        found, read = await engine.store.some_activations(namespace, ids[position:])
        position += read
        if found:
            yield separator + b",".join(records.full_json(*parts) for parts in found)
            separator = b","
    yield b"]" if separator == b"," else b"[]"


async def get_activation(request: Request) -> Response:
    """One record, complete."""
    return raw_json(records.full_json(*await _find(request, wait=True)))


async def get_logs(request: Request) -> Response:
    """The log of an activation."""
    *_, logs = await _find(request, wait=True)
    return raw_json(b'{"logs":' + logs + b"}")


async def get_result(request: Request) -> Response:
    """The response of an activation."""
    _, status, result, _ = await _find(request, wait=False)
    return raw_json(records.response_json(status, result))


async def _find(request: Request, *, wait: bool) -> Stored:
    raw = request.path_params["activation_id"]
    namespace = authorize(request, raw).namespace
    activation_id = names.check_activation_id(raw)
    engine = engine_of(request)
    if wait:
        await engine.dispatcher.logs_collected([activation_id], LOGS_WAIT_S)
    found = await engine.store.get_activation(namespace, activation_id)
    if found is None:
        raise NotFoundError
    return found


def _action(request: Request) -> str | None:
    value = request.query_params.get("name")
    if value is None or not value.strip():
        return None
    parts = value.split("/")
    if len(parts) > 2 or not all(names.is_entity_name(part) for part in parts):
        raise BadRequestError(messages.malformed_query("name", messages.bad_name_filter(value)))
    return value


def _time_ms(request: Request, name: str) -> int | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    number = small_integer(value)
    if number is None:
        raise BadRequestError(messages.malformed_query(name, messages.bad_epoch(value)))
    return number


_BASE = "/api/v1/namespaces/{namespace}/activations"

ROUTES = (
    resource(_BASE, GET=list_activations),
    resource(f"{_BASE}/", GET=list_activations),
    resource(f"{_BASE}/{{activation_id}}", GET=get_activation),
    resource(f"{_BASE}/{{activation_id}}/", GET=get_activation),
    resource(f"{_BASE}/{{activation_id}}/logs", GET=get_logs),
    resource(f"{_BASE}/{{activation_id}}/result", GET=get_result),
)
