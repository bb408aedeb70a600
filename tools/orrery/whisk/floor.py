"""What the client itself costs: a server that does nothing, in a process of its own.

`python -m orrery.whisk.floor PORT_FILE` answers every request with one fixed activation record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from orrery import shell
from orrery.errors import MeasurementError

START_TIMEOUT_S = 20.0
POLL_S = 0.02

RECORD = {
    "activationId": "0" * 32,
    "annotations": [
        {"key": "path", "value": "guest/floor"},
        {"key": "kind", "value": "python:3.11"},
        {"key": "timeout", "value": False},
        {"key": "limits", "value": {"concurrency": 1, "logs": 10, "memory": 128, "timeout": 60000}},
        {"key": "waitTime", "value": 1},
    ],
    "duration": 1,
    "end": 1,
    "logs": [],
    "name": "floor",
    "namespace": "guest",
    "publish": False,
    "response": {
        "result": {"echo": None, "run_us": 0.0},
        "size": 30,
        "status": "success",
        "success": True,
    },
    "start": 0,
    "subject": "guest",
    "version": "0.0.1",
}


class _Process(Protocol):
    """What is asked of a program that `shell.start` started."""

    def poll(self) -> int | None:
        """Its exit code, once it ended."""


class Nothing(asyncio.Protocol):
    """Answers each HTTP/1.1 request with the record as soon as its body is there."""

    def __init__(self) -> None:
        body = json.dumps(RECORD).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._answer = head.encode() + b"\r\n\r\n" + body
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = end + 4 + _content_length(self._buffer[:end])
            if len(self._buffer) < length:
                return
            self._buffer = self._buffer[length:]
            if self._transport is not None:
                self._transport.write(self._answer)


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Run the server in a process of its own; gives its URL.

    Raises:
        MeasurementError: It did not start.
    """
    with tempfile.TemporaryDirectory(prefix="orrery-floor-") as folder:
        port_file = Path(folder) / "port"
        process = shell.start([sys.executable, "-m", "orrery.whisk.floor", port_file])
        try:
            yield f"http://127.0.0.1:{await _port(port_file, process)}"
        finally:
            shell.stop(process)


def main(argv: Sequence[str]) -> None:
    """Serve until the process is ended."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(argv[0])))


async def _port(port_file: Path, process: _Process) -> str:
    end = time.monotonic() + START_TIMEOUT_S
    while (port := _read(port_file)) is None:
        if process.poll() is not None or time.monotonic() > end:
            raise MeasurementError("the server that shows the client's own cost did not start")
        await asyncio.sleep(POLL_S)
    return port


def _read(path: Path) -> str | None:
    return path.read_text(encoding="ascii") if path.exists() else None


async def _serve(port_file: Path) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Nothing, "127.0.0.1", 0)
    draft = port_file.with_suffix(".draft")
    draft.write_text(str(listening.sockets[0].getsockname()[1]), encoding="ascii")
    draft.replace(port_file)
    async with listening:
        await listening.serve_forever()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == b"content-length":
            return int(value)
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
