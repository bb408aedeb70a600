"""A scenario is the parameters of one measurement; its name follows from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Scenario:
    """Base of all scenarios: a frozen dataclass whose fields are the parameters.

    Subclasses set `kind`. A field whose value is None is not part of the measurement and
    appears neither in the name nor in the record.
    """

    kind: ClassVar[str] = "scenario"

    @property
    def name(self) -> str:
        """The name: the kind, then every parameter, `warm calls=200 trials=5`."""
        return " ".join([self.kind, *words(self.parameters()).values()])

    def parameters(self) -> dict[str, Any]:
        """Every parameter that is set, as JSON values, in the order of the fields."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: _plain(value) for key, value in found.items() if value is not None}


def words(parameters: Mapping[str, Any]) -> dict[str, str]:
    """How each parameter is written in a name: `calls=200`."""
    return {key: f"{key}={_word(value)}" for key, value in parameters.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ",".join(_word(item) for item in value)
    return str(value)
