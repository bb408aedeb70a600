"""Documents that need no credentials: what this is, whether it is there, how it is used."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from orrery import __version__
from orrery.engine.api.http import engine_of, json_response, raw_json, resource
from orrery.engine.config import DEFAULT_IN_FLIGHT, DEFAULT_PER_MINUTE

MEGABYTE: Final = 1024 * 1024


async def get_system(request: Request) -> Response:
    """Limits and runtimes of the whole engine."""
    engine = engine_of(request)
    allowed = engine.allowed
    return json_response(
        {
            "description": "OpenWhisk",
            "support": {
                "github": "https://github.com/apache/openwhisk/issues",
                "slack": "http://slack.openwhisk.org",
            },
            "api_paths": ["/api/v1"],
            "limits": {
                "actions_per_minute": DEFAULT_PER_MINUTE,
                "triggers_per_minute": DEFAULT_PER_MINUTE,
                "concurrent_actions": DEFAULT_IN_FLIGHT,
                "sequence_length": 50,
                "default_min_action_duration": allowed.timeout_min_ms,
                "default_max_action_duration": allowed.timeout_max_ms,
                "default_min_action_memory": allowed.memory_min_mb * MEGABYTE,
                "default_max_action_memory": allowed.memory_max_mb * MEGABYTE,
                "default_min_action_logs": 0,
                "default_max_action_logs": allowed.logs_max_mb * MEGABYTE,
                "min_action_duration": allowed.timeout_min_ms,
                "max_action_duration": allowed.timeout_max_ms,
                "min_action_memory": allowed.memory_min_mb * MEGABYTE,
                "max_action_memory": allowed.memory_max_mb * MEGABYTE,
                "min_action_logs": 0,
                "max_action_logs": allowed.logs_max_mb * MEGABYTE,
            },
            "runtimes": engine.runtimes.to_json(),
        }
    )


async def get_api(_: Request) -> Response:
    """The version of the API."""
    return json_response(
        {
            "description": "OpenWhisk API",
            "api_version": "1.0.0",
            "api_version_path": "v1",
            "build": f"orrery-{__version__}",
            "buildno": __version__,
            "swagger_paths": {"ui": "/docs", "api-docs": "/api-docs"},
        }
    )


async def get_ping(_: Request) -> Response:
    """Whether the engine answers."""
    return PlainTextResponse("pong")


async def get_api_docs(_: Request) -> Response:
    """The operations of this engine, as Swagger 2.0."""
    return raw_json(_swagger())


async def get_metrics(request: Request) -> Response:
    """Figures of the pool and of this process, as Prometheus reads them."""
    engine = engine_of(request)
    pool = engine.invoker.snapshot()
    figures = {
        "orrery_containers_busy": pool.busy,
        "orrery_containers_warm": pool.warm,
        "orrery_containers_paused": pool.paused,
        "orrery_activations_waiting": pool.waiting,
        "orrery_activations_in_flight": engine.throttle.in_flight(),
        "orrery_activations_finished_total": engine.dispatcher.finished,
        "orrery_pool_used_megabytes": pool.used_mb,
        "orrery_pool_capacity_megabytes": pool.capacity_mb,
        "orrery_store_healthy": int(engine.store.healthy),
        "process_resident_memory_bytes": _resident_bytes(),
    }
    return PlainTextResponse("".join(f"{name} {value}\n" for name, value in figures.items()))


@cache
def _swagger() -> bytes:
    return resources.files("orrery.engine.api").joinpath("swagger.json").read_bytes()


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


ROUTES = (
    resource("/", GET=get_system),
    resource("/ping", GET=get_ping),
    resource("/metrics", GET=get_metrics),
    resource("/api/v1", GET=get_api),
    resource("/api/v1/", GET=get_api),
    resource("/api/v1/api-docs", GET=get_api_docs),
)
