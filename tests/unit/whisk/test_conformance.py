from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from orrery.errors import ConfigurationError, FunctionError
from orrery.whisk import commands
from orrery.whisk.access import Access
from orrery.whisk.client import WhiskClient
from orrery.whisk.conformance import run
from orrery.whisk.conformance.fact import Step, fact, fill, get
from orrery.whisk.conformance.match import (
    ABSENT,
    EMPTY,
    INTEGER,
    Every,
    Exactly,
    Having,
    difference,
    like,
)
from tests.unit.whisk.engine_in_process import Engine


def test_every_fact_holds_for_the_embedded_engine(engine: Engine) -> None:
    async def go() -> tuple[list[run.Verdict], list[str]]:
        async with WhiskClient(engine.url, engine.auth) as whisk:
            verdicts = await run.check_all(whisk)
            return verdicts, [action["name"] for action in await whisk.list_actions(limit=200)]

    verdicts, left = asyncio.run(go())
    assert not [f"{v.fact.text}: {v.detail}" for v in verdicts if not v.passed]
    assert not [name for name in left if name.startswith(run.PREFIX)]


def test_each_fact_is_there_once_and_all_fit_into_a_minute() -> None:
    texts = [(one.area, one.text) for one in run.FACTS]
    assert len(set(texts)) == len(texts) >= 40
    assert run.invocations_needed(run.FACTS) <= 60


def test_a_throttle_that_is_too_small_is_named(
    small_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [fact("x", "y", Step("POST", "/api/v1/namespaces/_/actions/x", 200))] * 61

    async def go() -> None:
        async with WhiskClient(small_engine.url, small_engine.auth) as whisk:
            await run.check_all(whisk, many)

    with pytest.raises(ConfigurationError, match="60 activations a minute, 61 needed"):
        asyncio.run(go())


def test_a_fact_that_does_not_hold_fails_the_command(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = fact("info", "the host says its name", get("/", {"description": "Somebody"}))
    monkeypatch.setattr(run, "FACTS", (wrong,))
    monkeypatch.setattr(run.check_all, "__defaults__", ((wrong,),))
    access = Access(engine.url, engine.auth)
    out = io.StringIO()
    result = commands.conformance(access, Console(file=out, width=120))
    assert (result["passed"], result["failed"]) == (0, 1)
    assert result["facts"][0]["detail"] == (
        "step 1, GET /: body.description is 'OpenWhisk', 'Somebody' expected"
    )
    assert "body.description is 'OpenWhisk', 'Somebody' expected" in out.getvalue()
    with pytest.raises(FunctionError, match="1 of 1 facts do not hold") as error:
        commands.require_all(access, result)
    assert error.value.exit_code == 6


def test_a_host_that_breaks_off_fails_the_fact_and_not_the_run(host: Callable[..., Any]) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/broken":
            assert request.transport is not None
            request.transport.close()
        if request.path.endswith("/limits"):
            return web.json_response({"invocationsPerMinute": 60, "concurrentInvocations": 30})
        if request.path.endswith("/namespaces"):
            return web.json_response(["guest"])
        return web.json_response({})

    async def go() -> list[run.Verdict]:
        async with host(handle) as url, WhiskClient(url, "a:b") as whisk:
            return await run.check_all(whisk, [fact("x", "y", get("/broken"))], patience_s=0)

    (verdict,) = asyncio.run(go())
    assert not verdict.passed
    assert "does not answer" in verdict.detail


@pytest.mark.parametrize(
    ("pattern", "value", "wrong"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": 1}, {"a": 2}, "body.a is 2, 1 expected"),
        ({"a": 1}, {}, "body.a is missing"),
        ({"a": 1}, {"a": True}, "body.a is True, 1 expected"),
        ({"a": ABSENT}, {"a": 1}, "body.a is 1, no such key expected"),
        (Exactly({"a": 1}), {"a": 1}, ""),
        (Exactly({"a": 1}), {"a": 1, "b": 2}, "body is {'a': 1, 'b': 2}, an object of a expected"),
        ([1, INTEGER], [1, 2], ""),
        ([1], [1, 2], "body is [1, 2], a list of 1 expected"),
        ([{"a": 1}], [{"a": 3}], "body[0].a is 3, 1 expected"),
        (Having((1, 2)), [2, 3, 1], ""),
        (Having((4,)), [2, 3, 1], "body is [2, 3, 1], an item 4 expected"),
        (Every(INTEGER), [1, "x"], "body[1] is 'x', a whole number expected"),
        (Every(INTEGER), [], "body is [], a list with items expected"),
        (EMPTY, [1], "body is [1], an empty list expected"),
        (like("^a"), "abc", ""),
        (like("^a"), "bc", "body is 'bc', a text like /^a/ expected"),
        (like("^a"), 3, "body is 3, a text like /^a/ expected"),
    ],
)
def test_a_pattern_says_where_a_value_differs(pattern: Any, value: Any, wrong: str) -> None:
    assert difference(pattern, value) == wrong


def test_names_are_filled_in_everywhere() -> None:
    step = Step(
        "GET", "/x/<a>", 200, {"k": [Exactly({"n": "<ns>"}), Every("<ns>/<a>")]}, body={"p": "<id>"}
    )
    found = fill(step, {"a": "one", "ns": "guest"})
    assert found.path == "/x/one"
    assert found.match == {"k": [Exactly({"n": "guest"}), Every("guest/one")]}
    assert found.body == {"p": "<id>"}
