from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

import pytest

from orrery.measure.scenario import Scenario


class Backend(Enum):
    VHOST = "vhost-user"


@dataclass(frozen=True)
class Example(Scenario):
    kind: ClassVar[str] = "example"

    backend: Backend
    seconds: float = 10.0
    queues: int | None = None
    sizes: tuple[int, ...] = ()
    encrypted: bool = False
    image: Path | None = None


def test_the_name_follows_from_the_parameters() -> None:
    found = Example(Backend.VHOST, seconds=2.5, queues=4, sizes=(64, 1500), image=Path("/a/b"))
    expected = "backend=vhost-user seconds=2.5 queues=4 sizes=64,1500 encrypted=no image=/a/b"
    assert found.name == f"example {expected}"


def test_what_is_not_set_is_not_named() -> None:
    assert Example(Backend.VHOST, sizes=(1,)).parameters() == {
        "backend": "vhost-user",
        "seconds": 10.0,
        "sizes": [1],
        "encrypted": False,
    }


def test_a_scenario_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Example(Backend.VHOST).seconds = 3.0  # type: ignore[misc]  # that is what is tested
