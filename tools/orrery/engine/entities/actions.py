"""Actions: made by a PUT, merged by the next one, shown, and turned into what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orrery.engine import messages, names
from orrery.engine.config import ActionLimitRange
from orrery.engine.entities import limits as limits_of
from orrery.engine.entities.execs import Exec, parse_exec
from orrery.engine.entities.limits import Limits
from orrery.engine.entities.parameters import (
    Parameter,
    annotations_to_json,
    init_environment,
    is_truthy,
    parse_annotations,
    parse_parameters,
)
from orrery.engine.entities.runtimes import Runtimes
from orrery.engine.errors import BadRequestError, MalformedError
from orrery.engine.invoker import Revision

FIRST_VERSION = "0.0.1"


@dataclass(frozen=True)
class ActionName:
    """Where an action lives; `package` is empty in the default package."""

    namespace: str
    package: str
    name: str

    @property
    def container(self) -> str:
        """What clients see as the action's namespace: `guest` or `guest/package`."""
        return f"{self.namespace}/{self.package}" if self.package else self.namespace

    @property
    def path(self) -> str:
        """Fully qualified name without a leading slash."""
        return f"{self.container}/{self.name}"

    @property
    def short(self) -> str:
        """Name within its namespace: `hello` or `package/hello`."""
        return f"{self.package}/{self.name}" if self.package else self.name


@dataclass(frozen=True)
class Action:
    """One revision of an action, complete."""

    id: ActionName
    exec: Exec
    parameters: tuple[Parameter, ...]
    limits: Limits
    version: str
    publish: bool
    annotations: Mapping[str, Any]
    updated_ms: int
    revision: str

    def to_json(self, *, with_code: bool = True) -> dict[str, Any]:
        """The whole entity as clients see it."""
        return {
            "namespace": self.id.container,
            "name": self.id.name,
            "version": self.version,
            "publish": self.publish,
            "exec": self.exec.to_json(with_code=with_code),
            "parameters": [item.to_json() for item in self.parameters],
            "annotations": annotations_to_json(self.annotations),
            "limits": self.limits.to_json(),
            "updated": self.updated_ms,
        }

    def arguments(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Own parameters, overridden by the payload.

        Raises:
            BadRequestError: The payload sets a final parameter.
        """
        own = {item.key: item.value for item in self.parameters if not item.init}
        if is_truthy(self.annotations, "final", missing=False):
            fixed = {key for key, value in own.items() if value is not None}
            if not fixed.isdisjoint(payload):
                raise BadRequestError(messages.PARAMETERS_NOT_ALLOWED)
        return {**own, **payload}

    def wants_api_key(self) -> bool:
        """Whether activations get the caller's key."""
        return is_truthy(self.annotations, "provide-api-key", missing=True)

    def to_revision(self, runtimes: Runtimes) -> Revision:
        """What the container side is given."""
        return Revision(
            path=self.id.path,
            version=self.version,
            revision=self.revision,
            executable=self.exec.executable(runtimes),
            timeout_ms=self.limits.timeout,
            memory_mb=self.limits.memory,
            logs_mb=self.limits.logs,
            init_env=init_environment(self.parameters),
        )


@dataclass(frozen=True)
class ActionPut:
    """The body of a PUT; None stands for a field that was not given."""

    exec: Exec | None
    parameters: tuple[Parameter, ...] | None
    limits: Any
    version: str | None
    publish: bool | None
    annotations: Mapping[str, Any] | None
    dropped_annotations: frozenset[str]


def parse_put(value: Any, runtimes: Runtimes) -> ActionPut:
    """Read and check the body of a PUT.

    Raises:
        MalformedError: A field has a wrong form.
        TooLargeError: Code, parameters or annotations are over their limit.
    """
    if not isinstance(value, dict):
        raise MalformedError(messages.NOT_AN_OBJECT)
    given = {key: item for key, item in value.items() if item is not None}
    version, publish = given.get("version"), given.get("publish")
    if version is not None and not (isinstance(version, str) and names.is_version(version)):
        raise MalformedError(
            f"bad semantic version {version!r}, three numbers like 0.0.1 are needed"
        )
    if publish is not None and not isinstance(publish, bool):
        raise MalformedError("'publish' must be true or false")
    dropped = given.get("delAnnotations", [])
    if not isinstance(dropped, list) or not all(isinstance(key, str) for key in dropped):
        raise MalformedError("'delAnnotations' must be a list of strings")
    return ActionPut(
        exec=parse_exec(given["exec"], runtimes) if "exec" in given else None,
        parameters=parse_parameters(given["parameters"]) if "parameters" in given else None,
        limits=given.get("limits", {}),
        version=version,
        publish=publish,
        annotations=parse_annotations(given["annotations"]) if "annotations" in given else None,
        dropped_annotations=frozenset(dropped),
    )


def create(
    name: ActionName, put: ActionPut, allowed: ActionLimitRange, *, now_ms: int, revision: str
) -> Action:
    """Make a new action.

    Raises:
        BadRequestError: There is no `exec`, or a limit is out of its range.
    """
    if put.exec is None:
        raise BadRequestError(messages.EXEC_UNDEFINED)
    annotations = {"provide-api-key": False, **(put.annotations or {}), "exec": put.exec.kind}
    return Action(
        id=name,
        exec=put.exec,
        parameters=put.parameters or (),
        limits=limits_of.merge(limits_of.standard(allowed), put.limits, allowed),
        version=put.version or FIRST_VERSION,
        publish=put.publish or False,
        annotations=annotations,
        updated_ms=now_ms,
        revision=revision,
    )


def update(
    old: Action, put: ActionPut, allowed: ActionLimitRange, *, now_ms: int, revision: str
) -> Action:
    """Merge a PUT into an action: what it does not name stays.

    Parameters are replaced as a whole, annotations and limits key by key.

    Raises:
        BadRequestError: A limit is out of its range.
    """
    executable = put.exec or old.exec
    kept = {
        key: value for key, value in old.annotations.items() if key not in put.dropped_annotations
    }
    return replace(
        old,
        exec=executable,
        parameters=old.parameters if put.parameters is None else put.parameters,
        limits=limits_of.merge(old.limits, put.limits, allowed),
        version=put.version or next_version(old.version),
        publish=old.publish if put.publish is None else put.publish,
        annotations={**kept, **(put.annotations or {}), "exec": executable.kind},
        # Listing is by this time; two updates within one millisecond stay in order.
        updated_ms=max(now_ms, old.updated_ms + 1),
        revision=revision,
    )


def next_version(version: str) -> str:
    """The version after a change of the patch level."""
    major, minor, patch = version.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"
