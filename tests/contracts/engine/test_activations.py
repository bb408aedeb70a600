from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.engine import OTHER_KEY, OTHER_UUID, Client, EngineServer, basic
from tests.fakes.invoker import LINE

ACTIVATIONS = "/api/v1/namespaces/_/activations"


def run(api: Client, name: str, times: int = 1) -> list[str]:
    api.put(name)
    return [api.invoke(name, {"n": n}).headers["x-openwhisk-activation-id"] for n in range(times)]


def listed(api: Client, query: str) -> Any:
    reply = api.call("GET", f"{ACTIVATIONS}?{query}")
    assert reply.status == 200, reply.body
    return reply.json


def test_an_activation_is_read_whole_and_in_parts(api: Client) -> None:
    (activation_id,) = run(api, "talks")
    found = api.call("GET", f"{ACTIVATIONS}/{activation_id}").json
    assert found["logs"] == [LINE]
    assert "statusCode" not in found["response"]
    assert api.call("GET", f"{ACTIVATIONS}/{activation_id}/logs").json == {"logs": [LINE]}
    result = api.call("GET", f"{ACTIVATIONS}/{activation_id}/result").json
    assert result == found["response"]
    assert result["result"] == {"n": 0}


def test_a_list_is_short_and_newest_first(api: Client) -> None:
    ids = run(api, "listed", 5)
    found = listed(api, "name=listed&limit=3")
    assert [item["activationId"] for item in found] == ids[:1:-1]
    assert found[0]["statusCode"] == 0
    assert {"response", "logs"}.isdisjoint(found[0])
    assert [item["activationId"] for item in listed(api, "name=listed&skip=3")] == ids[1::-1]


def test_a_list_has_thirty_entries_by_default(api: Client) -> None:
    run(api, "many", 31)
    assert len(listed(api, "name=many")) == 30
    assert len(listed(api, "name=many&limit=0")) == 31
    assert listed(api, "name=many&count=true") == {"activations": 31}
    assert listed(api, "name=many&count=true&skip=30") == {"activations": 1}


def test_a_list_with_documents_is_complete(api: Client) -> None:
    (activation_id,) = run(api, "talks")
    found = listed(api, "docs=true&limit=1")
    assert found == [api.call("GET", f"{ACTIVATIONS}/{activation_id}").json]
    assert listed(api, "docs=true&name=never-run") == []


def test_failures_have_their_status_code_in_a_list(api: Client) -> None:
    for name, code in (("application-error", 1), ("developer-error", 2), ("whisk-error", 3)):
        run(api, name)
        assert listed(api, f"name={name}")[0]["statusCode"] == code


def test_a_list_is_bounded_by_time(api: Client) -> None:
    run(api, "timed", 3)
    starts = [item["start"] for item in listed(api, "name=timed")]
    assert len(listed(api, f"name=timed&since={starts[-1]}&upto={starts[0]}")) == 3
    assert listed(api, f"name=timed&since={starts[0] + 1}") == []
    assert listed(api, f"name=timed&upto={starts[-1] - 1}") == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("count=true&docs=true", "The parameter 'docs' is not permitted with 'count'."),
        (
            "since=now",
            "The query parameter 'since' was malformed:\n"
            "Parameter is not a valid value for epoch seconds: now",
        ),
        (
            "name=a/b/c",
            "The query parameter 'name' was malformed:\n"
            "Parameter may be a 'simple' name or 'package-name/simple' name: a/b/c",
        ),
        (
            "limit=1000",
            "The query parameter 'limit' was malformed:\n"
            "The value '1000' is not in the range of 0 to 200 for activations.",
        ),
    ],
)
def test_a_wrong_query_is_refused(query: str, text: str, api: Client) -> None:
    reply = api.call("GET", f"{ACTIVATIONS}?{query}")
    assert (reply.status, reply.error) == (400, text)


@pytest.mark.parametrize(
    ("activation_id", "text"),
    [
        ("abc", "Activation id length is 3 but must be 32."),
        ("0" * 33, "Activation id length is 33 but must be 32."),
        ("X" * 32, "The activation id is not valid."),
    ],
)
def test_an_id_that_is_none_is_refused(activation_id: str, text: str, api: Client) -> None:
    for part in ("", "/logs", "/result"):
        reply = api.call("GET", f"{ACTIVATIONS}/{activation_id}{part}")
        assert (reply.status, reply.error) == (400, text)


@pytest.mark.parametrize("part", ["", "/logs", "/result"])
def test_an_unknown_activation_is_not_found(part: str, api: Client) -> None:
    reply = api.call("GET", f"{ACTIVATIONS}/{'0' * 32}{part}")
    assert (reply.status, reply.error) == (404, "The requested resource does not exist.")


def test_activations_of_others_are_not_seen(server: EngineServer, api: Client) -> None:
    (activation_id,) = run(api, "private")
    other = server.client(basic(OTHER_UUID, OTHER_KEY))
    assert other.call("GET", f"{ACTIVATIONS}/{activation_id}").status == 404
    assert other.call("GET", ACTIVATIONS).json == []
    other.close()


def test_large_documents_are_all_there(api: Client) -> None:
    api.put("large")
    for letter in "abc":
        assert api.invoke("large", {"x": letter * 900_000}).status == 200
    found = listed(api, "docs=true&name=large")
    assert [item["response"]["result"]["x"][0] for item in found] == ["c", "b", "a"]
