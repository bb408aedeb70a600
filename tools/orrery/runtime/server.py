"""A minimal HTTP/1.1 server: one request per connection, one at a time, bodies bounded.

`http.server` costs half a millisecond a request, most of it in parsing headers that nobody reads.
An action container answers one request at a time by contract, so there is nothing to run in
parallel, and the user's function gets the main thread (signals, asyncio and all).
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orrery.runtime.action import Runtime

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = {
    "/init": 72 * 1024 * 1024,  # 48 MB of code in base64, its environment, and JSON's own
    "/run": 16 * 1024 * 1024,  # 1 MB of parameters; a sequence may hand on more
}
READ_TIMEOUT_S = 10.0
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}


@dataclass(frozen=True)
class Request:
    """One request, with its whole body."""

    method: str
    path: str
    body: bytes


class BadRequestError(Exception):
    """A request that is answered with an error before anything runs."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def listen(port: int) -> socket.socket:
    """Open the port on every address of the container."""
    # The container's network namespace is the boundary: the lab's own network and nothing else.
    return socket.create_server(("0.0.0.0", port), backlog=16)  # noqa: S104


def serve(listener: socket.socket, runtime: Runtime) -> None:
    """Answer requests until the process is killed."""
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                _answer(connection, runtime)
            except (OSError, ValueError):
                # The peer went away or sent no HTTP; the next request is not its business.
                continue


def _answer(connection: socket.socket, runtime: Runtime) -> None:
    connection.settimeout(READ_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        request = read_request(connection)
        status, body = runtime.dispatch(request.method, request.path, request.body)
    except BadRequestError as error:
        status, body = error.status, json.dumps({"error": str(error)}).encode()
    head = (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def read_request(connection: socket.socket) -> Request:
    """Read one request.

    Raises:
        BadRequestError: Malformed head, body without a length, or too large a body.
        OSError: The peer went away or is too slow.
    """
    received = bytearray()
    while (end := received.find(b"\r\n\r\n")) < 0:
        if len(received) > MAX_HEAD_BYTES:
            raise BadRequestError(431, "The request header is too large.")
        chunk = connection.recv(65_536)
        if not chunk:
            raise ConnectionResetError("closed before the end of the header")
        received += chunk
    lines = bytes(received[:end]).decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(400, "The request line is malformed.")
    method, path = words[0], words[1].partition("?")[0]
    length = _content_length(lines[1:])
    if length > MAX_BODY_BYTES.get(path, 0):
        raise BadRequestError(413, f"The request body is too large: {length} bytes.")
    body = received[end + 4 :]
    while len(body) < length:
        chunk = connection.recv(min(length - len(body), 1 << 20))
        if not chunk:
            raise ConnectionResetError("closed before the end of the body")
        body += chunk
    return Request(method, path, bytes(body[:length]))


def _content_length(headers: list[str]) -> int:
    length = 0
    for line in headers:
        name, _, value = line.partition(":")
        lowered = name.strip().lower()
        if lowered == "transfer-encoding":
            raise BadRequestError(411, "A request body needs a Content-Length.")
        if lowered == "content-length":
            text = value.strip()
            if not (text.isascii() and text.isdigit() and len(text) < 16):
                raise BadRequestError(400, "Content-Length is not a number.")
            length = int(text)
    return length
