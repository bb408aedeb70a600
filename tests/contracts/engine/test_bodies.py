from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.fakes.engine import Client, EngineServer, Reply

MEGABYTE = 1024 * 1024
INVOKE = "/api/v1/namespaces/_/actions/echo?blocking=true&result=true"


@pytest.fixture(autouse=True)
def echo(api: Client) -> None:
    api.put("echo")


def chunked(api: Client, path: str, chunks: Iterator[bytes], method: str = "POST") -> Reply:
    """Send a body without saying how long it is."""
    headers = {"Authorization": str(api.authorization), "Content-Type": "application/json"}
    api._connection.request(method, path, chunks, headers, encode_chunked=True)
    return api.read()


def test_parameters_of_five_megabytes_are_too_large(api: Client) -> None:
    body = b'{"a":"' + b"x" * (5 * MEGABYTE) + b'"}'
    reply = api.invoke("echo", body)
    assert reply.status == 413
    assert reply.error == f"Request larger than allowed: {len(body)} > {MEGABYTE} bytes."
    assert api.invoke("echo", {"a": 1}).status == 200


def test_a_payload_of_just_a_megabyte_is_taken(api: Client) -> None:
    body = b'{"a":"' + b"x" * (MEGABYTE - 8) + b'"}'
    reply = api.invoke("echo", body, "blocking=true&result=true")
    assert (reply.status, reply.body) == (200, body)
    assert api.invoke("echo", body + b" ").status == 413


def test_a_body_of_unknown_length_is_cut_off(api: Client) -> None:
    reply = chunked(api, INVOKE, (b"x" * 65536 for _ in range(80)))
    assert reply.status == 413
    assert reply.error.startswith("Request larger than allowed: 1")
    assert reply.error.endswith(f" > {MEGABYTE} bytes.")


def test_a_small_body_of_unknown_length_is_taken(api: Client) -> None:
    assert chunked(api, INVOKE, iter([b'{"a"', b":1}"])).json == {"a": 1}


def test_code_over_its_limit_is_refused_by_its_length(server: EngineServer, api: Client) -> None:
    size = 51 * MEGABYTE
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        lines = [
            "PUT /api/v1/namespaces/_/actions/big HTTP/1.1",
            "Host: x",
            f"Authorization: {api.authorization}",
            f"Content-Length: {size}",
            "",
            "",
        ]
        connection.sendall("\r\n".join(lines).encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        text = response.read().decode()
        response.close()
    assert response.status == 413
    assert f"Request larger than allowed: {size} > {50 * MEGABYTE} bytes." in text


def test_parameters_of_an_action_have_a_limit(api: Client) -> None:
    reply = api.put("fat", parameters=[{"key": "a", "value": "x" * MEGABYTE}])
    assert reply.status == 413
    assert reply.error == f"parameters larger than allowed: {MEGABYTE + 3} > {MEGABYTE} bytes."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "Expecting property name enclosed in double quotes"),
        (b"[1]", "Object expected"),
        (b"1", "Object expected"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1e400}', "a number is too large"),
        (b"\xff\xfe", "the body is not UTF-8 (byte 0)"),
        (b'{"a":' * 50_000, "the JSON is nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_malformed(body: bytes, reason: str, api: Client) -> None:
    reply = api.invoke("echo", body)
    assert reply.status == 400
    assert reply.error.startswith(f"The request content was malformed:\n{reason}")


def test_an_action_nested_too_deeply_is_malformed(api: Client) -> None:
    body = b'{"parameters":' + b"[" * 200_000
    reply = api.call("PUT", "/api/v1/namespaces/_/actions/deep", body)
    assert reply.status == 400
    assert reply.error == "The request content was malformed:\nthe JSON is nested too deeply"


def test_another_media_type_is_not_supported(api: Client) -> None:
    form = "application/x-www-form-urlencoded"
    reply = api.call("POST", INVOKE, b"a=1", headers={"Content-Type": form})
    assert reply.status == 415
    assert reply.error == (
        f"The request's Content-Type [{form}] is not supported. Expected:\napplication/json"
    )


def test_a_client_that_sends_less_than_it_says_harms_nobody(
    server: EngineServer, api: Client
) -> None:
    before = len(server.invoker.jobs)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        lines = [
            f"POST {INVOKE} HTTP/1.1",
            "Host: x",
            f"Authorization: {api.authorization}",
            "Content-Length: 1000",
            "",
            '{"a":',
        ]
        connection.sendall("\r\n".join(lines).encode())
    assert api.invoke("echo").status == 200
    assert len(server.invoker.jobs) == before + 1
