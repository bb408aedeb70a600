"""An action as somebody wants it, compared with the action as a host has it. Pure.

Code is compared and shown by its SHA-256 only: it may be long, and it may hold what nobody
should read in a log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orrery.errors import ConfigurationError
from orrery.whisk.client import key_values

ZIP = b"PK\x03\x04"
View = dict[str, Any]


@dataclass(frozen=True)
class Desired:
    """What an action has to be; what is None stays as it is.

    Attributes:
        kind: `python:3.11`; `python:3` and `python:default` mean any of that family.
        code: Source text or base64.
        final: Whether callers may not override the parameters.
    """

    name: str
    kind: str | None = None
    code: str | None = None
    image: str | None = None
    main: str | None = None
    binary: bool | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Any] | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)
    final: bool | None = None

    @property
    def all_annotations(self) -> dict[str, Any]:
        """The annotations, with that of final parameters."""
        return {**self.annotations, **({} if self.final is None else {"final": self.final})}

    @property
    def has_exec(self) -> bool:
        """Whether it says what runs."""
        return self.code is not None or self.image is not None

    def arguments(self) -> dict[str, Any]:
        """Keywords of `WhiskClient.put_action`."""
        made: dict[str, Any] = {"overwrite": True}
        if self.has_exec:
            made.update(kind=self.kind, code=self.code, image=self.image, main=self.main)
            made["binary"] = self.binary
        if self.limits:
            made["limits"] = dict(self.limits)
        if self.parameters is not None:
            made["parameters"] = key_values(self.parameters)
        if self.all_annotations:
            made["annotations"] = self.all_annotations
        return made


def check(desired: Desired, *, exists: bool) -> None:
    """Refuse what no host can make.

    Raises:
        ConfigurationError: Something is missing.
    """
    if desired.code is not None and desired.image is None and desired.kind is None:
        raise ConfigurationError(f"action {desired.name}: code needs a kind such as python:3.11")
    if not exists and not desired.has_exec:
        raise ConfigurationError(
            f"action {desired.name}: it does not exist yet, so code, code_file or image is needed"
        )


def code_of(data: bytes) -> tuple[str, bool]:
    """The content of a file as the API takes it, and whether that is base64.

    Raises:
        ConfigurationError: It is neither text nor a zip.
    """
    if data.startswith(ZIP):
        return base64.b64encode(data).decode("ascii"), True
    try:
        return data.decode("utf-8"), False
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the code is neither UTF-8 text nor a zip: {error}") from error


def view(stored: Mapping[str, Any] | None) -> View:
    """What matters of a stored action, without its code; empty where there is none."""
    if stored is None:
        return {}
    found = stored.get("exec") or {}
    return {
        "kind": found.get("kind"),
        "image": found.get("image") if found.get("kind") == "blackbox" else None,
        "main": found.get("main"),
        "code": _digest(found.get("code")),
        "limits": dict(stored.get("limits") or {}),
        "parameters": _values(stored.get("parameters")),
        "annotations": _values(stored.get("annotations")),
    }


def after(desired: Desired, before: View) -> View:
    """How the action looks once it is as desired; equal to `before` where nothing is to do."""
    made: View = {
        **dict.fromkeys(("kind", "image", "main", "code")),
        **before,
        "limits": {**before.get("limits", {}), **desired.limits},
        "annotations": {**before.get("annotations", {}), **desired.all_annotations},
        "parameters": before.get("parameters", {}),
    }
    if desired.parameters is not None:
        made["parameters"] = dict(desired.parameters)
    if desired.has_exec:
        kind = desired.kind or "blackbox"
        made["kind"] = before.get("kind") if same_kind(kind, before.get("kind")) else kind
        made["image"] = desired.image
        made["main"] = desired.main
        made["code"] = _digest(desired.code)
    return made


def same_kind(wanted: str, stored: str | None) -> bool:
    """Whether a stored kind is what was meant: an alias means any version of its family."""
    if stored is None:
        return False
    family, _, version = wanted.partition(":")
    stored_family, _, stored_version = stored.partition(":")
    if family != stored_family:
        return False
    alias = version in {"", "default"}
    return alias or stored_version == version or stored_version.startswith(f"{version}.")


def _values(items: Any) -> dict[str, Any]:
    found = {item["key"]: item for item in items or ()}
    return {
        key: {"value": item.get("value"), "init": True} if item.get("init") else item.get("value")
        for key, item in sorted(found.items())
    }


def _digest(code: Any) -> str | None:
    if not isinstance(code, str) or not code:
        return None
    return "sha256:" + hashlib.sha256(code.encode()).hexdigest()
