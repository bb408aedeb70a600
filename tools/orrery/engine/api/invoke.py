"""POST on an action: run it, and wait for it or not."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from orrery.engine import jsons, messages, names, records
from orrery.engine.api.http import (
    ACTIVATION_HEADER,
    Caller,
    authorize,
    boolean,
    engine_of,
    json_response,
    raw_json,
    read_body,
    small_integer,
    transaction_of,
)
from orrery.engine.context import Engine
from orrery.engine.entities.actions import Action, ActionName
from orrery.engine.errors import ApiError, BadRequestError, MalformedError, NotFoundError
from orrery.engine.invoker import Job, Status
from orrery.engine.records import Record
from orrery.engine.throttle import Slot

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_WAIT_MS: Final = 60_000

_HTTP_STATUS: Final = {
    Status.SUCCESS: 200,
    Status.APPLICATION_ERROR: 502,
    Status.DEVELOPER_ERROR: 502,
    Status.WHISK_ERROR: 500,
}


async def invoke_action(request: Request) -> Response:
    """Invoke an action.

    The throttles come before anything else that costs: a request over them reads no body.
    """
    engine = engine_of(request)
    raw = request.path_params["name"]
    caller = authorize(request, raw)
    name = ActionName(caller.namespace, "", names.check_entity_name(raw))
    slot = engine.throttle.enter(caller.user)
    try:
        return await _invoke(request, engine, caller, name, slot)
    except BaseException:
        slot.release()
        raise


async def _invoke(
    request: Request, engine: Engine, caller: Caller, name: ActionName, slot: Slot
) -> Response:
    blocking, result_only = boolean(request, "blocking"), boolean(request, "result")
    wait_ms = _wait_ms(request)
    body = await read_body(request, "Request", MAX_PAYLOAD_BYTES)
    payload = jsons.decode(body) if body.strip() else {}
    if not isinstance(payload, dict):
        raise MalformedError(messages.NOT_AN_OBJECT)
    action = await engine.store.get_action(name)
    if action is None:
        raise NotFoundError
    job = _job(engine, caller, action, payload, transaction_of(request))
    seed = records.seed(
        job,
        subject=caller.user.subject,
        action=action.id.short,
        kind=action.exec.kind,
        limits=action.limits.to_json(),
    )
    answer = await engine.dispatcher.accept(job, action, seed, slot, promise=not blocking)
    if blocking:
        await asyncio.wait((answer,), timeout=wait_ms / 1000)
        if answer.done():
            return _answer(answer.result(), result_only=result_only)
    header = {ACTIVATION_HEADER: job.activation_id}
    return json_response({"activationId": job.activation_id}, 202, header)


def _job(
    engine: Engine, caller: Caller, action: Action, payload: dict[str, object], transaction: str
) -> Job:
    user = caller.user
    return Job(
        activation_id=names.new_activation_id(),
        transaction_id=transaction,
        namespace=caller.namespace,
        action=action.to_revision(engine.runtimes),
        arguments=action.arguments(payload),
        api_key=f"{user.uuid}:{user.key}" if action.wants_api_key() else None,
        accepted_ms=time.time_ns() // 1_000_000,
    )


def _answer(answer: Record | ApiError, *, result_only: bool) -> Response:
    if isinstance(answer, ApiError):
        raise answer
    # A result that is an array is answered bare, as OpenWhisk does.
    bare = result_only or answer.result.startswith(b"[")
    body = answer.result if bare else answer.to_json()
    header = {ACTIVATION_HEADER: answer.activation_id}
    return raw_json(body, _HTTP_STATUS[answer.status], header)


def _wait_ms(request: Request) -> int:
    value = request.query_params.get("timeout")
    if value is None:
        return MAX_WAIT_MS
    number = small_integer(value)
    if number is None or not 1 <= number <= MAX_WAIT_MS:
        reason = messages.bad_timeout(MAX_WAIT_MS)
        raise BadRequestError(messages.malformed_query("timeout", reason))
    return number
