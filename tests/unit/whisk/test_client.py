from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from orrery.errors import ConfigurationError, FunctionError, OrreryError
from orrery.whisk import answers, client
from orrery.whisk.answers import NotFoundError, ThrottledError, UnreachableError
from orrery.whisk.client import WhiskClient
from tests.unit.whisk.engine_in_process import Engine

CODE = "def main(args):\n    print('hello')\n    return {'n': args.get('n', 0) + 1}\n"
Host = Callable[..., Any]


def answer(status: int, body: Any, **headers: str) -> Callable[[web.Request], Any]:
    async def handle(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return handle


def ask(host: Host, handler: Any, method: str, *words: Any, **options: Any) -> Any:
    async def go() -> Any:
        async with host(handler) as url, WhiskClient(url, "a:b") as whisk:
            return await getattr(whisk, method)(*words, **options)

    return asyncio.run(go())


def refusal(host: Host, status: int, text: str) -> OrreryError:
    with pytest.raises(OrreryError) as error:
        ask(host, answer(status, {"error": text, "code": "x"}), "invoke", "hello")
    return error.value


def test_an_action_lives_from_put_to_delete(engine: Engine) -> None:
    async def go() -> None:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            made = await whisk.put_action(
                "life",
                kind="python:3.11",
                code=CODE,
                limits={"memory": 128},
                parameters={"n": 1},
                annotations={"for": "tests"},
            )
            assert made["parameters"] == [{"key": "n", "value": 1}]
            assert (await whisk.get_action("life"))["exec"]["code"] == CODE
            assert "code" not in (await whisk.get_action("life", code=False))["exec"]
            again = await whisk.put_action("life", limits={"memory": 256}, overwrite=True)
            assert again["version"] == "0.0.2"
            assert "life" in [item["name"] for item in await whisk.list_actions(limit=200)]
            await whisk.delete_action("life")
            with pytest.raises(NotFoundError) as error:
                await whisk.get_action("life")
            assert "/actions/life does not exist (404" in str(error.value)

    asyncio.run(go())


def test_an_action_is_invoked_in_every_way(engine: Engine) -> None:
    async def go() -> None:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            await whisk.put_action("ways", kind="python:3.11", code=CODE)
            full = await whisk.invoke("ways", {"n": 1})
            assert (full.status_code, full.ok) == (200, True)
            assert full.body["response"]["result"] == {"n": 2}
            bare = await whisk.invoke("/guest/ways", {"n": 2}, result=True)
            assert bare.body == {"n": 3}
            later = await whisk.invoke("ways", blocking=False)
            assert (later.status_code, later.ok) == (202, False)
            assert later.body == {"activationId": later.activation_id}
            assert full.activation_id is not None
            assert (await whisk.activation(full.activation_id))["name"] == "ways"
            assert (await whisk.activation_logs(full.activation_id))[0].endswith("hello")
            found = await whisk.activations(name="ways", limit=5, since=1, docs=True)
            assert "response" in found[0]
            await whisk.delete_action("ways")

    asyncio.run(go())


def test_the_error_of_an_action_is_a_result(engine: Engine) -> None:
    async def go() -> None:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            await whisk.put_action("sad", kind="python:3.11", code="def main(args):\n    return 3")
            found = await whisk.invoke("sad", result=True)
            assert found.status_code == 502
            assert found.activation_id is not None
            await whisk.delete_action("sad")

    asyncio.run(go())


def test_info_and_limits_are_read(engine: Engine) -> None:
    async def go() -> None:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            assert (await whisk.info())["description"] == "OpenWhisk"
            assert (await whisk.limits())["invocationsPerMinute"] == 100_000

    asyncio.run(go())


def test_wrong_credentials_are_a_matter_of_configuration(engine: Engine) -> None:
    async def go() -> None:
        async with WhiskClient(engine.url, engine.auth + "x") as whisk:
            await whisk.limits()

    with pytest.raises(ConfigurationError) as error:
        asyncio.run(go())
    assert str(error.value).endswith("Give those of a user it knows with --auth uuid:key.")
    assert "(401 The supplied authentication is invalid" in str(error.value)


def test_a_host_that_does_not_answer_says_what_to_do(free_port: int) -> None:
    async def go() -> None:
        async with WhiskClient(f"http://127.0.0.1:{free_port}", "a:b") as whisk:
            await whisk.info()

    with pytest.raises(UnreachableError) as error:
        asyncio.run(go())
    assert str(error.value).startswith(f"http://127.0.0.1:{free_port} does not answer (")
    assert "See with ./lab status whether the functions engine runs" in str(error.value)


def test_a_throttle_is_named_with_its_limit(host: Host) -> None:
    found = refusal(host, 429, "Too many requests in the last minute (count: 61, allowed: 60).")
    assert isinstance(found, ThrottledError)
    assert "61 activations in this minute, 60 allowed. Wait for the next minute" in str(found)


def test_too_many_in_flight_are_named_with_the_limit(host: Host) -> None:
    found = refusal(host, 429, "Too many concurrent requests in flight (count: 30, allowed: 30).")
    assert "30 activations in flight, 30 allowed. Use fewer connections." in str(found)


def test_an_internal_error_without_an_activation_is_raised(host: Host) -> None:
    found = refusal(host, 500, "There was an internal server error.")
    assert isinstance(found, FunctionError)
    assert str(found).endswith("failed: 500 There was an internal server error.")


def test_an_internal_error_of_an_activation_is_a_result(host: Host) -> None:
    handler = answer(500, {"activationId": "0" * 32, "response": {}})
    found = ask(host, handler, "invoke", "hello")
    assert (found.status_code, found.activation_id) == (500, "0" * 32)


def test_a_body_that_is_no_json_shows_its_text(host: Host) -> None:
    with pytest.raises(FunctionError, match="failed: 503 the proxy is tired"):
        ask(host, answer(503, "the proxy is tired"), "get_action", "x")


def test_a_host_that_is_no_openwhisk_is_told_apart(host: Host) -> None:
    with pytest.raises(FunctionError, match="answers, but not like OpenWhisk"):
        ask(host, answer(200, [1]), "info")
    with pytest.raises(FunctionError, match="a list of JSON objects was expected"):
        ask(host, answer(200, {"a": 1}), "list_actions")


def test_a_redirect_is_not_followed_with_the_credentials(host: Host) -> None:
    with pytest.raises(FunctionError, match="failed: 302"):
        ask(host, answer(302, "", Location="http://127.0.0.1:1/"), "info")


def test_an_answer_above_the_bound_is_dropped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_BODY", 1000)
    with pytest.raises(FunctionError, match="an answer above 1000 bytes was dropped"):
        ask(host, answer(200, "x" * 1001), "info")


def test_an_answer_that_does_not_come_ends_the_wait(host: Host) -> None:
    async def go() -> None:
        silent = asyncio.Event()

        async def wait(_: web.Request) -> web.Response:
            await silent.wait()
            return web.Response()

        async with host(wait) as url, WhiskClient(url, "a:b", timeout_s=0.1) as whisk:
            try:
                await whisk.info()
            finally:
                silent.set()

    with pytest.raises(FunctionError, match=r"GET / was not answered within 0\.1 s"):
        asyncio.run(go())


def test_names_are_quoted_and_namespaces_kept() -> None:
    whisk = WhiskClient("http://127.0.0.1:3233", "a:b")
    assert whisk.action_path("a b") == "/api/v1/namespaces/_/actions/a%20b"
    assert whisk.action_path("pkg/x") == "/api/v1/namespaces/_/actions/pkg/x"
    assert whisk.action_path("/me@here/pkg/x") == "/api/v1/namespaces/me%40here/actions/pkg/x"
    assert "%3F" in whisk.action_path("a?blocking=true")


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("127.0.0.1:3233", "http://127.0.0.1:3233"),
        ("localhost:3233/", "http://localhost:3233"),
        ("whisk.example.org", "https://whisk.example.org"),
        ("http://10.0.0.1:3233", "http://10.0.0.1:3233"),
    ],
)
def test_a_host_without_scheme_is_https_unless_it_is_loopback(given: str, base: str) -> None:
    assert client.base_url(given) == base


@pytest.mark.parametrize("given", ["", "ftp://x", "http://u:p@x", "http://x/api", "http://x:y"])
def test_what_is_no_api_host_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        client.base_url(given)
    assert str(error.value).startswith(f"'{given}' is no API host.")


def test_certificates_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.pem: cannot be read as certificates"):
        WhiskClient("https://x.example.org", "a:b", ca_file=tmp_path / "none.pem")


@pytest.mark.parametrize("auth", ["", "abc", ":x", "x:", "a:b\n", "a:\u00e9"])
def test_credentials_of_another_form_are_refused(auth: str) -> None:
    with pytest.raises(ConfigurationError, match="credentials have the form uuid:key"):
        WhiskClient("http://127.0.0.1", auth)


def test_a_client_that_was_not_opened_says_so() -> None:
    with pytest.raises(FunctionError, match="the client is used outside of `async with`"):
        asyncio.run(WhiskClient("http://127.0.0.1", "a:b").info())


def test_init_parameters_are_passed_as_they_are() -> None:
    listed = [{"key": "SECRET", "value": "x", "init": True}]
    assert client.key_values(listed) == listed
    assert client.key_values({"a": 1}) == [{"key": "a", "value": 1}]


def test_an_empty_body_decodes_to_nothing() -> None:
    assert answers.decode(b"") is None
    assert answers.decode(b"{}") == {}
    assert answers.decode(b"pong") == "pong"
