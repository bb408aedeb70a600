"""Suites as files: those that come along with a room, and those of the user."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from orrery.errors import ConfigurationError

STANDARD = "standard"
SUFFIX = ".yml"


@dataclass(frozen=True)
class Shelf:
    """The suites of a room.

    Attributes:
        package: It holds the folder `suites`, and `suite.schema.json` that each of them obeys.
        word: What one of them is called in messages.
    """

    package: str
    word: str

    def names(self) -> list[str]:
        """Suites that come along: the standard one, then the others by the alphabet."""
        files = (one.name for one in resources.files(self.package).joinpath("suites").iterdir())
        found = [name.removesuffix(SUFFIX) for name in files if name.endswith(SUFFIX)]
        return sorted(found, key=lambda name: (name != STANDARD, name))

    def find(self, name: str) -> tuple[str, str]:
        """Text and name of a suite, which is one that comes along or the path of a file.

        Raises:
            ConfigurationError: There is none, or it cannot be read.
        """
        if name in self.names():
            place = resources.files(self.package).joinpath("suites", name + SUFFIX)
            return place.read_text("utf-8"), name
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigurationError(
                f"there is no {self.word} '{name}', and no such file. "
                f"{self.word.capitalize()}s: {', '.join(self.names())}; "
                "or the path of a file of your own."
            )
        try:
            return path.read_text(encoding="utf-8"), path.stem
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read: {error}") from error

    def read(self, text: str, name: str) -> dict[str, Any]:
        """What a suite's text says, which obeys the schema.

        Raises:
            ConfigurationError: The place that is wrong, and why.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{self.word} {name}: no YAML: {error}") from error
        schema = resources.files(self.package).joinpath("suite.schema.json").read_text("utf-8")
        validator = jsonschema.Draft202012Validator(json.loads(schema))
        faults = sorted(validator.iter_errors(data), key=lambda found: found.json_path)
        if faults:
            where = faults[0].json_path
            raise ConfigurationError(f"{self.word} {name}: {where}: {faults[0].message}")
        return dict(data)
