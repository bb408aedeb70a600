from __future__ import annotations

import base64

import pytest

from orrery.engine.auth import Users
from orrery.engine.config import User
from orrery.engine.errors import ThrottledError, UnauthorizedError
from orrery.engine.throttle import Throttle
from tests.fakes.engine import KEY, OTHER_KEY, OTHER_UUID, UUID, basic

USER = User("guest", "guest", UUID, KEY, invocations_per_minute=60, concurrent_invocations=30)
OTHER = User("other", "other", OTHER_UUID, OTHER_KEY)
MISSING = "The resource requires authentication, which was not supplied with the request"


class Clock:
    def __init__(self) -> None:
        self.now = 1_200_000.0

    def __call__(self) -> float:
        return self.now


def test_the_window_is_the_minute_of_the_clock() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    clock.now += 59
    for _ in range(60):
        throttle.enter(USER).release()
    with pytest.raises(ThrottledError) as caught:
        throttle.enter(USER)
    assert caught.value.message == (
        "Too many requests in the last minute (count: 61, allowed: 60)."
    )
    clock.now += 1
    throttle.enter(USER).release()


def test_requests_over_the_limit_count_too() -> None:
    throttle = Throttle(Clock())
    for _ in range(60):
        throttle.enter(USER).release()
    for count in (61, 62):
        with pytest.raises(ThrottledError, match=f"count: {count}, allowed: 60"):
            throttle.enter(USER)


def test_activations_in_flight_are_limited_until_one_is_over() -> None:
    throttle = Throttle(Clock())
    slots = [throttle.enter(USER) for _ in range(30)]
    with pytest.raises(ThrottledError) as caught:
        throttle.enter(USER)
    assert caught.value.message == (
        "Too many concurrent requests in flight (count: 30, allowed: 30)."
    )
    slots[0].release()
    slots[0].release()
    throttle.enter(USER)
    assert throttle.in_flight() == 30


def test_users_do_not_throttle_each_other() -> None:
    throttle = Throttle(Clock())
    for _ in range(30):
        throttle.enter(USER)
    throttle.enter(OTHER)


def test_users_are_found_by_their_credentials() -> None:
    users = Users([USER, OTHER])
    assert users.authenticate(basic()) is USER
    assert users.authenticate(basic(OTHER_UUID, OTHER_KEY)) is OTHER


@pytest.mark.parametrize("header", [None, "", "Bearer x", "basic"])
def test_no_credentials_are_told_from_wrong_ones(header: str | None) -> None:
    expected = "The supplied authentication is invalid" if header == "basic" else MISSING
    with pytest.raises(UnauthorizedError) as caught:
        Users([USER]).authenticate(header)
    assert caught.value.message == expected
    assert caught.value.headers == {"WWW-Authenticate": 'Basic realm="OpenWhisk secure realm"'}


@pytest.mark.parametrize(
    "header",
    [
        basic(UUID, OTHER_KEY),
        basic(OTHER_UUID, KEY),
        basic(UUID, ""),
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_wrong_credentials_are_invalid(header: str) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        Users([USER]).authenticate(header)
    assert caught.value.message == "The supplied authentication is invalid"
