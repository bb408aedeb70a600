"""The engine killed, and Docker restarted, in the middle of the work."""

from __future__ import annotations

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.engine.engine_process import EngineProcess, Reply
from tests.support.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.docker]

SLEEPS = "import time\ndef main(args):\n time.sleep(args['s'])\n return {'n': args['n']}"


def test_a_killed_engine_keeps_what_was_done_and_closes_what_ran(
    own_engine: EngineProcess,
) -> None:
    own_engine.start()
    own_engine.create("sleeps", SLEEPS)
    own_engine.create("other", "def main(args): return {}")
    answered: list[tuple[int, Reply]] = []

    def invoke(n: int) -> None:
        # Every fourth is short: some are done and some run whenever the engine is killed.
        try:
            reply = own_engine.invoke("sleeps", {"n": n, "s": 600 if n % 4 else 0.01})
        except (OSError, http.client.HTTPException):
            return
        answered.append((n, reply))

    with ThreadPoolExecutor(50) as threads:
        for n in range(0, 50, 4):
            threads.submit(invoke, n)
        until(lambda: len(answered) == 13, "the short ones")
        for n in (n for n in range(50) if n % 4):
            threads.submit(invoke, n)
        until(lambda: len(own_engine.containers("status=running")) >= 6, "a full pool")
        before = set(own_engine.containers())
        own_engine.kill()
    own_engine.start()
    until(lambda: not before & set(own_engine.containers()), "the dead engine's containers to go")
    for name in ("sleeps", "other"):
        assert own_engine.call("GET", f"/api/v1/namespaces/_/actions/{name}").status == 200
    found = {record["activationId"]: record for record in own_engine.activations()}
    for n, reply in answered:
        assert reply.status == 200
        record = found.pop(reply.body["activationId"])
        assert record["response"]["result"] == {"n": n}
    assert found, "none of the running activations is on record"
    for record in found.values():
        assert record["end"] >= record["start"] > 0
        assert record["response"]["success"] is False
        assert "error" in record["response"]["result"]
    assert own_engine.invoke("other").status == 200


def test_docker_restarted_under_load_leaves_a_working_engine(own_engine: EngineProcess) -> None:
    own_engine.start()
    own_engine.create("sleeps", SLEEPS)
    stop = threading.Event()
    replies: list[Reply] = []

    def load(n: int) -> None:
        while not stop.is_set():
            replies.append(own_engine.invoke("sleeps", {"n": n, "s": 0.02}))

    def succeeded() -> int:
        return sum(reply.status == 200 for reply in list(replies))

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(load, n) for n in range(4)]
        try:
            until(lambda: succeeded() >= 8, "a load")
            before = set(own_engine.containers())
            own_engine.docker.restart()
            reached = succeeded()
            until(lambda: succeeded() >= reached + 8, "new answers")
        finally:
            stop.set()
        for future in running:
            future.result()
    assert {reply.status for reply in replies} <= {200, 500, 502}
    until(lambda: not before & set(own_engine.containers()), "the old containers to go")
    for n in range(5):
        assert own_engine.invoke("sleeps", {"n": n, "s": 0}).status == 200, own_engine.said()
