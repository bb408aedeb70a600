"""Which of the host's processors a guest gets where it goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import pytest

from orrery.drill.home import spread


class Guest:
    """A monitor that knows the threads of a guest's processors."""

    name = "guest a"

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        assert (command, arguments) == ("query-cpus-fast", None)
        return [{"cpu-index": i, "thread-id": 100 + i} for i in range(self.cpus)]


@pytest.mark.parametrize(
    ("cpus", "given"),
    [(2, {100: {0}, 101: {2}}), (3, {100: {0}, 101: {2}, 102: {1}}), (4, {})],
)
def test_processors_are_spread_and_those_of_pmds_come_last(
    monkeypatch: pytest.MonkeyPatch, cpus: int, given: dict[int, set[int]]
) -> None:
    found: dict[int, set[int]] = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", found.__setitem__)
    asyncio.run(spread(Guest(cpus), busy=[1]))
    assert found == given
