"""Credentials of an OpenWhisk user: `uuid:key`, on a command line or in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError


@dataclass(frozen=True)
class Credentials:
    """One user of the functions engine; its `repr` does not show the key."""

    uuid: str
    key: str = field(repr=False)
    namespace: str = "_"

    @property
    def auth(self) -> str:
        """`uuid:key`, as Basic authentication wants it."""
        return f"{self.uuid}:{self.key}"


def parse(text: str, source: str) -> Credentials:
    """Read `uuid:key`, or the JSON object `{"uuid", "key", "namespace"}`.

    Messages name the `source` of the text and never repeat the text itself.

    Raises:
        ConfigurationError: It is neither.
    """
    bare = text.strip()
    if bare.startswith("{"):
        return _from_json(bare, source)
    uuid, found, key = bare.partition(":")
    if not found or not _printable(uuid) or not _printable(key):
        raise ConfigurationError(
            f"{source}: holds no credentials. Needed is uuid:key, or JSON with uuid and key."
        )
    return Credentials(uuid, key)


def read(path: Path) -> Credentials:
    """Read a file of credentials.

    Raises:
        ConfigurationError: It is missing, unreadable, or holds no credentials.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there are no credentials. Run ./lab up.") from None
    except PermissionError:
        raise ConfigurationError(
            f"{path}: only its owner may read it. Run the command with sudo, or give --auth."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def given(text: str) -> Credentials:
    """What stands behind `--auth`: `uuid:key`, or the path of a file that holds it.

    Raises:
        ConfigurationError: It is neither.
    """
    if ":" in text and not Path(text).is_file():
        return parse(text, "--auth")
    return read(Path(text).expanduser())


def _from_json(text: str, source: str) -> Credentials:
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{source}: is no valid JSON ({error})") from None
    fields = {name: data.get(name) for name in ("uuid", "key")}
    missing = [name for name, value in fields.items() if not _printable(value)]
    if missing:
        raise ConfigurationError(f"{source}: credentials need {' and '.join(missing)}")
    return Credentials(data["uuid"], data["key"], str(data.get("namespace") or "_"))


def _printable(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()
