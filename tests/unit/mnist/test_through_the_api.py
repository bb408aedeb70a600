"""Evaluation, latency and verification against an engine that is made up."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orrery.errors import FunctionError, UsageError, VerifyError
from orrery.mnist import api, images, latency, plot, verify
from orrery.mnist.data import Examples
from orrery.mnist.evaluate import EvaluateScenario, Evaluation, evaluate
from orrery.whisk.client import InvokeResult

MEASUREMENT = {"download_ms": 1.0, "decode_ms": 1.0, "inference_ms": 1.0}


@dataclass
class FakeEngine:
    """Reads a digit from a table of pictures, or from the name in a URL."""

    known: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, int] = field(default_factory=dict)
    actions: list[str] = field(default_factory=list)
    calls: int = 0
    most: int = 0
    body: Any = None

    async def invoke(self, name: str, params: Mapping[str, Any], **_: Any) -> InvokeResult:
        self.calls += 1
        self.most = max(self.most, len(params.get("images", [])))
        await asyncio.sleep(0)
        return InvokeResult(200, "id", self.body or self._answer(params))

    def _answer(self, params: Mapping[str, Any]) -> dict[str, Any]:
        res: Any
        if "url" in params:
            name = params["url"].partition("/mnist/")[2]
            res = self.wrong.get(name, int(name[-5]))
        else:
            res = [self.known[picture] for picture in params["images"]]
        return {"code": 200, "res": res, "probabilities": [], "measurement": MEASUREMENT}

    async def get_action(self, name: str) -> dict[str, Any]:
        return {"exec": {"kind": "blackbox", "image": "x", "code": "y"}, "limits": {"timeout": 1}}

    async def put_action(self, name: str, **options: Any) -> dict[str, Any]:
        assert options["image"] == "x"
        self.actions.append(name)
        return {}

    async def delete_action(self, name: str) -> dict[str, Any]:
        self.actions.remove(name)
        return {}


def run_evaluation(engine: Any, examples: Examples, **options: Any) -> tuple[Evaluation, list[int]]:
    done: list[int] = []
    scenario = EvaluateScenario(**{"count": 100, "batch": 30, **options})
    return asyncio.run(evaluate(engine, examples, scenario, done.append)), done


def known(examples: Examples, inverted: bool) -> dict[str, int]:
    return {
        api.encode(images.picture(examples, index, inverted=inverted)): examples.labels.data[index]
        for index in range(100)
    }


@pytest.mark.parametrize("inverted", [False, True])
def test_every_picture_is_sent_once_and_counted(examples: Examples, inverted: bool) -> None:
    engine = FakeEngine(known=known(examples, inverted))
    found, done = run_evaluation(engine, examples, inverted=inverted, connections=3)
    assert (found.count, found.right, found.accuracy) == (100, 100, 1.0)
    assert (engine.calls, engine.most, sorted(done)) == (4, 30, [10, 30, 30, 30])


def test_mistakes_are_in_the_confusion_matrix_and_in_its_picture(
    examples: Examples, tmp_path: Path
) -> None:
    table = known(examples, inverted=False)
    table[api.encode(images.picture(examples, 0))] = 9
    found, _ = run_evaluation(FakeEngine(known=table), examples)
    assert found.confusion[7][9] == 1
    assert found.accuracy == 0.99
    assert found.recall(7) == pytest.approx(1 - 1 / sum(found.confusion[7]))
    plot.confusion(found, "99 of 100", tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(images.PNG_SIGNATURE)
    metrics = {row.metric: row.median for row in found.rows(EvaluateScenario())}
    assert metrics["accuracy"] == 0.99


def test_a_refused_batch_ends_the_evaluation_with_its_reason(examples: Examples) -> None:
    refused = {"code": 413, "res": None, "message": "images has 9999 entries"}
    with pytest.raises(FunctionError, match="the picture was refused .413.: images has 9999"):
        run_evaluation(FakeEngine(body=refused), examples)


def test_a_failed_activation_is_told_with_the_engines_words(examples: Examples) -> None:
    failed = {"error": "The action exceeded its time limits"}
    with pytest.raises(FunctionError, match="did not answer as it should: The action exceeded"):
        run_evaluation(FakeEngine(body=failed), examples)


def test_twenty_right_digits_are_verified() -> None:
    engine: Any = FakeEngine()
    found = asyncio.run(verify.verify(engine, "http://files/"))
    assert (found["right"], found["count"], engine.calls) == (20, 20, 20)
    assert found["summary"] == "10 of 10 digits right, 10 of 10 inverted"


def test_a_wrong_digit_is_named_by_verify() -> None:
    engine: Any = FakeEngine(wrong={"digits-inverted/5.png": 3})
    with pytest.raises(VerifyError, match="1 of 20 digits are wrong: digits-inverted/5.png was re"):
        asyncio.run(verify.verify(engine, "http://files"))


def test_verify_without_credentials_exits_20(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--apihost", "http://127.0.0.1:9", "--files-url", "http://127.0.0.1:9"]
    assert verify.main([*options, "--credentials", str(tmp_path / "none")]) == 20
    assert "there are no credentials. Run ./lab up." in capsys.readouterr().err
    (tmp_path / "key").write_text("a:b", encoding="utf-8")
    assert verify.main([*options, "--credentials", str(tmp_path / "key")]) == 20
    assert "http://127.0.0.1:9/mnist/digits/0.png was not classified" in capsys.readouterr().err


def test_latency_uses_a_new_action_for_every_cold_call_and_removes_it() -> None:
    engine: Any = FakeEngine()
    scenario = latency.LatencyScenario(calls=4, trials=2, warmup=1)
    url = "http://files/mnist/digits/7.png"
    found = asyncio.run(latency.measure(engine, url, scenario, lambda _n: None))
    assert engine.calls == 1 + 2 * (4 + 1)
    assert engine.actions == []
    assert [row.metric for row in found.rows(scenario)] == ["warm p50", "warm p99", "cold"]
    assert set(found.summary()) == {"warm_ms", "cold_ms"}


def test_a_picture_that_is_too_large_to_send_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(api.MAX_PICTURE + 1))
    with pytest.raises(UsageError, match="Put it on the lab's file server and give --url"):
        api.from_file(tmp_path / "large.png")
    (tmp_path / "small.png").write_bytes(b"abc")
    assert base64.b64decode(api.from_file(tmp_path / "small.png")["image"]) == b"abc"
