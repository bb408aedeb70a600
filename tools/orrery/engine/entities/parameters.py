"""Parameters and annotations: lists of keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orrery.engine import jsons
from orrery.engine.errors import MalformedError, TooLargeError

MAX_BYTES: Final = 1024 * 1024
"""All parameters, or all annotations, of one entity [bytes]."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; an init parameter becomes an environment variable of the container."""

    key: str
    value: Any
    init: bool = False

    def to_json(self) -> dict[str, Any]:
        """The form that clients see."""
        plain = {"key": self.key, "value": self.value}
        return {**plain, "init": True} if self.init else plain


def parse_parameters(value: Any) -> tuple[Parameter, ...]:
    """Read a list of parameters; of two with one key the later wins.

    Raises:
        MalformedError: It is no list of keys and values.
        TooLargeError: Together they are over `MAX_BYTES`.
    """
    found: dict[str, Parameter] = {}
    for item in _items(value, "parameters"):
        init = item.get("init", False)
        if not isinstance(init, bool):
            raise MalformedError("parameters malformed!")
        parameter = Parameter(item["key"], item.get("value"), init)
        if init and ("=" in parameter.key or "\0" in parameter.key):
            raise MalformedError(
                f"init parameter '{parameter.key!r}' cannot be an environment variable"
            )
        found[parameter.key] = parameter
    parameters = tuple(found.values())
    _check_size("parameters", ((item.key, item.value) for item in parameters))
    return parameters


def parse_annotations(value: Any) -> dict[str, Any]:
    """Read a list of annotations; of two with one key the later wins.

    Raises:
        MalformedError: It is no list of keys and values.
        TooLargeError: Together they are over `MAX_BYTES`.
    """
    annotations = {item["key"]: item.get("value") for item in _items(value, "annotations")}
    _check_size("annotations", annotations.items())
    return annotations


def annotations_to_json(annotations: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The form that clients see."""
    return [{"key": key, "value": value} for key, value in annotations.items()]


def is_truthy(annotations: Mapping[str, Any], key: str, *, missing: bool) -> bool:
    """Whether an annotation is on; `missing` says what its absence means."""
    return bool(annotations[key]) if key in annotations else missing


def init_environment(parameters: Sequence[Parameter]) -> dict[str, str]:
    """Environment variables that the init parameters stand for."""
    return {item.key: _text(item.value) for item in parameters if item.init}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else jsons.encode(value).decode("utf-8")


def _items(value: Any, field: str) -> Iterable[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise MalformedError(f"{field} malformed!")
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("key"), str) or not item["key"]:
            raise MalformedError(f"{field} malformed!")
    return value


def _check_size(field: str, pairs: Iterable[tuple[str, Any]]) -> None:
    size = sum(len(jsons.encode(key)) - 2 + len(jsons.encode(value)) for key, value in pairs)
    if size > MAX_BYTES:
        raise TooLargeError(field, size, MAX_BYTES)
