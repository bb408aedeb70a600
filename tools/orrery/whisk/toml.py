"""Writes TOML: the few shapes that the engine's configuration has. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orrery.errors import ConfigurationError


def dumps(document: Mapping[str, Any]) -> str:
    """Text of a document of values, lists of values, tables and arrays of tables.

    Raises:
        ConfigurationError: A value is of another type.
    """
    return "\n".join(_table(document, "")) + "\n"


def _table(values: Mapping[str, Any], prefix: str) -> list[str]:
    lines = []
    later = []
    for key, value in values.items():
        name = f"{prefix}{json.dumps(key)}"
        if isinstance(value, Mapping):
            later += ["", f"[{name}]", *_table(value, f"{name}.")]
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            for item in value:
                later += ["", f"[[{name}]]", *_table(item, f"{name}.")]
        else:
            lines.append(f"{json.dumps(key)} = {_value(key, value)}")
    return lines + later


def _value(key: str, value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(key, item) for item in value) + "]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise ConfigurationError(f"{key}: {type(value).__name__} cannot be written as TOML")
