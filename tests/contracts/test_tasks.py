"""Every Fabric task takes the common options first, with the same letters."""

from __future__ import annotations

from typing import Any

import pytest
from invoke.parser import Parser

from tests.contracts import tree

COMMON = [("inventory", "i"), ("extra", "e"), ("json", "j")]


def options(task: Any) -> list[Any]:
    return [argument for argument in task.get_arguments() if not argument.positional]


@pytest.fixture(scope="module", params=sorted(tree.tasks()))
def task(request: pytest.FixtureRequest) -> Any:
    return tree.tasks()[request.param]


def test_the_common_options_come_first_in_their_order(task: Any) -> None:
    assert [tuple(argument.names) for argument in options(task)[:3]] == COMMON


@pytest.mark.parametrize("name", sorted(tree.tasks()))
def test_extra_can_be_given_several_times(name: str) -> None:
    """Invoke takes the type of a default, so that a tuple would be split into letters."""
    parser = Parser(contexts=tree.collection().to_contexts())
    words = ["something"] * len(tree.tasks()[name].positional or ())
    found = parser.parse_argv([name, *words, "-e", "a=1", "--extra", "b=2"])
    assert list(found[0].args["extra"].value) == ["a=1", "b=2"]


def test_a_task_says_in_one_line_what_it_does(task: Any) -> None:
    first = (task.__doc__ or "").strip().partition("\n")[0]
    assert first.endswith("."), f"'{first}' is not a sentence"
    assert len(first) <= 100


def test_no_option_takes_a_number(task: Any) -> None:
    """Values are strings or switches; Invoke's own conversion ends in a traceback."""
    numbers = [argument.name for argument in options(task) if argument.kind in (int, float)]
    assert not numbers


def test_the_tasks_of_the_lab_are_there() -> None:
    needed = {"up", "down", "verify", "status", "logs", "test", "completion", "ssh", "console"}
    needed |= {"mnist.classify", "mnist.evaluate", "mnist.latency", "mnist.train"}
    needed |= {"whisk.bench", "whisk.conformance"}
    needed |= {f"guest.{name}" for name in ("start", "list", "stop", "ssh", "console", "queues")}
    needed |= {"guest.cpu", "guest.bench"}
    assert not sorted(needed - set(tree.tasks()))
