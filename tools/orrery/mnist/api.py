"""The classifier as a user of the functions API sees it."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orrery.errors import FunctionError, UsageError
from orrery.whisk.client import WhiskClient

ACTION = "classify"
MAX_PICTURE = 700_000
"""What fits into 1 MB of parameters as base64 [bytes]."""


@dataclass(frozen=True)
class Answer:
    """What the classifier said.

    Attributes:
        res: The digit, or a list of them.
        probabilities: Ten of them for each picture.
        measurement: `download_ms`, `decode_ms`, `inference_ms`.
        seconds: Time the caller waited [s].
    """

    res: Any
    probabilities: Any
    measurement: Mapping[str, float]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The stable keys of `mnist.classify`."""
        return {
            "res": self.res,
            "probabilities": self.probabilities,
            "measurement": dict(self.measurement),
        }


async def classify(client: WhiskClient, params: Mapping[str, Any], action: str = ACTION) -> Answer:
    """Call the action and wait.

    Args:
        client: An open client.
        params: One of url, urls, image, images.
        action: Its name; a cold start is measured with actions of other names.

    Raises:
        FunctionError: The engine or the action refused.
    """
    began = time.perf_counter()
    reply = await client.invoke(action, params, blocking=True, result=True)
    seconds = time.perf_counter() - began
    return Answer(seconds=seconds, **_checked(reply.body, action))


def _checked(body: Any, action: str) -> dict[str, Any]:
    if not isinstance(body, dict) or "code" not in body:
        found = body.get("error", body) if isinstance(body, dict) else body
        raise FunctionError(f"the action {action} did not answer as it should: {found}")
    if body["code"] != 200:
        raise FunctionError(f"the picture was refused ({body['code']}): {body.get('message')}")
    return {key: body[key] for key in ("res", "probabilities", "measurement")}


def from_file(path: Path) -> dict[str, str]:
    """Parameters that carry the picture itself.

    Raises:
        UsageError: It cannot be read, or is too large to be sent along.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--image {path}: {error.strerror}") from error
    if len(content) > MAX_PICTURE:
        raise UsageError(
            f"--image {path}: {len(content)} bytes found, at most {MAX_PICTURE} can be sent along. "
            "Put it on the lab's file server and give --url."
        )
    return {"image": encode(content)}


def encode(picture: bytes) -> str:
    """A picture as base64."""
    return base64.b64encode(picture).decode()
