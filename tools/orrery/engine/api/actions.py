"""/namespaces/{ns}/actions: create, update, get, list, delete."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from orrery.engine import jsons, messages
from orrery.engine.api.http import (
    authorize,
    boolean,
    engine_of,
    json_response,
    page,
    read_body,
    resource,
)
from orrery.engine.api.invoke import invoke_action
from orrery.engine.context import Engine
from orrery.engine.entities import actions
from orrery.engine.entities.actions import Action, ActionName, ActionPut
from orrery.engine.errors import ConflictError, NotFoundError
from orrery.engine.names import check_entity_name

MAX_BODY_BYTES: Final = 50 * 1024 * 1024


async def put_action(request: Request) -> Response:
    """Create an action, or with `overwrite=true` update it."""
    engine = engine_of(request)
    name = _name(request)
    overwrite = boolean(request, "overwrite")
    async with engine.large_bodies:
        body = await read_body(request, "Request", MAX_BODY_BYTES)
        # Parsing 50 MB takes a while; other requests go on in between.
        put = await asyncio.to_thread(_parse, body, engine)
    old = await engine.store.get_action(name)
    stamp: dict[str, Any] = {
        "now_ms": time.time_ns() // 1_000_000,
        "revision": secrets.token_hex(8),
    }
    if old is None:
        action = actions.create(name, put, engine.allowed, **stamp)
        await _insert(request, action, overwrite=overwrite)
    elif not overwrite:
        raise ConflictError(messages.RESOURCE_EXISTS)
    else:
        action = actions.update(old, put, engine.allowed, **stamp)
        await engine.store.replace_action(action, old.revision)
        await engine.invoker.forget(name.path)
    return json_response(action.to_json())


def _parse(body: bytes, engine: Engine) -> ActionPut:
    return actions.parse_put(jsons.decode(body), engine.runtimes)


async def _insert(request: Request, action: Action, *, overwrite: bool) -> None:
    try:
        await engine_of(request).store.insert_action(action)
    except ConflictError:
        if overwrite:
            raise ConflictError(messages.CONFLICT) from None
        raise


async def get_action(request: Request) -> Response:
    """One action, with `code=false` without its code."""
    name = _name(request)
    with_code = boolean(request, "code", True)
    action = await _find(request, name)
    return json_response(action.to_json(with_code=with_code))


async def delete_action(request: Request) -> Response:
    """Delete an action and return what it was."""
    engine = engine_of(request)
    action = await _find(request, _name(request))
    await engine.store.delete_action(action)
    await engine.invoker.forget(action.id.path)
    return json_response(action.to_json())


async def list_actions(request: Request) -> Response:
    """Actions of a namespace, the latest update first, or how many there are."""
    namespace = authorize(request).namespace
    store = engine_of(request).store
    part = page(request, "actions")
    if boolean(request, "count"):
        total = await store.count_actions(namespace)
        return json_response({"actions": max(0, total - part.skip)})
    return json_response(await store.list_actions(namespace, part.limit, part.skip))


async def packaged_action(request: Request) -> Response:
    """An action of a package: this engine has no packages yet, so it does not exist."""
    parts = [request.path_params[key] for key in ("package", "name") if key in request.path_params]
    authorize(request, "/".join(parts))
    for part in parts:
        check_entity_name(part)
    raise NotFoundError


async def _find(request: Request, name: ActionName) -> Action:
    action = await engine_of(request).store.get_action(name)
    if action is None:
        raise NotFoundError
    return action


def _name(request: Request) -> ActionName:
    raw = request.path_params["name"]
    caller = authorize(request, raw)
    return ActionName(caller.namespace, "", check_entity_name(raw))


_BASE = "/api/v1/namespaces/{namespace}/actions"

ROUTES = (
    resource(
        f"{_BASE}/{{name}}",
        GET=get_action,
        PUT=put_action,
        POST=invoke_action,
        DELETE=delete_action,
    ),
    resource(_BASE, GET=list_actions),
    resource(f"{_BASE}/", GET=list_actions),
    resource(
        f"{_BASE}/{{package}}/{{name}}",
        GET=packaged_action,
        PUT=packaged_action,
        POST=packaged_action,
        DELETE=packaged_action,
    ),
    resource(f"{_BASE}/{{package}}/", GET=packaged_action),
)
