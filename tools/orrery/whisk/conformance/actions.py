"""Facts: creating, updating, reading, listing and deleting actions."""

from __future__ import annotations

import base64

from orrery.whisk.conformance.fact import (
    ACTIONS,
    ECHO,
    KIND,
    A,
    Step,
    create,
    fact,
    get,
    pairs,
    put,
    refused,
    update,
)
from orrery.whisk.conformance.match import (
    ABSENT,
    BOOLEAN,
    INTEGER,
    POSITIVE,
    TEXT,
    Every,
    Exactly,
    Having,
    length,
    like,
)

_MALFORMED = "^The request content was malformed:\n"
_LIMITS = {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000}
_ENTITY = Exactly(
    {
        "namespace": "<ns>",
        "name": "<a>",
        "version": "0.0.1",
        "publish": False,
        "exec": {"kind": like(r"^python:"), "code": ECHO, "binary": False},
        "parameters": [],
        "limits": _LIMITS,
        "annotations": Having(()),
        "updated": POSITIVE,
    }
)
_ITEM = {
    "namespace": TEXT,
    "name": TEXT,
    "version": TEXT,
    "publish": BOOLEAN,
    "annotations": Having(()),
    "limits": Exactly(
        {"concurrency": INTEGER, "logs": INTEGER, "memory": INTEGER, "timeout": INTEGER}
    ),
    "exec": Exactly({"binary": BOOLEAN}),
    "updated": POSITIVE,
    "parameters": ABSENT,
}
_ZIP_LIKE = base64.b64encode(b"PK\x05\x06" + bytes(18)).decode()


def _listed(key: str, value: str, text: str) -> Step:
    return get(ACTIONS, refused(text), 400, query={key: value})


FACTS = (
    fact("actions", "PUT creates an action and returns all of it", create(match=_ENTITY)),
    fact(
        "actions",
        "a new action gets no API key, and its kind as annotation",
        create(match={"annotations": Having(tuple(pairs(provide_api_key=False)))}),
        get(A, {"annotations": Having(({"key": "exec", "value": like("^python:")},))}),
    ),
    fact(
        "actions",
        "the kind python:default is resolved to a version",
        create(match={"exec": {"kind": like(r"^python:\d")}}),
    ),
    fact(
        "actions",
        "creating without exec: 400",
        put(refused(r"^exec undefined$"), 400, body={}),
    ),
    fact(
        "actions",
        "creating what exists: 409, unless overwrite=true",
        create(),
        put(
            refused("^resource already exists$"),
            409,
            body={"exec": {"kind": KIND, "code": ECHO}},
        ),
        update(exec={"kind": KIND, "code": ECHO}),
    ),
    fact(
        "actions",
        "an update counts the version's last part up",
        create(match={"version": "0.0.1"}),
        update({"version": "0.0.2"}, publish=False),
    ),
    fact(
        "actions",
        "a version that is given is kept",
        create(),
        update({"version": "1.2.3"}, version="1.2.3"),
    ),
    fact(
        "actions",
        "an update without exec keeps the code",
        create(),
        update({"exec": {"code": ECHO}}, limits={"timeout": 5000}),
    ),
    fact(
        "actions",
        "an update without parameters keeps them",
        create(parameters=pairs(x=1)),
        update({"parameters": pairs(x=1)}, limits={"timeout": 5000}),
    ),
    fact(
        "actions",
        "parameters that are given replace all others",
        create(parameters=pairs(x=1, y=2)),
        update({"parameters": pairs(y=3)}, parameters=pairs(y=3)),
    ),
    fact(
        "actions",
        "an empty list of parameters clears them",
        create(parameters=pairs(x=1)),
        update({"parameters": []}, parameters=[]),
    ),
    fact(
        "actions",
        "annotations are merged by key",
        create(annotations=pairs(one=1, two=2)),
        update(
            {"annotations": Having(tuple(pairs(one=1, two=3)))},
            annotations=pairs(two=3),
        ),
    ),
    fact(
        "actions",
        "delAnnotations removes annotations",
        create(annotations=pairs(one=1, two=2)),
        update(delAnnotations=["one"]),
        get(
            A,
            {"annotations": Every({"key": like(r"^(?!one$)")})},
        ),
    ),
    fact(
        "actions",
        "limits are merged by key",
        create(limits={"timeout": 5000}),
        update({"limits": {**_LIMITS, "timeout": 5000, "logs": 1}}, limits={"logs": 1}),
    ),
    fact(
        "actions",
        "memory above the maximum: 400",
        put(
            refused(_MALFORMED),
            400,
            body={"exec": {"kind": KIND, "code": ECHO}, "limits": {"memory": 1_000_000}},
        ),
    ),
    fact(
        "actions",
        "a time limit below the minimum: 400",
        put(
            refused(_MALFORMED),
            400,
            body={"exec": {"kind": KIND, "code": ECHO}, "limits": {"timeout": 1}},
        ),
    ),
    fact(
        "actions",
        "an unknown kind: 400, with the known ones",
        put(
            refused(
                _MALFORMED
                + r"The specified runtime 'cobol:60' is not supported by this platform\. "
                "Valid values are: '.+'"
            ),
            400,
            body={"exec": {"kind": "cobol:60", "code": "x"}},
        ),
    ),
    fact(
        "actions",
        "a body that is no JSON: 400",
        put(refused(_MALFORMED), 400, data=b'{"exec": '),
    ),
    fact(
        "actions",
        "a name with a character that is not allowed: 400",
        put(
            refused("."), 400, path=f"{ACTIONS}/a%2Ab", body={"exec": {"kind": KIND, "code": ECHO}}
        ),
    ),
    fact(
        "actions",
        "base64 is recognised as binary code",
        put(
            {"exec": {"binary": True}},
            body={"exec": {"kind": KIND, "code": _ZIP_LIKE}},
        ),
    ),
    fact(
        "actions",
        "a blackbox keeps its image",
        put(
            {"exec": {"kind": "blackbox", "image": "example/none:1", "binary": False}},
            body={"exec": {"kind": "blackbox", "image": "example/none:1"}},
        ),
    ),
    fact("actions", "GET returns the action as stored", create(), get(A, _ENTITY)),
    fact(
        "actions",
        "GET with code=false leaves the code out",
        create(),
        get(A, {"exec": {"kind": TEXT, "code": ABSENT}}, query={"code": "false"}),
    ),
    fact(
        "actions",
        "DELETE returns what it deleted; then it is gone",
        create(),
        Step("DELETE", A, 200, {"name": "<a>", "version": "0.0.1"}),
        get(A, status=404),
        Step("DELETE", A, 404, refused(r"^The requested resource does not exist\.$")),
    ),
    fact(
        "actions",
        "a list shows actions without code and parameters",
        get(ACTIONS, Every(_ITEM), query={"limit": "5"}),
    ),
    fact("actions", "limit cuts a list", get(ACTIONS, length(1), query={"limit": "1"})),
    fact(
        "actions",
        "limit above 200: 400",
        _listed("limit", "201", "The value '201' is not in the range of 0 to 200 for actions"),
    ),
    fact(
        "actions",
        "limit that is no number: 400",
        _listed("limit", "x", "^The query parameter 'limit' was malformed:"),
    ),
    fact(
        "actions",
        "skip below zero: 400",
        _listed("skip", "-1", "^The query parameter 'skip' was malformed:"),
    ),
    fact(
        "actions",
        "count=true counts instead of listing",
        get(ACTIONS, Exactly({"actions": POSITIVE}), query={"count": "true"}),
    ),
)
