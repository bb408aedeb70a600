"""/namespaces: the caller's own, and its limits."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from orrery.engine.api.http import authorize, engine_of, json_response, resource
from orrery.engine.entities.execs import MAX_CODE_BYTES
from orrery.engine.entities.parameters import MAX_BYTES


async def list_namespaces(request: Request) -> Response:
    """The namespaces of the caller: one."""
    return json_response([authorize(request).namespace])


async def get_limits(request: Request) -> Response:
    """What the caller may do in a minute, at once, and with one action."""
    user = authorize(request).user
    allowed = engine_of(request).allowed
    return json_response(
        {
            "invocationsPerMinute": user.invocations_per_minute,
            "concurrentInvocations": user.concurrent_invocations,
            "firesPerMinute": user.invocations_per_minute,
            "minActionMemory": allowed.memory_min_mb,
            "maxActionMemory": allowed.memory_max_mb,
            "minActionTimeout": allowed.timeout_min_ms,
            "maxActionTimeout": allowed.timeout_max_ms,
            "minActionLogs": 0,
            "maxActionLogs": allowed.logs_max_mb,
            "minActionConcurrency": 1,
            "maxActionConcurrency": 1,
            "maxParameterSize": MAX_BYTES,
            "maxPayloadSize": MAX_BYTES,
            "maxCodeSize": MAX_CODE_BYTES,
        }
    )


ROUTES = (
    resource("/api/v1/namespaces", GET=list_namespaces),
    resource("/api/v1/namespaces/", GET=list_namespaces),
    resource("/api/v1/namespaces/{namespace}/limits", GET=get_limits),
    resource("/api/v1/namespaces/{namespace}/limits/", GET=get_limits),
)
