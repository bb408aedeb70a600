from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from orrery.engine import messages
from tests.fakes.engine import KEY, UUID, Client, EngineServer, basic, eventually
from tests.fakes.invoker import LINE

HEADER = "x-openwhisk-activation-id"
ACTIVATIONS = "/api/v1/namespaces/_/activations"


def stored(api: Client, activation_id: str) -> Any:
    """The record of an activation once it is there."""

    def look() -> Any:
        reply = api.call("GET", f"{ACTIVATIONS}/{activation_id}")
        return reply.json if reply.status == 200 else None

    return eventually(look)


def test_a_blocking_invocation_answers_with_its_record(api: Client) -> None:
    api.put("mixed", parameters=[{"key": "a", "value": 1}, {"key": "b", "value": 2}])
    reply = api.invoke("mixed", {"b": 3})
    found = reply.json
    assert reply.status == 200
    assert reply.headers[HEADER] == found["activationId"]
    assert found["response"] == {
        "status": "success",
        "success": True,
        "result": {"a": 1, "b": 3},
        "size": 13,
    }
    assert (found["namespace"], found["name"], found["subject"]) == ("guest", "mixed", "guest")
    assert (found["version"], found["publish"], found["logs"]) == ("0.0.1", False, [])
    assert found["duration"] == found["end"] - found["start"] == 3
    annotations = {item["key"]: item["value"] for item in found["annotations"]}
    assert annotations.pop("waitTime") >= 0
    assert annotations == {
        "path": "guest/mixed",
        "kind": "python:3.11",
        "limits": {"concurrency": 1, "logs": 10, "memory": 256, "timeout": 60000},
        "timeout": False,
    }


def test_the_result_alone_is_answered_on_request(api: Client) -> None:
    api.put("echo")
    reply = api.invoke("echo", {"é": [1.5, None]}, "blocking=true&result=true")
    assert (reply.status, reply.json) == (200, {"é": [1.5, None]})
    assert HEADER in reply.headers


def test_a_cold_start_and_a_timeout_are_annotated(api: Client) -> None:
    for name, key, value in (("cold", "initTime", 2), ("slow", "timeout", True)):
        api.put(name)
        assert {"key": key, "value": value} in api.invoke(name).json["annotations"]


@pytest.mark.parametrize("body", [None, b"", b"  ", b"{}"])
def test_no_payload_is_an_empty_one(body: bytes | None, api: Client) -> None:
    api.put("echo")
    assert api.invoke("echo", body, "blocking=true&result=true").json == {}


@pytest.mark.parametrize(
    ("name", "status", "text", "result"),
    [
        ("application-error", 502, "application error", {"error": "own fault"}),
        ("developer-error", 502, "action developer error", {"error": "it crashed"}),
        ("whisk-error", 500, "whisk internal error", {"error": "no container"}),
        ("raises", 500, "whisk internal error", {"error": messages.ENGINE_FAILED}),
        ("not-a-number", 502, "action developer error", {"error": messages.INVALID_RESULT}),
    ],
)
def test_a_failure_decides_the_status(
    name: str, status: int, text: str, result: Any, api: Client
) -> None:
    api.put(name)
    reply = api.invoke(name)
    assert reply.status == status
    assert reply.json["response"]["status"] == text
    assert reply.json["response"]["success"] is False
    assert reply.json["response"]["result"] == result
    bare = api.invoke(name, None, "blocking=true&result=true")
    assert (bare.status, bare.json) == (status, result)


def test_an_array_is_answered_bare(api: Client) -> None:
    api.put("array")
    assert api.invoke("array").json == [1, 2]


def test_a_non_blocking_invocation_answers_at_once(server: EngineServer, api: Client) -> None:
    api.put("held-1")
    reply = api.invoke("held-1", None, "")
    assert (reply.status, list(reply.json)) == (202, ["activationId"])
    activation_id = reply.json["activationId"]
    assert reply.headers[HEADER] == activation_id
    missing = api.call("GET", f"{ACTIVATIONS}/{activation_id}")
    assert (missing.status, missing.error) == (404, "The requested resource does not exist.")
    eventually(lambda: "guest/held-1" in [job.action.path for job in server.invoker.jobs])
    server.call(server.invoker.release)
    assert stored(api, activation_id)["response"]["success"] is True


def test_waiting_ends_but_the_activation_goes_on(server: EngineServer, api: Client) -> None:
    api.put("held-2")
    reply = api.invoke("held-2", None, "blocking=true&timeout=50")
    assert (reply.status, list(reply.json)) == (202, ["activationId"])
    server.call(server.invoker.release)
    assert stored(api, reply.json["activationId"])["name"] == "held-2"


def test_a_client_that_hangs_up_cancels_nothing(server: EngineServer, api: Client) -> None:
    api.put("held-3")
    before = len(server.invoker.jobs)
    path = "/api/v1/namespaces/_/actions/held-3?blocking=true"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {api.authorization}", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        eventually(lambda: len(server.invoker.jobs) > before)
    server.call(server.invoker.release)
    assert stored(api, server.invoker.jobs[-1].activation_id)["response"]["success"] is True


@pytest.mark.parametrize("timeout", ["0", "60001", "x", "-5", "1.5"])
def test_a_wrong_waiting_time_is_refused(timeout: str, api: Client) -> None:
    api.put("echo")
    reply = api.invoke("echo", None, f"blocking=true&timeout={timeout}")
    assert reply.status == 400
    assert reply.error == (
        "The query parameter 'timeout' was malformed:\n"
        "Timeout must be number of milliseconds up to 60000."
    )


def test_a_missing_action_is_not_found(api: Client) -> None:
    reply = api.invoke("nothing-here")
    assert (reply.status, reply.error) == (404, "The requested resource does not exist.")


def test_a_final_parameter_cannot_be_set(api: Client) -> None:
    api.put(
        "final",
        parameters=[{"key": "a", "value": 1}],
        annotations=[{"key": "final", "value": True}],
    )
    reply = api.invoke("final", {"a": 2})
    assert reply.status == 400
    assert reply.error == messages.PARAMETERS_NOT_ALLOWED
    assert api.invoke("final", {"b": 2}).status == 200


def test_the_invoker_gets_all_it_needs(server: EngineServer, api: Client) -> None:
    api.put(
        "full",
        parameters=[{"key": "E", "value": 1, "init": True}],
        limits={"timeout": 5000, "memory": 128, "logs": 1},
        annotations=[{"key": "provide-api-key", "value": True}],
    )
    path = "/api/v1/namespaces/_/actions/full?blocking=true"
    api.call("POST", path, {"x": 1}, headers={"X-Request-ID": "tid-1"})
    job = server.invoker.jobs[-1]
    assert (job.transaction_id, job.namespace, job.arguments) == ("tid-1", "guest", {"x": 1})
    assert job.api_key == f"{UUID}:{KEY}"
    action = job.action
    assert (action.path, action.version, action.init_env) == ("guest/full", "0.0.1", {"E": "1"})
    assert (action.timeout_ms, action.memory_mb, action.logs_mb) == (5000, 128, 1)
    first = action.revision
    api.put("full")
    api.invoke("full")
    assert server.invoker.jobs[-1].action.revision != first


def test_an_action_gets_no_key_unless_it_asks(server: EngineServer, api: Client) -> None:
    api.put("keyless")
    api.invoke("keyless")
    assert server.invoker.jobs[-1].api_key is None


def test_a_log_that_comes_late_is_waited_for(server: EngineServer, api: Client) -> None:
    api.put("late-1")
    reply = api.invoke("late-1")
    activation_id = reply.json["activationId"]
    assert reply.json["logs"] == []
    result = api.call("GET", f"{ACTIVATIONS}/{activation_id}/result").json
    assert result["success"] is True
    waiting = server.client()
    waiting._connection.request(
        "GET", f"{ACTIVATIONS}/{activation_id}/logs", headers={"Authorization": basic()}
    )
    server.call(server.invoker.release)
    assert json.loads(waiting.read().body) == {"logs": [LINE]}
    waiting.close()
