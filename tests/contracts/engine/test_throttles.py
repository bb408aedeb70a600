from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orrery.engine.throttle import Throttle
from tests.fakes.engine import (
    OTHER_KEY,
    OTHER_UUID,
    Client,
    EngineServer,
    basic,
    eventually,
    settings,
)


class Clock:
    now = 6_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttled(tmp_path: Path, clock: Clock) -> Iterator[EngineServer]:
    """An engine whose minute passes when the test says so."""
    with EngineServer(settings(tmp_path), throttle=Throttle(clock)) as running:
        yield running


@pytest.fixture
def user(throttled: EngineServer) -> Iterator[Client]:
    """A user with the documented limits of a new one."""
    client = throttled.client(basic(OTHER_UUID, OTHER_KEY))
    yield client
    client.close()


def test_the_sixty_first_request_of_a_minute_is_refused(user: Client, clock: Clock) -> None:
    user.put("echo")
    assert {user.invoke("echo").status for _ in range(60)} == {200}
    reply = user.invoke("echo")
    assert reply.status == 429
    assert reply.error == "Too many requests in the last minute (count: 61, allowed: 60)."
    clock.now += 60
    assert user.invoke("echo").status == 200


def test_the_thirty_first_activation_in_flight_is_refused(
    user: Client, throttled: EngineServer
) -> None:
    user.put("held")
    user.put("echo")
    assert {user.invoke("held", None, "").status for _ in range(30)} == {202}
    reply = user.invoke("echo")
    assert reply.status == 429
    assert reply.error == "Too many concurrent requests in flight (count: 30, allowed: 30)."
    first = throttled.client()
    first.put("echo")
    assert first.invoke("echo").status == 200
    first.close()
    throttled.call(throttled.invoker.release)
    eventually(lambda: user.invoke("echo").status == 200)
    path = "/api/v1/namespaces/_/activations?name=held&count=true"
    eventually(lambda: user.call("GET", path).json == {"activations": 30})


def test_requests_that_fail_leave_no_slot_taken(user: Client) -> None:
    for _ in range(10):
        assert user.invoke("missing").status == 404
        assert user.invoke("missing", b"{").status == 400
    user.authorization = basic(OTHER_UUID, OTHER_KEY)
    text = user.call("GET", "/metrics").body.decode()
    assert "orrery_activations_in_flight 0\n" in text
