"""From the parameters of an activation to its answer."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify import decode, model
from classify.refusal import Code, Refusal

MAX_BODY = 8 * 1024 * 1024
"""Largest picture, as a file [bytes]; a phone's photograph has 2 to 6 MB."""
MAX_BATCH = 1000
"""Pictures in one activation; their probabilities stay well below OpenWhisk's 1 MB of result."""
FETCH_BUDGET_S = 20.0
"""Time for all downloads of one activation [s]: well before the action's own limit of 60 s, which
would cost the container."""
ALLOWED_HOSTS = "CLASSIFY_ALLOWED_HOSTS"
"""Environment variable, set at /init by an init parameter, so that no caller can change it."""
INPUTS = ("url", "urls", "image", "images")
DECIMALS = 6

_session = model.load()


@dataclass
class Timings:
    """Where the time of one activation went [s]."""

    download: float = 0.0
    decode: float = 0.0
    inference: float = 0.0

    def as_measurement(self) -> dict[str, float]:
        """The part `measurement` of an answer [ms]."""
        return {
            "download_ms": round(self.download * 1000, 3),
            "decode_ms": round(self.decode * 1000, 3),
            "inference_ms": round(self.inference * 1000, 3),
        }


@dataclass(frozen=True)
class Request:
    """What was asked.

    Attributes:
        remote: Whether `items` are URLs; otherwise they are base64.
        batch: Whether the answer is list-valued.
    """

    items: list[str]
    remote: bool
    batch: bool
    timings: Timings = field(default_factory=Timings)


def main(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Classify one picture or a batch of them.

    Bad input is answered with a code and a message and never with the key `error`, which
    OpenWhisk would turn into a failed activation.
    """
    try:
        request = read(parameters)
        probabilities = _classify(request)
    except Refusal as refusal:
        return {"code": int(refusal.code), "res": None, "message": refusal.message}
    digits = probabilities.argmax(axis=1).tolist()
    shares = [[round(share, DECIMALS) for share in row] for row in probabilities.tolist()]
    return {
        "code": int(Code.OK),
        "res": digits if request.batch else digits[0],
        "probabilities": shares if request.batch else shares[0],
        "measurement": request.timings.as_measurement(),
    }


def read(parameters: Mapping[str, Any]) -> Request:
    """Check the parameters' names and types.

    Raises:
        Refusal: 400 or 413.
    """
    given = [name for name in INPUTS if name in parameters]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        wanted = "url, urls, image or images"
        raise Refusal(Code.BAD_REQUEST, f"exactly one of {wanted} is needed; {found} given")
    name, value = given[0], parameters[given[0]]
    remote, batch = name.startswith("url"), name.endswith("s")
    if not batch:
        if not isinstance(value, str):
            raise Refusal(Code.BAD_REQUEST, f"{name} has to be a text, not {_kind(value)}")
        return Request([value], remote, batch)
    if not isinstance(value, list) or not value:
        raise Refusal(Code.BAD_REQUEST, f"{name} has to be a list with at least one entry")
    if len(value) > MAX_BATCH:
        raise Refusal(Code.TOO_LARGE, f"{name} has {len(value)} entries, {MAX_BATCH} are allowed")
    for index, entry in enumerate(value):
        if not isinstance(entry, str):
            text = f"{name}[{index}] has to be a text, not {_kind(entry)}"
            raise Refusal(Code.BAD_REQUEST, text)
    return Request(value, remote, batch)


def _classify(request: Request) -> NDArray[np.float32]:
    timings = request.timings
    obtain = _downloader() if request.remote else _from_base64
    pixels = np.empty((len(request.items), 1, decode.SIDE, decode.SIDE), np.uint8)
    for index, item in enumerate(request.items):
        began = time.perf_counter()
        try:
            content = obtain(item)
            arrived = time.perf_counter()
            pixels[index, 0] = decode.pixels(content)
        except Refusal as refusal:
            if not request.batch:
                raise
            raise Refusal(refusal.code, f"entry {index}: {refusal.message}") from refusal
        decoded = time.perf_counter()
        if request.remote:
            timings.download += arrived - began
            timings.decode += decoded - arrived
        else:
            timings.decode += decoded - began
    began = time.perf_counter()
    probabilities = model.probabilities(_session, pixels)
    timings.inference = time.perf_counter() - began
    return probabilities


def _downloader() -> Callable[[str], bytes]:
    # http.client and ssl cost a cold start 30 ms that pictures sent along do not need.
    from classify import fetch

    allowed = fetch.parse_allowed(os.environ.get(ALLOWED_HOSTS, ""))
    deadline = time.monotonic() + FETCH_BUDGET_S
    return lambda url: fetch.fetch(url, allowed, max_bytes=MAX_BODY, deadline=deadline)


def _from_base64(text: str) -> bytes:
    # Checked before decoding: 4 characters hold 3 bytes, and line breaks may be among them.
    if len(text) > MAX_BODY * 3 // 2:
        raise Refusal(Code.TOO_LARGE, f"the picture is larger than {MAX_BODY} bytes")
    try:
        # `base64 FILE` breaks lines.
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(Code.BAD_REQUEST, "the picture is not valid base64") from None
    if len(content) > MAX_BODY:
        raise Refusal(Code.TOO_LARGE, f"the picture is larger than {MAX_BODY} bytes")
    return content


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "true or false", dict: "an object", list: "a list"}
    return names.get(type(value), "a number")
