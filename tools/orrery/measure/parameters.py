"""Parameters of scenarios as files have them: checked, and of the kinds that fields want. Pure."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_type_hints

from orrery.errors import ConfigurationError
from orrery.measure.scenario import Scenario


def typed(kind: type[Scenario], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Values of a file as the fields of a scenario want them.

    Raises:
        ConfigurationError: There is no such parameter, or it has no such value.
    """
    types = get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in known:
            raise ConfigurationError(
                f"{where}: there is no parameter '{key}'. Known: {', '.join(known)}"
            )
    return {key: _typed(where, key, value, types[key]) for key, value in values.items()}


def crossed(each: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last key changing fastest."""
    for combination in itertools.product(*each.values()):
        yield dict(zip(each, combination, strict=True))


def _typed(where: str, key: str, value: Any, kind: Any) -> Any:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    # A frame is a number in a file, and text because of `imix`.
    if str in kinds and isinstance(value, int | str) and not isinstance(value, bool):
        return str(value)
    for one in kinds:
        if isinstance(one, type) and issubclass(one, StrEnum):
            if value in list(one):
                return one(value)
            raise ConfigurationError(
                f"{where}: {key} is '{value}'; one of {', '.join(one)} is needed"
            )
        if one is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if type(value) is one:
            return value
    raise ConfigurationError(f"{where}: {key} is '{value}', which is of no kind that it can be")
