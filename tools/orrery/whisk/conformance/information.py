"""Facts: info documents, authentication, error bodies, namespaces."""

from __future__ import annotations

from orrery.whisk.conformance.fact import (
    ACTIONS,
    SPACE,
    A,
    Step,
    Who,
    fact,
    get,
    put,
    refused,
)
from orrery.whisk.conformance.match import BOOLEAN, POSITIVE, TEXT, Every, Having, like

_LIMITS = (
    *("actions_per_minute", "triggers_per_minute", "concurrent_actions", "sequence_length"),
    *("default_min_action_duration", "default_max_action_duration", "default_max_action_logs"),
    *("default_min_action_memory", "default_max_action_memory", "max_action_logs"),
    *("min_action_duration", "max_action_duration", "min_action_memory", "max_action_memory"),
)
_RUNTIME = {"kind": like(r"^python:"), "image": TEXT, "deprecated": BOOLEAN, "default": BOOLEAN}
_MISSING = r"^The requested resource could not be found\.$"

FACTS = (
    fact(
        "info",
        "GET / describes OpenWhisk and names the API's path, without credentials",
        get("/", {"description": "OpenWhisk", "api_paths": ["/api/v1"]}, who=Who.NOBODY),
    ),
    fact(
        "info",
        "GET / names where to find support",
        get("/", {"support": {"github": TEXT, "slack": TEXT}}, who=Who.NOBODY),
    ),
    fact(
        "info",
        "GET / lists limits as whole numbers",
        get("/", {"limits": dict.fromkeys(_LIMITS, POSITIVE)}, who=Who.NOBODY),
    ),
    fact(
        "info",
        "GET / lists runtimes by family, with kind, image, deprecated and default",
        get("/", {"runtimes": {"python": Every(_RUNTIME)}}, who=Who.NOBODY),
    ),
    fact(
        "info",
        "one Python runtime is the default of its family",
        get("/", {"runtimes": {"python": Having(({"default": True},))}}, who=Who.NOBODY),
    ),
    fact(
        "info",
        "GET /api/v1 describes the API and where its documentation is",
        get(
            "/api/v1",
            {
                "description": "OpenWhisk API",
                "api_version": "1.0.0",
                "api_version_path": "v1",
                "swagger_paths": {"ui": TEXT, "api-docs": TEXT},
            },
            who=Who.NOBODY,
        ),
    ),
    fact("info", "GET /ping answers pong", get("/ping", "pong", who=Who.NOBODY)),
    fact(
        "info",
        "GET namespaces lists the user's own namespace",
        get("/api/v1/namespaces", ["<ns>"]),
    ),
    fact(
        "info",
        "GET namespaces/_/limits shows the user's throttles",
        get(
            f"{SPACE}/limits",
            {"invocationsPerMinute": POSITIVE, "concurrentInvocations": POSITIVE},
        ),
    ),
    fact(
        "errors",
        "without credentials: 401, and what to authenticate with",
        get(
            ACTIONS,
            refused("^The resource requires authentication, which was not supplied"),
            401,
            who=Who.NOBODY,
            headers={"WWW-Authenticate": like('^Basic realm="OpenWhisk secure realm"')},
        ),
    ),
    fact(
        "errors",
        "credentials of nobody: 401",
        get(
            ACTIONS,
            refused("^The supplied authentication is invalid"),
            401,
            who=Who.STRANGER,
        ),
    ),
    fact(
        "errors",
        "somebody else's namespace: 403",
        put(
            refused("^The supplied authentication is not authorized to access '"),
            403,
            path="/api/v1/namespaces/<b>/actions/<a>",
            body={"exec": {"kind": "python:default", "code": "def main(args): return args"}},
        ),
    ),
    fact(
        "errors", "a path that does not exist: 404", get("/api/v1/no/such", refused(_MISSING), 404)
    ),
    fact(
        "errors",
        "a collection cannot be posted to: 405",
        Step("POST", ACTIONS, 405, refused("."), body={}),
    ),
    fact(
        "errors",
        "a missing entity: 404 with another text",
        get(A, refused(r"^The requested resource does not exist\.$"), 404),
    ),
    fact(
        "errors",
        "every answer carries a request id",
        get(ACTIONS, headers={"X-Request-ID": like(r"^\w{32}$")}),
    ),
    fact(
        "errors",
        "a request id that is sent is used, also as the code of an error",
        get(
            A,
            {"code": "orreryfact0123456789"},
            404,
            send={"X-Request-ID": "orreryfact0123456789"},
            headers={"X-Request-ID": like("^orreryfact0123456789$")},
        ),
    ),
    fact(
        "errors",
        "other origins may call the API (CORS)",
        Step("OPTIONS", ACTIONS, 200, headers={"Access-Control-Allow-Origin": like(r"^\*$")}),
    ),
)
