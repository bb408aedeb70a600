"""Configuration of the engine: a TOML file, read once and checked completely.

Example (mode 0600, since it holds keys):

    lab_name = "orrery"
    listen = ["127.0.0.1:3233", "10.161.33.1:3233"]
    database = "/var/lib/orrery/engine.db"
    docker_socket = "/var/run/docker.sock"
    network = "orrery-functions"
    container_prefix = "orrery-fn"
    api_host = "http://10.161.33.1:3233"
    pool_memory_mb = 4096
    default_kind = "python:3.11"

    [runtimes]
    "python:3.11" = "orrery/python:3.11"

    [[users]]
    namespace = "guest"
    uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
    key = "..."
"""

from __future__ import annotations

import ipaddress
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orrery.engine.names import is_entity_name, is_kind, is_uuid
from orrery.errors import ConfigurationError

DEFAULT_PER_MINUTE = 60
"""Invocations per calendar minute of a user for whom nothing else is configured."""

DEFAULT_IN_FLIGHT = 30
"""Activations in flight of a user for whom nothing else is configured."""


@dataclass(frozen=True)
class User:
    """One user: an identity, its credentials and its throttles.

    Attributes:
        namespace: The namespace that the user owns.
        subject: Name written into activation records.
        uuid: First half of the credentials.
        key: Second half of the credentials; never shown.
        invocations_per_minute: Invocations allowed in one calendar minute.
        concurrent_invocations: Activations allowed in flight.
    """

    namespace: str
    subject: str
    uuid: str
    key: str = field(repr=False)
    invocations_per_minute: int = DEFAULT_PER_MINUTE
    concurrent_invocations: int = DEFAULT_IN_FLIGHT


@dataclass(frozen=True)
class ContainerLimits:
    """Limits of every container beside its memory.

    Attributes:
        pids: Processes and threads.
        nofile: Open files.
        tmpfs_mb: Size of /tmp [MB].
    """

    pids: int = 1024
    nofile: int = 1024
    tmpfs_mb: int = 256


@dataclass(frozen=True)
class ActionLimitRange:
    """What an action may ask for.

    Attributes:
        memory_min_mb: Smallest memory limit [MB].
        memory_std_mb: Memory limit of an action that names none [MB].
        memory_max_mb: Largest memory limit [MB].
        timeout_min_ms: Smallest time limit [ms].
        timeout_std_ms: Time limit of an action that names none [ms].
        timeout_max_ms: Largest time limit [ms].
        logs_std_mb: Log limit of an action that names none [MB].
        logs_max_mb: Largest log limit [MB].
    """

    memory_min_mb: int = 128
    memory_std_mb: int = 256
    memory_max_mb: int = 512
    timeout_min_ms: int = 100
    timeout_std_ms: int = 60_000
    timeout_max_ms: int = 300_000
    logs_std_mb: int = 10
    logs_max_mb: int = 10


@dataclass(frozen=True)
class EngineConfig:
    """Everything the engine is told from outside.

    Attributes:
        lab_name: Prefix of all that the lab makes.
        listen: Addresses to listen on, each (host, port).
        database: SQLite file.
        docker_socket: Unix socket of the Docker daemon.
        network: Docker network of the action containers.
        container_prefix: Beginning of every container name.
        api_host: URL under which actions reach this API (`__OW_API_HOST`).
        pool_memory_mb: Memory of all action containers together [MB].
        users: Users who may call the API.
        runtimes: Docker image of each managed kind.
        default_kind: What `python:3`, `python:default` and `python` mean.
        max_parallel_starts: Containers that are started at the same time.
        idle_timeout_s: Time after which an idle container is removed [s].
        pause_grace_s: Time after which an idle container is paused [s].
        activations_keep: Activation records that are kept.
        container_limits: Limits of every container beside its memory.
        action_limits: What an action may ask for.
    """

    lab_name: str
    listen: Sequence[tuple[str, int]]
    database: Path
    docker_socket: Path
    network: str
    container_prefix: str
    api_host: str
    pool_memory_mb: int
    users: Sequence[User]
    runtimes: Mapping[str, str]
    default_kind: str
    max_parallel_starts: int = 4
    idle_timeout_s: float = 600.0
    pause_grace_s: float = 10.0
    activations_keep: int = 200_000
    container_limits: ContainerLimits = field(default_factory=ContainerLimits)
    action_limits: ActionLimitRange = field(default_factory=ActionLimitRange)


def load(path: Path) -> EngineConfig:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: The file cannot be read, others may read it, or a value is wrong.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}") from error
    if mode & 0o077:
        raise ConfigurationError(
            f"{path}: mode {mode:04o} found, 0600 needed: it holds keys. Run: chmod 0600 {path}"
        )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error
    return parse(document, str(path))


def parse(document: Mapping[str, Any], source: str) -> EngineConfig:
    """Check a parsed document; `source` names it in messages.

    Raises:
        ConfigurationError: A value is missing, unknown or wrong.
    """
    table = _Table(document, source)
    runtimes = _runtimes(table)
    limits = table.table("container_limits")
    config = EngineConfig(
        lab_name=table.text("lab_name"),
        listen=_listen(table),
        database=table.path("database"),
        docker_socket=table.path("docker_socket"),
        network=table.text("network"),
        container_prefix=table.text("container_prefix"),
        api_host=_api_host(table),
        pool_memory_mb=table.integer("pool_memory_mb", low=128),
        users=_users(table),
        runtimes=runtimes,
        default_kind=_default_kind(table, runtimes),
        max_parallel_starts=table.integer("max_parallel_starts", 4, low=1, high=64),
        idle_timeout_s=table.number("idle_timeout_s", 600.0, low=1.0),
        pause_grace_s=table.number("pause_grace_s", 10.0, low=0.0),
        activations_keep=table.integer("activations_keep", 200_000, low=100),
        container_limits=ContainerLimits(
            pids=limits.integer("pids", 1024, low=16),
            nofile=limits.integer("nofile", 1024, low=64),
            tmpfs_mb=limits.integer("tmpfs_mb", 256, low=1),
        ),
        action_limits=_action_limits(table),
    )
    limits.finish()
    table.finish()
    return config


class _Table:
    """A TOML table that is taken apart key by key; what stays is an error."""

    def __init__(self, values: Mapping[str, Any], source: str, prefix: str = "") -> None:
        self._values = dict(values)
        self._source = source
        self._prefix = prefix

    def wrong(self, key: str, found: str, needed: str) -> ConfigurationError:
        """The error that says what was found and what is needed."""
        return ConfigurationError(f"{self._source}: {self._prefix}{key}: {found}, {needed} needed")

    def take(self, key: str, needed: str, default: Any = None) -> Any:
        """Remove and return a value; without a default it has to be there."""
        if key in self._values:
            return self._values.pop(key)
        if default is None:
            raise self.wrong(key, "nothing found", needed)
        return default

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self.take(key, "a text", default)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"{value!r} found", "a text that is not empty")
        return value

    def path(self, key: str) -> Path:
        """An absolute path."""
        value = Path(self.text(key))
        if not value.is_absolute():
            raise self.wrong(key, f"'{value}' found", "an absolute path")
        return value

    def integer(
        self, key: str, default: int | None = None, *, low: int = 0, high: int | None = None
    ) -> int:
        """A whole number within bounds."""
        needed = f"a whole number >= {low}" if high is None else f"a number from {low} to {high}"
        value = self.take(key, needed, default)
        if type(value) is not int or value < low or (high is not None and value > high):
            raise self.wrong(key, f"{value!r} found", needed)
        return value

    def number(self, key: str, default: float, *, low: float) -> float:
        """A finite number with a lower bound."""
        value = self.take(key, f"a number >= {low:g}", default)
        if type(value) not in (int, float) or not low <= value < float("inf"):
            raise self.wrong(key, f"{value!r} found", f"a number >= {low:g}")
        return float(value)

    def table(self, key: str) -> _Table:
        """A table inside this one; empty where there is none."""
        value = self._values.pop(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"{value!r} found", "a table")
        return _Table(value, self._source, f"{self._prefix}{key}.")

    def tables(self, key: str) -> list[_Table]:
        """An array of tables that is not empty."""
        value = self.take(key, f"at least one [[{key}]]")
        if not isinstance(value, list) or not value:
            raise self.wrong(key, "nothing usable found", f"at least one [[{key}]]")
        if not all(isinstance(item, dict) for item in value):
            raise self.wrong(key, "an item that is no table found", f"[[{key}]] tables")
        return [
            _Table(item, self._source, f"{self._prefix}{key}[{number}].")
            for number, item in enumerate(value, start=1)
        ]

    def items(self) -> list[tuple[str, Any]]:
        """All that is left, taken out."""
        items, self._values = list(self._values.items()), {}
        return items

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._values:
            raise self.wrong(key, "an unknown key found", "its removal or its right spelling is")


def _listen(table: _Table) -> tuple[tuple[str, int], ...]:
    needed = 'a list of addresses like "127.0.0.1:3233"'
    values = table.take("listen", needed)
    if not isinstance(values, list) or not values:
        raise table.wrong("listen", f"{values!r} found", needed)
    return tuple(_address(table, value, needed) for value in values)


def _address(table: _Table, value: Any, needed: str) -> tuple[str, int]:
    host, separator, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not separator or not port.isdecimal() or not 0 < int(port) < 65536:
        raise table.wrong("listen", f"{value!r} found", needed)
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        raise table.wrong("listen", f"{value!r} found", needed) from None
    if address.is_unspecified:
        raise table.wrong(
            "listen", f"{value!r} found", "a loopback address or one of the lab's own networks"
        )
    return str(address), int(port)


def _api_host(table: _Table) -> str:
    value = table.text("api_host")
    if not value.startswith(("http://", "https://")):
        raise table.wrong("api_host", f"{value!r} found", "a URL with http:// or https://")
    return value.rstrip("/")


def _runtimes(table: _Table) -> Mapping[str, str]:
    inner = table.table("runtimes")
    found: dict[str, str] = {}
    for kind, image in inner.items():
        if not is_kind(kind):
            raise inner.wrong(kind, "an unusable kind found", "a name like python:3.11")
        if not isinstance(image, str) or not image.strip():
            raise inner.wrong(kind, f"{image!r} found", "the name of a Docker image")
        found[kind] = image
    if not found:
        raise table.wrong("runtimes", "nothing found", "at least one kind and its image")
    return MappingProxyType(found)


def _default_kind(table: _Table, runtimes: Mapping[str, str]) -> str:
    kind = table.text("default_kind")
    if kind not in runtimes:
        raise table.wrong("default_kind", f"'{kind}' found", f"one of {', '.join(runtimes)}")
    return kind


def _users(table: _Table) -> tuple[User, ...]:
    users: list[User] = []
    for inner in table.tables("users"):
        namespace = inner.text("namespace")
        user = User(
            namespace=namespace,
            subject=inner.text("subject", namespace),
            uuid=inner.text("uuid"),
            key=inner.text("key"),
            invocations_per_minute=inner.integer("invocations_per_minute", DEFAULT_PER_MINUTE),
            concurrent_invocations=inner.integer("concurrent_invocations", DEFAULT_IN_FLIGHT),
        )
        if not is_entity_name(namespace) or namespace == "_":
            raise inner.wrong("namespace", f"'{namespace}' found", "letters, digits, ., -, @ or _")
        if not is_uuid(user.uuid):
            raise inner.wrong("uuid", "something else found", "a UUID of 36 characters")
        if len(user.key) < 32:
            raise inner.wrong("key", f"{len(user.key)} characters found", "at least 32")
        if any(user.uuid == other.uuid for other in users):
            raise inner.wrong("uuid", "the uuid of an earlier user found", "one of its own")
        inner.finish()
        users.append(user)
    return tuple(users)


def _action_limits(table: _Table) -> ActionLimitRange:
    inner = table.table("action_limits")
    std = ActionLimitRange()
    limits = ActionLimitRange(
        memory_min_mb=inner.integer("memory_min_mb", std.memory_min_mb, low=16),
        memory_std_mb=inner.integer("memory_std_mb", std.memory_std_mb, low=16),
        memory_max_mb=inner.integer("memory_max_mb", std.memory_max_mb, low=16),
        timeout_min_ms=inner.integer("timeout_min_ms", std.timeout_min_ms, low=1),
        timeout_std_ms=inner.integer("timeout_std_ms", std.timeout_std_ms, low=1),
        timeout_max_ms=inner.integer("timeout_max_ms", std.timeout_max_ms, low=1),
        logs_std_mb=inner.integer("logs_std_mb", std.logs_std_mb),
        logs_max_mb=inner.integer("logs_max_mb", std.logs_max_mb),
    )
    for name, low, middle, high in (
        ("memory_std_mb", limits.memory_min_mb, limits.memory_std_mb, limits.memory_max_mb),
        ("timeout_std_ms", limits.timeout_min_ms, limits.timeout_std_ms, limits.timeout_max_ms),
        ("logs_std_mb", 0, limits.logs_std_mb, limits.logs_max_mb),
    ):
        if not low <= middle <= high:
            raise inner.wrong(name, f"{middle} found", f"a number from {low} to {high}")
    inner.finish()
    return limits
