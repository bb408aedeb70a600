"""Kinds: which the engine knows, what they are short for, and their images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from orrery.engine import messages
from orrery.engine.errors import MalformedError

BLACKBOX: Final = "blackbox"
SEQUENCE: Final = "sequence"

_PYTHON = re.compile(r"python:3\.\d{1,2}", re.ASCII)


class Runtimes:
    """The managed kinds of this engine.

    `family`, `family:default` and `python:3` (what clients of years ago send) mean the default
    kind. Any other `python:3.x` runs in the default kind's image under its own name, so that an
    action written for another minor version can be created without being changed.
    """

    def __init__(self, images: Mapping[str, str], default_kind: str) -> None:
        self._images = dict(images)
        self._default = default_kind
        self._family = default_kind.partition(":")[0]
        self._aliases = {
            self._family: default_kind,
            f"{self._family}:default": default_kind,
            "python:3": default_kind,
        }

    def resolve(self, kind: str) -> str:
        """The kind that is stored for what a client sent.

        Raises:
            MalformedError: This engine does not have it.
        """
        if kind in self._images:
            return kind
        if kind in self._aliases:
            return self._aliases[kind]
        if self._family == "python" and _PYTHON.fullmatch(kind):
            return kind
        raise MalformedError(messages.kind_unknown(kind, self.names()))

    def names(self) -> list[str]:
        """Kinds to name in a message."""
        return [*sorted({*self._images, "python:3", f"{self._family}:default"}), BLACKBOX]

    def image(self, kind: str) -> str:
        """Docker image of a resolved managed kind."""
        return self._images.get(kind, self._images[self._default])

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Runtimes by family, as the info document shows them."""
        families: dict[str, list[dict[str, Any]]] = {}
        for kind in sorted({*self._images, "python:3"}):
            families.setdefault(kind.partition(":")[0], []).append(
                {
                    "kind": kind,
                    "image": self.image(kind),
                    "default": kind == self._default,
                    "deprecated": False,
                    "attached": True,
                    "requireMain": False,
                }
            )
        return families
