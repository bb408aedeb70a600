from __future__ import annotations

import pytest

from tests.fakes.engine import KEY, OTHER_KEY, OTHER_UUID, UUID, Client, EngineServer, basic

PATHS = [
    ("GET", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/_/limits"),
    ("GET", "/api/v1/namespaces/_/actions"),
    ("PUT", "/api/v1/namespaces/_/actions/a"),
    ("POST", "/api/v1/namespaces/_/actions/a"),
    ("GET", "/api/v1/namespaces/_/actions/pkg/a"),
    ("GET", "/api/v1/namespaces/_/activations"),
    ("GET", "/api/v1/namespaces/_/activations/" + "0" * 32),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_resource_needs_credentials(method: str, path: str, api: Client) -> None:
    api.authorization = None
    reply = api.call(method, path)
    assert reply.status == 401
    assert reply.error == (
        "The resource requires authentication, which was not supplied with the request"
    )
    assert reply.headers["www-authenticate"] == 'Basic realm="OpenWhisk secure realm"'


@pytest.mark.parametrize(("uuid", "key"), [(UUID, OTHER_KEY), (OTHER_UUID, KEY), ("x", "y")])
def test_wrong_credentials_are_invalid(uuid: str, key: str, api: Client) -> None:
    api.authorization = basic(uuid, key)
    reply = api.call("GET", "/api/v1/namespaces")
    assert (reply.status, reply.error) == (401, "The supplied authentication is invalid")


def test_a_user_has_one_namespace(server: EngineServer, api: Client) -> None:
    assert api.call("GET", "/api/v1/namespaces").json == ["guest"]
    other = server.client(basic(OTHER_UUID, OTHER_KEY))
    assert other.call("GET", "/api/v1/namespaces/").json == ["other"]
    other.close()


def test_limits_are_those_of_the_user(server: EngineServer, api: Client) -> None:
    found = api.call("GET", "/api/v1/namespaces/guest/limits").json
    assert (found["invocationsPerMinute"], found["concurrentInvocations"]) == (100_000, 200)
    assert (found["minActionMemory"], found["maxActionMemory"]) == (128, 512)
    other = server.client(basic(OTHER_UUID, OTHER_KEY))
    found = other.call("GET", "/api/v1/namespaces/_/limits").json
    assert (found["invocationsPerMinute"], found["concurrentInvocations"]) == (60, 30)
    other.close()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/v1/namespaces/other/actions/a", "other/a"),
        ("/api/v1/namespaces/other/actions", "other"),
        ("/api/v1/namespaces/other/actions/pkg/a", "other/pkg/a"),
        ("/api/v1/namespaces/nobody/limits", "nobody"),
        (f"/api/v1/namespaces/other/activations/{'0' * 32}", "other/" + "0" * 32),
    ],
)
def test_another_namespace_is_forbidden(path: str, named: str, api: Client) -> None:
    reply = api.call("GET", path)
    assert reply.status == 403
    assert reply.error == f"The supplied authentication is not authorized to access '{named}'."


def test_a_namespace_that_is_no_name_is_told(api: Client) -> None:
    reply = api.call("GET", "/api/v1/namespaces/a$/actions")
    assert (reply.status, reply.error) == (400, "The namespace contains illegal characters.")
