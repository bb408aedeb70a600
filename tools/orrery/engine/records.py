"""Activation records: JSON put together from pieces that are encoded once.

A record is stored as its *head* (the JSON object up to and without its closing brace), its status,
its result and its log. Every answer is these pieces joined, so that reading a record of a
megabyte parses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from orrery.engine import jsons, messages
from orrery.engine.invoker import Job, Outcome, Status

STATUS_TEXT: Final = {
    Status.SUCCESS: "success",
    Status.APPLICATION_ERROR: "application error",
    Status.DEVELOPER_ERROR: "action developer error",
    Status.WHISK_ERROR: "whisk internal error",
}

NO_LOGS: Final = b"[]"


@dataclass(frozen=True)
class Seed:
    """What is known of an activation when it is accepted.

    Attributes:
        action: Name within the namespace, for lists by name.
        accepted_ms: When the API took it, Unix time [ms].
        head: First fields of the record as JSON, open at the end.
        fixed: Annotations that do not depend on the outcome.
    """

    activation_id: str
    namespace: str
    action: str
    accepted_ms: int
    head: bytes
    fixed: Sequence[dict[str, Any]]

    def unfinished_annotations(self) -> bytes:
        """Annotations of a record that is closed because the engine died."""
        return jsons.encode([*self.fixed, {"key": "timeout", "value": False}])


@dataclass(frozen=True)
class Record:
    """A finished activation, without its log."""

    activation_id: str
    namespace: str
    action: str
    start_ms: int
    status: Status
    head: bytes
    result: bytes

    def to_json(self, logs: bytes = NO_LOGS) -> bytes:
        """The whole record."""
        return full_json(self.head, self.status, self.result, logs)


def seed(job: Job, *, subject: str, action: str, kind: str, limits: dict[str, int]) -> Seed:
    """Begin the record of a job."""
    name = job.action.path.rsplit("/", 1)[1]
    head = jsons.encode(
        {
            "namespace": job.namespace,
            "name": name,
            "version": job.action.version,
            "subject": subject,
            "activationId": job.activation_id,
            "publish": False,
        }
    )
    fixed = (
        {"key": "path", "value": job.action.path},
        {"key": "kind", "value": kind},
        {"key": "limits", "value": limits},
    )
    return Seed(job.activation_id, job.namespace, action, job.accepted_ms, head[:-1], fixed)


def finish(seed: Seed, outcome: Outcome) -> Record:
    """Complete a record with what came out."""
    status = outcome.status
    try:
        result = jsons.encode(outcome.result)
    except ValueError:
        status = Status.DEVELOPER_ERROR
        result = jsons.encode({"error": messages.INVALID_RESULT})
    annotations = [
        *seed.fixed,
        {"key": "timeout", "value": outcome.timed_out},
        {"key": "waitTime", "value": outcome.wait_ms},
    ]
    if outcome.init_ms is not None:
        annotations.append({"key": "initTime", "value": outcome.init_ms})
    timing = (
        f',"start":{outcome.start_ms},"end":{outcome.end_ms},'
        f'"duration":{max(0, outcome.end_ms - outcome.start_ms)},"annotations":'
    )
    return Record(
        seed.activation_id,
        seed.namespace,
        seed.action,
        outcome.start_ms,
        status,
        seed.head + timing.encode() + jsons.encode(annotations),
        result,
    )


def response_json(status: int, result: bytes) -> bytes:
    """The `response` object of a record."""
    success = "true" if status == Status.SUCCESS else "false"
    text = STATUS_TEXT[Status(status)]
    opening = f'{{"status":"{text}","success":{success},"size":{len(result)},"result":'
    return opening.encode() + result + b"}"


def full_json(head: bytes, status: int, result: bytes, logs: bytes) -> bytes:
    """A whole record."""
    response = response_json(status, result)
    return b"".join((head, b',"response":', response, b',"logs":', logs, b"}"))


def summary_json(head: bytes, status: int) -> bytes:
    """A record as a list without documents shows it."""
    return head + f',"statusCode":{status}}}'.encode()
