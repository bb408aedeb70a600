from __future__ import annotations

import pytest

from tests.fakes.engine import Client


@pytest.fixture(autouse=True)
def without_credentials(api: Client) -> None:
    api.authorization = None


def test_the_root_tells_limits_and_runtimes(api: Client) -> None:
    found = api.call("GET", "/").json
    assert found["description"] == "OpenWhisk"
    assert found["api_paths"] == ["/api/v1"]
    assert found["limits"]["actions_per_minute"] == 60
    assert found["limits"]["concurrent_actions"] == 30
    assert found["limits"]["max_action_memory"] == 512 * 1024 * 1024
    assert found["limits"]["max_action_duration"] == 300_000
    kinds = {item["kind"]: item for item in found["runtimes"]["python"]}
    assert sorted(kinds) == ["python:3", "python:3.11"]
    assert kinds["python:3.11"]["default"] is True
    assert kinds["python:3.11"]["image"] == "t-engine/python"


def test_the_engine_answers_ping_with_pong(api: Client) -> None:
    assert api.call("GET", "/ping").body == b"pong"


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/"])
def test_the_api_tells_its_version(path: str, api: Client) -> None:
    found = api.call("GET", path).json
    assert (found["api_version"], found["api_version_path"]) == ("1.0.0", "v1")
    assert found["swagger_paths"]["api-docs"] == "/api-docs"


def test_the_api_docs_name_what_exists(api: Client) -> None:
    found = api.call("GET", "/api/v1/api-docs").json
    assert found["swagger"] == "2.0"
    assert sorted(found["paths"]["/namespaces/{namespace}/actions/{actionName}"]) == [
        "delete",
        "get",
        "post",
        "put",
    ]


def test_metrics_tell_of_pool_and_memory(api: Client) -> None:
    lines = dict(line.split(" ") for line in api.call("GET", "/metrics").body.decode().splitlines())
    assert lines["orrery_containers_warm"] == "2"
    assert int(lines["process_resident_memory_bytes"]) > 1_000_000


@pytest.mark.parametrize("path", ["/", "/api/v1/namespaces/_/actions/a", "/nowhere"])
def test_options_are_answered_for_browsers(path: str, api: Client) -> None:
    reply = api.call("OPTIONS", path)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-methods"] == "GET, DELETE, POST, PUT, HEAD"
    assert reply.headers["access-control-allow-headers"] == (
        "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"
    )


def test_a_transaction_id_of_the_client_comes_back(api: Client) -> None:
    reply = api.call("GET", "/ping", headers={"X-Request-ID": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"


def test_a_reserved_transaction_id_is_replaced(api: Client) -> None:
    reply = api.call("GET", "/nowhere", headers={"X-Request-ID": "sid_1"})
    assert len(reply.headers["x-request-id"]) == 32
    assert reply.error == "The requested resource could not be found."


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v2", "/api/v1/namespaces/_/things", "/api/v1/namespaces/_"]
)
def test_an_unknown_path_is_not_found(path: str, api: Client) -> None:
    reply = api.call("GET", path)
    assert (reply.status, reply.error) == (404, "The requested resource could not be found.")
    assert reply.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path", "methods"),
    [
        ("PUT", "/api/v1/namespaces/_/actions", "GET"),
        ("POST", "/api/v1/namespaces", "GET"),
        ("PATCH", "/api/v1/namespaces/_/actions/a", "DELETE, GET, POST, PUT"),
        ("DELETE", "/api/v1/namespaces/_/activations/" + "0" * 32, "GET"),
    ],
)
def test_a_wrong_method_names_the_right_ones(
    method: str, path: str, methods: str, api: Client
) -> None:
    reply = api.call(method, path)
    assert reply.status == 405
    assert reply.error == f"HTTP method not allowed, supported methods: {methods}"
    assert reply.headers["allow"] == methods


def test_head_is_get_without_a_body(api: Client) -> None:
    reply = api.call("HEAD", "/ping")
    assert (reply.status, reply.body) == (200, b"")
