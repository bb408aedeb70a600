"""What the engine says to an action container, and what its answers mean.

Messages, statuses and texts are OpenWhisk's. Nothing here does I/O: `exchange` does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from orrery.engine.invoker import Job, Status

MAX_RESPONSE_BYTES = 1024 * 1024
PORT = 8080

PROVISION = "Failed to provision resources to run the action."
ABNORMAL_INIT = "The action did not initialize and exited unexpectedly."
ABNORMAL_RUN = "The action did not produce a valid response and exited unexpectedly."
OUT_OF_MEMORY = "The action exhausted its memory and was aborted."
CONTAINER_LOST = "The container of the action was lost: the container engine stopped."


@dataclass(frozen=True)
class Answer:
    """What a container answered.

    Attributes:
        body: At most `MAX_RESPONSE_BYTES`.
        length: Length of the whole body [bytes].
    """

    status: int
    body: bytes
    length: int


@dataclass(frozen=True)
class Verdict:
    """How an activation, or its initialisation, ended."""

    status: Status
    result: Any
    timed_out: bool = False


def now_ms() -> int:
    """Unix time [ms]."""
    return time.time_ns() // 1_000_000


def _context(job: Job) -> dict[str, str]:
    context = {
        "namespace": job.namespace,
        "action_name": f"/{job.action.path}",
        "action_version": job.action.version,
        "activation_id": job.activation_id,
        "transaction_id": job.transaction_id,
        "deadline": str(now_ms() + job.action.timeout_ms),
    }
    if job.api_key is not None:
        context["api_key"] = job.api_key
    return context


def init_message(job: Job) -> bytes:
    """The body of /init."""
    executable = job.action.executable
    environment = {f"__OW_{key.upper()}": value for key, value in _context(job).items()}
    value: dict[str, Any] = {
        "name": job.action.path.rpartition("/")[2],
        "main": executable.main or "main",
        "binary": executable.binary,
        "env": {**job.action.init_env, **environment},
    }
    if executable.code is not None:
        value["code"] = executable.code
    return json.dumps({"value": value}).encode()


def run_message(job: Job) -> bytes:
    """The body of /run."""
    return json.dumps({"value": job.arguments, **_context(job)}).encode()


def interpret_init(answer: Answer) -> Verdict | None:
    """What an answer to /init means; None when the container is ready to run."""
    if answer.status == 200:
        return None
    error = _error_of(answer)
    if error is None:
        error = f"The action failed during initialization: {_text(answer.body)}"
    return Verdict(Status.DEVELOPER_ERROR, {"error": error})


def interpret_run(answer: Answer) -> Verdict:
    """What an answer to /run means."""
    if answer.length > MAX_RESPONSE_BYTES:
        error = (
            "The action produced a response that exceeded the allowed length: "
            f"{answer.length} > {MAX_RESPONSE_BYTES} bytes. "
            f"The truncated response was: {_text(answer.body)}"
        )
        return Verdict(Status.APPLICATION_ERROR, {"error": error})
    if answer.status != 200:
        return Verdict(Status.DEVELOPER_ERROR, {"error": _error_of(answer) or _invalid(answer)})
    try:
        result = _parse(answer.body)
    except ValueError:
        return Verdict(Status.DEVELOPER_ERROR, {"error": _invalid(answer)})
    if isinstance(result, list):
        return Verdict(Status.SUCCESS, result)
    if not isinstance(result, dict):
        return Verdict(Status.DEVELOPER_ERROR, {"error": _invalid(answer)})
    if "error" in result:
        return Verdict(Status.APPLICATION_ERROR, {"error": result["error"]})
    return Verdict(Status.SUCCESS, result)


def timed_out(timeout_ms: int, *, during_init: bool) -> Verdict:
    """The verdict on an action that exceeded its time limit."""
    error = f"The action exceeded its time limits of {timeout_ms} milliseconds"
    error += " during initialization." if during_init else "."
    return Verdict(Status.DEVELOPER_ERROR, {"error": error}, timed_out=True)


def whisk_error(error: str = PROVISION) -> Verdict:
    """The verdict when the fault is the platform's."""
    return Verdict(Status.WHISK_ERROR, {"error": error})


def _invalid(answer: Answer) -> str:
    text = _text(answer.body)
    return f"The action did not produce a valid JSON or JSON Array response: {text}"


def _error_of(answer: Answer) -> Any:
    """The value of `error` in an answer, None where there is none."""
    try:
        found = _parse(answer.body)
    except ValueError:
        return None
    return found.get("error") if isinstance(found, Mapping) else None


def _parse(body: bytes) -> Any:
    """Strict JSON; Python's own parser would let NaN through to clients that cannot read it.

    Raises:
        ValueError: Not JSON, or nested too deeply.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
