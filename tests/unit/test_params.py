"""Strings from the command line become values or sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from orrery import params
from orrery.errors import UsageError


def test_a_whole_number_is_read() -> None:
    assert params.integer("queues", " 4 ", low=1, high=8) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("four", "--queues takes a whole number, not 'four'"),
        ("4.5", "--queues takes a whole number, not '4.5'"),
        ("0", "--queues takes 1 or more, not 0"),
        ("9", "--queues takes at most 8, not 9"),
    ],
)
def test_a_wrong_number_of_queues_is_a_sentence(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        params.integer("queues", text, low=1, high=8)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["nan", "inf", "much"])
def test_a_number_is_finite(text: str) -> None:
    with pytest.raises(UsageError, match=f"not '{text}'"):
        params.number("rate", text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10", 10.0), ("10s", 10.0), ("2 m", 120.0), ("1h", 3600)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert params.duration_s("time", text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "-1s", "0s", "5 days"])
def test_a_wrong_duration_shows_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="--time takes a duration"):
        params.duration_s("time", text)


def test_a_choice_lists_what_is_allowed() -> None:
    with pytest.raises(UsageError, match="--backend takes one of tap, vhost-user, not 'veth'"):
        params.choice("backend", "veth", ["tap", "vhost-user"])


def test_an_address_is_host_and_port() -> None:
    assert params.address("server", "[::1]:80") == ("::1", 80)
    with pytest.raises(UsageError, match="--server takes host:port, not 'here'"):
        params.address("server", "here")


def test_a_url_needs_a_scheme_and_a_host() -> None:
    assert params.url("url", "http://a/b") == "http://a/b"
    for text in ("file:///etc/passwd", "http://", "a/b", "http://[::1"):
        with pytest.raises(UsageError, match="begins with http:// or https://"):
            params.url("url", text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "image.png"
    with pytest.raises(UsageError, match=f"--image: there is no {missing}"):
        params.path("image", str(missing), exists=True)
