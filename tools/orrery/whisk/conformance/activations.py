"""Facts: activation records, lists of them, logs and results."""

from __future__ import annotations

from typing import Any

from orrery.whisk.conformance.fact import (
    ACTIVATIONS,
    A,
    Step,
    create,
    fact,
    get,
    post,
    refused,
)
from orrery.whisk.conformance.invocations import ID
from orrery.whisk.conformance.match import (
    ABSENT,
    EMPTY,
    INTEGER,
    POSITIVE,
    TEXT,
    Every,
    Exactly,
    Having,
    length,
    like,
)

ONE = f"{ACTIVATIONS}/<id>"
_SAVED = {"id": "activationId"}
_RECORD = {
    "activationId": "<id>",
    "namespace": "<ns>",
    "name": "<tool>",
    "start": POSITIVE,
    "end": POSITIVE,
    "duration": INTEGER,
    "logs": Having(()),
    "response": {
        "status": "success",
        "success": True,
        "result": {"args": {}},
        "statusCode": ABSENT,
    },
    "annotations": Having(
        (
            {"key": "path", "value": "<ns>/<tool>"},
            {"key": "kind", "value": like("^python:")},
            {"key": "timeout", "value": False},
            {"key": "waitTime", "value": INTEGER},
            {"key": "limits", "value": {"memory": INTEGER, "timeout": 60000}},
        )
    ),
}
_ITEM = {
    "activationId": ID,
    "namespace": "<ns>",
    "name": TEXT,
    "version": TEXT,
    "start": POSITIVE,
    "annotations": Having(()),
    "statusCode": INTEGER,
    "publish": False,
    "response": ABSENT,
    "logs": ABSENT,
}


def _made(**more: Any) -> Step:
    return post(save=_SAVED, **more)


def _bad(text: str, **query: str) -> Step:
    return get(ACTIVATIONS, refused(text), 400, query=query)


FACTS = (
    fact("records", "an activation can be read by its id", _made(), get(ONE, _RECORD, until=True)),
    fact(
        "records",
        "an activation that was not waited for ends up there, too",
        post(status=202, query={}, save=_SAVED),
        get(ONE, _RECORD, until=True),
    ),
    fact(
        "records",
        "a failed activation is kept with its status",
        post(status=502, body={"do": "error"}, save={"id": "@x-openwhisk-activation-id"}),
        get(ONE, {"response": {"status": "application error", "success": False}}, until=True),
    ),
    fact(
        "records",
        "/result is the response of the record",
        _made(),
        get(
            f"{ONE}/result",
            {"status": "success", "success": True, "result": {"args": {}}},
            until=True,
        ),
    ),
    fact(
        "records",
        "/logs holds what the action printed, with timestamps",
        _made(body={"do": "print"}),
        get(
            f"{ONE}/logs",
            Exactly(
                {"logs": Having((like(r"^\d{4}-\d\d-\d\dT\S+Z\s+(stdout: )?line on stdout$"),))}
            ),
            until=True,
        ),
    ),
    fact(
        "records",
        "the record holds the log as well",
        _made(body={"do": "print"}),
        get(ONE, {"logs": Having((like("line on stdout$"),))}, until=True),
    ),
    fact(
        "records",
        "a log limit of 0 collects no log",
        create(
            'def main(args):\n    print("x")\n    return {}\n', limits={"logs": 0, "memory": 128}
        ),
        _made(path=A),
        get(ONE, {"logs": EMPTY}, until=True),
    ),
    fact(
        "records",
        "an id of the wrong length: 400",
        get(f"{ACTIVATIONS}/abc", refused(r"Activation id length is 3 but must be 32\.$"), 400),
    ),
    fact(
        "records",
        "an id that is not hexadecimal: 400",
        get(f"{ACTIVATIONS}/{'z' * 32}", refused(r"The activation id is not valid\.$"), 400),
    ),
    fact(
        "records",
        "an id that does not exist: 404",
        get(f"{ACTIVATIONS}/{'0' * 32}", refused("^The requested resource does not exist"), 404),
    ),
    fact(
        "lists",
        "a list shows activations with statusCode, without response and log",
        _made(),
        get(ACTIVATIONS, Every(_ITEM), query={"limit": "5"}, until=True),
    ),
    fact(
        "lists",
        "name selects the activations of one action",
        create(limits={"memory": 128}),
        _made(path=A),
        get(
            ACTIVATIONS,
            [{"activationId": "<id>", "name": "<a>"}],
            query={"name": "<a>"},
            until=True,
        ),
    ),
    fact(
        "lists",
        "the newest activation comes first",
        create(limits={"memory": 128}),
        _made(path=A),
        post(path=A, save={"later": "activationId"}),
        get(
            ACTIVATIONS,
            [{"activationId": "<later>"}, {"activationId": "<id>"}],
            query={"name": "<a>"},
            until=True,
        ),
    ),
    fact(
        "lists",
        "docs=true lists whole records",
        _made(),
        get(
            ACTIVATIONS,
            Every({"activationId": ID, "response": {"status": TEXT}, "logs": Having(())}),
            query={"docs": "true", "limit": "3"},
            until=True,
        ),
    ),
    fact(
        "lists",
        "limit cuts a list",
        _made(),
        get(ACTIVATIONS, length(1), query={"limit": "1"}, until=True),
    ),
    fact(
        "lists",
        "since leaves out what began before it",
        get(ACTIVATIONS, EMPTY, query={"since": "4102444800000"}),
    ),
    fact(
        "lists",
        "upto leaves out what began after it",
        get(ACTIVATIONS, EMPTY, query={"upto": "1000"}),
    ),
    fact(
        "lists",
        "count=true counts instead of listing",
        _made(),
        get(ACTIVATIONS, Exactly({"activations": POSITIVE}), query={"count": "true"}, until=True),
    ),
    fact(
        "lists",
        "limit above 200: 400",
        _bad("The value '201' is not in the range of 0 to 200 for activations", limit="201"),
    ),
    fact("lists", "count and docs exclude each other: 400", _bad(".", count="true", docs="true")),
    fact(
        "lists",
        "the status of a failed activation is in the list",
        create('def main(args):\n    return {"error": "x"}\n', limits={"memory": 128}),
        post(status=502, path=A),
        get(ACTIVATIONS, [{"statusCode": 1}], query={"name": "<a>"}, until=True),
    ),
)
