"""The lab's state file: what `up` installed, changed and found, so that `down` undoes exactly that.

Roles write it through the module `lab_state`, which uses `StateFile`, too.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orrery.errors import ConfigurationError

SCHEMA = 1


@dataclass(frozen=True)
class Service:
    """One service of the lab.

    Attributes:
        name: Name that users see, `engine`.
        address: What a client connects to, `127.0.0.1:3233`.
        health: `http://...`, `tcp:host:port` or `unix:/path`; answers when the service is well.
        log: File that `./lab logs NAME` reads.
        kind: Word for the table, `functions engine`.
    """

    name: str
    address: str = ""
    health: str = ""
    log: str = ""
    kind: str = ""


@dataclass
class LabState:
    """What is known of one lab.

    Attributes:
        packages: Distribution packages that came in with `up`.
        services: By name.
        facts: What was found or decided (acceleration, fallbacks, paths of credentials).
        before: Prior value of everything that was changed; the first value is kept.
    """

    lab_name: str
    packages: list[str] = field(default_factory=list)
    services: dict[str, Service] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, Any]:
        """The JSON object that is stored."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], source: str) -> LabState:
        """Read the JSON object back.

        Raises:
            ConfigurationError: It is of another schema or not a state file.
        """
        if data.get("schema") != SCHEMA or not isinstance(data.get("lab_name"), str):
            raise ConfigurationError(
                f"{source}: schema {data.get('schema')!r} found, {SCHEMA} needed. "
                "It was written by another version of Orrery: run that version's ./lab down."
            )
        names = Service.__dataclass_fields__
        services = {
            name: Service(**{k: str(v) for k, v in {"name": name, **entry}.items() if k in names})
            for name, entry in dict(data.get("services") or {}).items()
        }
        return cls(
            lab_name=data["lab_name"],
            packages=[str(name) for name in data.get("packages") or []],
            services=services,
            facts=dict(data.get("facts") or {}),
            before=dict(data.get("before") or {}),
        )


class StateFile:
    """A state file on disk, mode 0600, always replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is one."""
        return self.path.exists()

    def read(self) -> LabState:
        """Read it.

        Raises:
            ConfigurationError: There is none, or it cannot be read as one.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigurationError(
                f"{self.path}: there is no such lab on this host. Run ./lab up."
            ) from None
        except PermissionError:
            raise ConfigurationError(
                f"{self.path}: only root may read it. Run the command with sudo."
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error}") from error
        return self.parse(text, self.path)

    @staticmethod
    def parse(text: str, source: Path) -> LabState:
        """Read the content of a state file; `source` is for messages.

        Raises:
            ConfigurationError: It is none.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"{source}: cannot be read: {error}") from error
        if not isinstance(data, dict):
            raise ConfigurationError(f"{source}: holds no JSON object")
        return LabState.from_mapping(data, str(source))

    def write(self, state: LabState) -> None:
        """Replace it; a full disk or a crash leaves the old one."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        text = json.dumps(state.as_mapping(), indent=2, sort_keys=True) + "\n"
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".state-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
