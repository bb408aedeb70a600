"""What the API asks of whatever runs actions: the seam between HTTP and containers.

The API side (`orrery.engine.app`) knows nothing of Docker, the container side
(`orrery.engine.pool`) nothing of HTTP requests or of the store. Tests put a fake in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol


class Status(IntEnum):
    """How an activation ended, with OpenWhisk's status codes."""

    SUCCESS = 0
    APPLICATION_ERROR = 1
    DEVELOPER_ERROR = 2
    WHISK_ERROR = 3


@dataclass(frozen=True)
class Executable:
    """What an action consists of.

    Attributes:
        kind: Resolved kind, for example `python:3.11` or `blackbox`.
        image: Docker image to run it in.
        code: Source text or base64 of a zip; None for a blackbox without code.
        binary: Whether `code` is base64.
        main: Name of the function to call.
        native: Whether our runtime (and so the log sentinel) is inside; false for blackbox.
    """

    kind: str
    image: str
    code: str | None
    binary: bool
    main: str
    native: bool


@dataclass(frozen=True)
class Revision:
    """One revision of an action: what a warm container was initialised with.

    Attributes:
        path: Fully qualified name without a leading slash, `guest/hello` or `guest/pkg/hello`.
        version: Semantic version shown to users, `0.0.1`.
        revision: Changes with every update, also where the version is given by the user.
        timeout_ms: Limit of init plus run, each [ms].
        memory_mb: Memory limit of the container [MB].
        logs_mb: Limit of the stored log [MB]; 0 collects none.
        init_env: Environment variables from init parameters.
    """

    path: str
    version: str
    revision: str
    executable: Executable
    timeout_ms: int
    memory_mb: int
    logs_mb: int
    init_env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One activation to run.

    Attributes:
        namespace: Namespace of the invoking user; warm containers are never shared across it.
        arguments: Merged parameters, a JSON object.
        api_key: `uuid:key`, only where the action asks for it (`provide-api-key`).
        accepted_ms: When the API took the request, Unix time [ms]; waiting counts from here.
    """

    activation_id: str
    transaction_id: str
    namespace: str
    action: Revision
    arguments: Mapping[str, Any]
    api_key: str | None
    accepted_ms: int


@dataclass(frozen=True)
class Outcome:
    """What came out of one activation, before its log.

    Attributes:
        result: JSON value; `{"error": ...}` for every status but success.
        start_ms: When init (cold) or run (warm) began, Unix time [ms].
        end_ms: When the answer was there, Unix time [ms].
        wait_ms: From `accepted_ms` to `start_ms` [ms].
        init_ms: Time of /init [ms]; None on a warm start.
        timed_out: Whether the action exceeded its time limit.
    """

    status: Status
    result: Any
    start_ms: int
    end_ms: int
    wait_ms: int
    init_ms: int | None = None
    timed_out: bool = False


@dataclass(frozen=True)
class Run:
    """An outcome and the log that follows it.

    The result is there before the log is collected; `logs` resolves to the stored lines
    (`<RFC 3339 time padded to 30> stdout: text`) and never raises.
    """

    outcome: Outcome
    logs: asyncio.Future[Sequence[str]]


@dataclass(frozen=True)
class PoolSnapshot:
    """What the pool holds at one moment (counts, and memory in MB)."""

    busy: int
    warm: int
    paused: int
    waiting: int
    used_mb: int
    capacity_mb: int


class Invoker(Protocol):
    """Runs activations in containers."""

    async def start(self) -> None:
        """Get ready; remove every container that a dead engine of this lab left."""

    async def stop(self) -> None:
        """Finish or abandon what runs and remove every container."""

    async def run(self, job: Job) -> Run:
        """Run one activation; whatever user code or Docker does becomes an `Outcome`.

        Waits while the pool is full (FIFO). Raises nothing but CancelledError.
        """
        ...

    async def forget(self, path: str) -> None:
        """Drop idle containers of an action that was updated or deleted; busy ones go when done."""

    def snapshot(self) -> PoolSnapshot:
        """What the pool holds now."""
        ...
