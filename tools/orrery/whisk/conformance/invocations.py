"""Facts: ways to invoke an action, status codes and results."""

from __future__ import annotations

from typing import Any

from orrery.whisk.conformance.fact import (
    KIND,
    TOOL_SOURCE,
    A,
    Step,
    create,
    fact,
    pairs,
    post,
    put,
    refused,
)
from orrery.whisk.conformance.match import (
    ABSENT,
    INTEGER,
    POSITIVE,
    TEXT,
    Exactly,
    Having,
    like,
)

ID = like("^[0-9a-f]{32}$")
_RESULT = {"blocking": "true", "result": "true"}
_WAIT = r"Timeout must be number of milliseconds up to 60000\.$"
_RECORD = {
    "activationId": ID,
    "namespace": "<ns>",
    "name": "<tool>",
    "version": "0.0.1",
    "subject": TEXT,
    "start": POSITIVE,
    "end": POSITIVE,
    "duration": INTEGER,
    "publish": False,
    "annotations": Having(({"key": "path", "value": "<ns>/<tool>"},)),
    "response": {
        "status": "success",
        "success": True,
        "result": {"args": {"n": 1}},
        "statusCode": ABSENT,
    },
}


def _failed(status: str, result: Any) -> dict[str, Any]:
    return {"response": {"status": status, "success": False, "result": result}}


def _waits(text: str) -> Step:
    return post(refused(_WAIT), 400, query={"blocking": "true", "timeout": text})


FACTS = (
    fact("invoke", "blocking: 200 with the activation record", post(_RECORD, body={"n": 1})),
    fact(
        "invoke",
        "blocking: the id of the activation is a header, too",
        post(headers={"x-openwhisk-activation-id": ID}),
    ),
    fact(
        "invoke",
        "result=true: 200 with nothing but the result",
        post(Exactly({"args": {"n": 1}}), query=_RESULT, body={"n": 1}),
    ),
    fact(
        "invoke",
        "an empty body means no parameters",
        post({"response": {"result": {"args": Exactly({})}}}, data=b""),
    ),
    fact(
        "invoke",
        "not blocking: 202 with the id of the activation",
        post(
            Exactly({"activationId": ID}),
            202,
            query={},
            headers={"x-openwhisk-activation-id": ID},
        ),
    ),
    fact(
        "invoke",
        "blocking, not ready in time: 202 with the id",
        post(
            Exactly({"activationId": ID}),
            202,
            query={"blocking": "true", "timeout": "100"},
            body={"do": "sleep", "s": 2},
        ),
    ),
    fact("invoke", "waiting for more than 60 s: 400", _waits("60001")),
    fact("invoke", "waiting for 0 ms: 400", _waits("0")),
    fact(
        "invoke",
        "the action returns an error: 502, application error",
        post(
            _failed("application error", {"error": "the action says no"}),
            502,
            body={"do": "error"},
            headers={"x-openwhisk-activation-id": ID},
        ),
    ),
    fact(
        "invoke",
        "the same with result=true: 502 with nothing but the error",
        post(Exactly({"error": "the action says no"}), 502, query=_RESULT, body={"do": "error"}),
    ),
    fact(
        "invoke",
        "the action returns a text: 502, action developer error",
        post(_failed("action developer error", {"error": TEXT}), 502, body={"do": "text"}),
    ),
    fact(
        "invoke",
        "an array is returned bare, also without result=true",
        post([1, 2, 3], body={"do": "list"}),
    ),
    fact(
        "invoke",
        "an action over its time limit: 502, and an annotation says so",
        create(TOOL_SOURCE, limits={"timeout": 1000, "memory": 128}),
        post(
            {
                "annotations": Having(tuple(pairs(timeout=True))),
                **_failed(
                    "action developer error",
                    {
                        "error": like(
                            r"^The action exceeded its time limits of 1000 milliseconds\.?"
                        )
                    },
                ),
            },
            502,
            path=A,
            body={"do": "sleep", "s": 20},
        ),
    ),
    fact(
        "invoke",
        "code that cannot be loaded: 502, action developer error",
        create("def main(args:\n", limits={"memory": 128}),
        post(_failed("action developer error", {"error": TEXT}), 502, path=A),
    ),
    fact(
        "invoke",
        "parameters of the call win over those of the action",
        create(TOOL_SOURCE, parameters=pairs(x=1, y=1), limits={"memory": 128}),
        post({"args": Exactly({"x": 1, "y": 2})}, path=A, query=_RESULT, body={"y": 2}),
    ),
    fact(
        "invoke",
        "a final parameter cannot be overridden: 400",
        create(parameters=pairs(x=1), annotations=pairs(final=True)),
        post(
            refused(r"^Request defines parameters that are not allowed"),
            400,
            path=A,
            body={"x": 2},
        ),
    ),
    fact(
        "invoke",
        "an init parameter is no argument of the call",
        create(
            TOOL_SOURCE,
            parameters=[{"key": "SECRET", "value": "s", "init": True}],
            limits={"memory": 128},
        ),
        post({"args": Exactly({})}, path=A, query=_RESULT),
    ),
    fact(
        "invoke",
        "the action knows its name, namespace, id and deadline from its environment",
        post(
            {
                "__OW_NAMESPACE": "<ns>",
                "__OW_ACTION_NAME": "/<ns>/<tool>",
                "__OW_ACTIVATION_ID": ID,
                "__OW_DEADLINE": like(r"^\d{13}$"),
            },
            query=_RESULT,
            body={"do": "env"},
        ),
    ),
    fact("invoke", "an action that does not exist: 404", post(refused("."), 404, path=A)),
    fact(
        "invoke",
        "parameters that are no object: 400",
        post(refused("^The request content was malformed:\n"), 400, data=b'"text"'),
    ),
    fact(
        "invoke",
        "parameters above 1 MB: 413",
        post(
            refused(r"^Request larger than allowed: \d+ > 1048576 bytes\.$"),
            413,
            body={"filler": "x" * 1_100_000},
        ),
    ),
    fact(
        "invoke",
        "the first call of an action shows initTime, the second does not",
        put(body={"exec": {"kind": KIND, "code": TOOL_SOURCE}, "limits": {"memory": 128}}),
        post({"annotations": Having(({"key": "initTime", "value": INTEGER},))}, path=A),
        post({"annotations": Having(({"key": "waitTime", "value": INTEGER},))}, path=A),
    ),
)
