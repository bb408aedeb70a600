from __future__ import annotations

from typing import Any

from orrery.measure.labels import labels


def named(kind: str, *found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        " ".join([kind, *(f"{key}={value}" for key, value in one.items())]): one for one in found
    }


def test_what_all_share_is_said_once_and_texts_stand_alone() -> None:
    scenarios = named("net", {"way": "fast", "size": 1, "x": 3}, {"way": "slow", "size": 1, "x": 4})
    found = labels(scenarios)
    assert found.common == "net size=1"
    assert list(found.shorts.values()) == ["fast x=3", "slow x=4"]
    assert set(found.sections.values()) == {""}


def test_a_value_that_means_nothing_alone_keeps_its_key() -> None:
    scenarios = named("n", {"a": "none", "b": "64", "c": "up"}, {"a": "up", "b": "imix", "c": "x"})
    assert list(labels(scenarios).shorts.values()) == ["a=none b=64 c=up", "a=up imix x"]


def test_kinds_that_differ_are_part_of_the_label() -> None:
    found = labels({**named("warm", {"calls": 5}), **named("cold", {"calls": 5}), "plain": {}})
    assert found.common == ""
    assert list(found.shorts.values()) == ["warm calls=5", "cold calls=5", "plain"]


def test_the_steadiest_parameters_head_sections_until_the_rest_fits() -> None:
    scenarios = named(
        "n",
        *({"way": way, "place": place} for place in ("here", "there") for way in ("fast", "slow")),
    )
    found = labels(scenarios, width=5)
    assert list(found.sections.values()) == ["here", "here", "there", "there"]
    assert list(found.shorts.values()) == ["fast", "slow", "fast", "slow"]


def test_a_pair_is_what_differs_and_what_is_shared() -> None:
    scenarios = named("n", {"a": "fast", "x": 1}, {"a": "fast"}, {"a": "slow", "x": 1})
    one, two, three = scenarios
    found = labels(scenarios)
    assert found.pair(one, three) == ("fast / slow", "x=1")
    assert found.pair(one, two) == ("x=1 / plain", "fast")
    assert found.pair(one, "stranger") == ("fast x=1 / stranger", "")
