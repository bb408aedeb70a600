"""What a fact is: a sentence, and the requests whose answers show whether it holds. Pure.

In paths, queries, bodies and patterns `<name>` stands for a value of the run: `<ns>` the user's
namespace, `<tool>` the action that all facts share, `<a>` and `<b>` fresh names of this fact, and
whatever an earlier step saved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from typing import Any

from orrery.whisk.conformance.match import ANYTHING, Check, Exactly, like

SPACE = "/api/v1/namespaces/_"
ACTIONS = f"{SPACE}/actions"
ACTIVATIONS = f"{SPACE}/activations"
A = f"{ACTIONS}/<a>"
B = f"{ACTIONS}/<b>"
TOOL = f"{ACTIONS}/<tool>"

KIND = "python:default"
ECHO = "def main(args):\n    return args\n"

# One action for most facts: a cold start each would make the run five times as long.
TOOL_SOURCE = """\
import os
import sys
import time


def main(args):
    do = args.get("do", "echo")
    if do == "error":
        return {"error": "the action says no"}
    if do == "text":
        return "neither object nor array"
    if do == "list":
        return [1, 2, 3]
    if do == "sleep":
        time.sleep(args["s"])
    if do == "print":
        print("line on stdout")
        print("line on stderr", file=sys.stderr)
    if do == "env":
        return {key: value for key, value in os.environ.items() if key.startswith("__OW_")}
    return {"args": args}
"""


class Who(Enum):
    """Credentials of a step."""

    USER = "the user's"
    NOBODY = "none"
    STRANGER = "of a user that does not exist"


@dataclass(frozen=True)
class Step:
    """One request and what must come back.

    Attributes:
        body: JSON to send.
        data: Raw body instead.
        match: Pattern of the answer's body.
        headers: Patterns of the answer's headers.
        send: Headers to send.
        save: Names for values of the answer: key in the body, `@header` for a header.
        until: Repeat until it fits: records and logs come after the result.
    """

    method: str
    path: str
    status: int
    match: Any = ANYTHING
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    data: bytes | None = None
    who: Who = Who.USER
    headers: Mapping[str, Check] = field(default_factory=dict)
    send: Mapping[str, str] = field(default_factory=dict)
    save: Mapping[str, str] = field(default_factory=dict)
    until: bool = False

    @property
    def invokes(self) -> bool:
        """Whether it starts an activation."""
        return self.method == "POST" and "/actions/" in self.path


@dataclass(frozen=True)
class Fact:
    """One fact: its area, the sentence, and the steps that show it."""

    area: str
    text: str
    steps: tuple[Step, ...]


def fact(area: str, text: str, *steps: Step) -> Fact:
    """Write a fact down."""
    return Fact(area, text, steps)


def get(path: str, match: Any = ANYTHING, status: int = 200, **more: Any) -> Step:
    """A GET."""
    return Step("GET", path, status, match, **more)


def put(match: Any = ANYTHING, status: int = 200, *, path: str = A, **more: Any) -> Step:
    """A PUT of `<a>`; `body` is all of it, other keywords are those of `Step`."""
    return Step("PUT", path, status, match, **more)


def create(code: str = ECHO, *, path: str = A, match: Any = ANYTHING, **entity: Any) -> Step:
    """Create the action `<a>`."""
    return Step("PUT", path, 200, match, body={"exec": {"kind": KIND, "code": code}, **entity})


def update(match: Any = ANYTHING, status: int = 200, **entity: Any) -> Step:
    """Update the action `<a>` with what is given."""
    return Step("PUT", A, status, match, query={"overwrite": "true"}, body=entity)


def post(match: Any = ANYTHING, status: int = 200, *, path: str = TOOL, **more: Any) -> Step:
    """Invoke the shared action, blocking unless `query` says otherwise."""
    more.setdefault("query", {"blocking": "true"})
    return Step("POST", path, status, match, **more)


def refused(text: str) -> Exactly:
    """The body of an error: its text, as a regular expression, and the transaction's id."""
    return Exactly({"error": like(text), "code": like(r"^\S+$")})


def pairs(**values: Any) -> list[dict[str, Any]]:
    """Parameters or annotations as the API writes them."""
    return [{"key": key.replace("_", "-"), "value": value} for key, value in values.items()]


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """Put the values of a run in the place of `<name>`, everywhere inside."""
    if isinstance(value, str):
        return re.sub(r"<(\w+)>", lambda found: names.get(found[1], found[0]), value)
    if isinstance(value, Mapping):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(fill(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type | Check):
        return replace(
            value, **{f.name: fill(getattr(value, f.name), names) for f in fields(value)}
        )
    return value
