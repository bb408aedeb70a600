"""What is said to a container, and what its answers mean."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from orrery.engine import protocol
from orrery.engine.invoker import Status
from orrery.engine.protocol import MAX_RESPONSE_BYTES, Answer, interpret_init, interpret_run
from tests.unit.engine_pool.fake_workers import job

INVALID = "The action did not produce a valid JSON or JSON Array response: "


def answer(body: Any, status: int = 200) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, data, len(data))


def test_the_init_message_is_openwhisks() -> None:
    given = dataclasses.replace(job("a1"), api_key="u:k")
    given = dataclasses.replace(
        given, action=dataclasses.replace(given.action, init_env={"MODE": "fast"})
    )
    value = json.loads(protocol.init_message(given))["value"]
    environment = value.pop("env")
    assert value == {
        "name": "hello",
        "main": "main",
        "binary": False,
        "code": "def main(args): return {}",
    }
    assert int(environment.pop("__OW_DEADLINE")) > given.accepted_ms
    assert environment == {
        "MODE": "fast",
        "__OW_NAMESPACE": "guest",
        "__OW_ACTION_NAME": "/guest/hello",
        "__OW_ACTION_VERSION": "0.0.1",
        "__OW_ACTIVATION_ID": "a1",
        "__OW_TRANSACTION_ID": "tid",
        "__OW_API_KEY": "u:k",
    }


def test_an_image_without_code_is_initialised_without_the_key() -> None:
    assert "code" not in json.loads(protocol.init_message(job(code=None)))["value"]


def test_the_run_message_is_openwhisks() -> None:
    message = json.loads(protocol.run_message(job("a1")))
    assert int(message.pop("deadline")) > 0
    assert message == {
        "value": {"x": 1},
        "namespace": "guest",
        "action_name": "/guest/hello",
        "action_version": "0.0.1",
        "activation_id": "a1",
        "transaction_id": "tid",
    }


@pytest.mark.parametrize("body", [{}, {"a": 1}, [], [1, 2]])
def test_objects_and_arrays_are_success(body: Any) -> None:
    verdict = interpret_run(answer(body))
    assert (verdict.status, verdict.result) == (Status.SUCCESS, body)


def test_an_object_with_error_is_an_application_error_of_that_value_alone() -> None:
    verdict = interpret_run(answer({"error": {"code": 7}, "more": 1}))
    assert verdict.status is Status.APPLICATION_ERROR
    assert verdict.result == {"error": {"code": 7}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (answer(3), INVALID + "3"),
        (answer(b"not json"), INVALID + "not json"),
        (answer(b'{"a": NaN}'), INVALID + '{"a": NaN}'),
        (answer(b"[" * 100_000), INVALID + "[" * 100_000),
        (answer(b"\xff"), INVALID + "\ufffd"),
        (answer({"error": "command exited"}, 400), "command exited"),
        (answer(b"oops", 500), INVALID + "oops"),
    ],
)
def test_other_answers_to_run_are_developer_errors(given: Answer, message: str) -> None:
    verdict = interpret_run(given)
    assert verdict.status is Status.DEVELOPER_ERROR
    assert verdict.result == {"error": message}


def test_a_response_over_the_limit_is_an_application_error_with_its_beginning() -> None:
    verdict = interpret_run(Answer(200, b"y" * MAX_RESPONSE_BYTES, 2_000_000))
    assert verdict.status is Status.APPLICATION_ERROR
    assert verdict.result["error"] == (
        "The action produced a response that exceeded the allowed length: "
        "2000000 > 1048576 bytes. The truncated response was: " + "y" * MAX_RESPONSE_BYTES
    )


def test_answers_to_init() -> None:
    assert interpret_init(answer({"ok": True})) is None
    refused = interpret_init(answer({"error": "no code"}, 502))
    assert refused is not None
    assert refused.result == {"error": "no code"}
    broken = interpret_init(answer(b"oops", 500))
    assert broken is not None
    assert broken.result == {"error": "The action failed during initialization: oops"}


def test_the_texts_of_a_time_limit() -> None:
    during = protocol.timed_out(100, during_init=True)
    assert during.timed_out
    assert during.result == {
        "error": "The action exceeded its time limits of 100 milliseconds during initialization."
    }
    after = protocol.timed_out(100, during_init=False)
    assert after.result == {"error": "The action exceeded its time limits of 100 milliseconds."}
