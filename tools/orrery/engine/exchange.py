"""One HTTP request to a container, over a connection of its own.

A general HTTP client costs a millisecond of processor time per new connection, more than all the
rest of a warm activation; what is needed is one POST, and one bounded answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from orrery.engine.protocol import MAX_RESPONSE_BYTES, PORT, Answer

# OpenWhisk waits 50 ms; a container here listens after some 100 ms and a refusal costs little.
CONNECT_RETRY_S = 0.02
CLOSE_WAIT_S = 1.0


class LostError(Exception):
    """The connection ended without an answer."""


class RefusedError(LostError):
    """Nobody listens in the container, or nobody is there."""


async def init(
    address: str, message: bytes, *, timeout_s: float, alive: Callable[[], bool], port: int = PORT
) -> Answer:
    """POST /init to a container that is still starting: connect until it listens.

    Raises:
        TimeoutError: No answer within the time limit.
        LostError: The connection or the container ended.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            try:
                return await _post(address, port, "/init", message)
            except RefusedError:
                if not alive():
                    raise
                await asyncio.sleep(CONNECT_RETRY_S)


async def run(address: str, message: bytes, *, timeout_s: float, port: int = PORT) -> Answer:
    """POST /run to a container that is ready; errors as in `init`."""
    async with asyncio.timeout(timeout_s):
        return await _post(address, port, "/run", message)


async def _post(address: str, port: int, path: str, message: bytes) -> Answer:
    loop = asyncio.get_running_loop()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address}:{port}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(message)}\r\n"
        "Connection: close\r\n\r\n"
    )
    exchange = Exchange(head.encode() + message, loop)
    try:
        await loop.create_connection(lambda: exchange, address, port)
    except OSError as error:
        raise RefusedError(str(error)) from error
    try:
        return await exchange.answer
    except BaseException:
        exchange.abort()
        raise


class Exchange(asyncio.Protocol):
    """Sends a request and takes the answer apart as it comes.

    Attributes:
        answer: Resolves to the answer, or raises LostError.
    """

    def __init__(self, request: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self._request = request
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._received = 0
        self._length: int | None = None
        self._headers_complete = False
        self._closing: asyncio.TimerHandle | None = None

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Parse a piece of the answer."""
        if self.answer.done():
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"no HTTP: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of an answer without a length, or the end before the answer."""
        if self._closing is not None:
            self._closing.cancel()
        if self._headers_complete and self._length is None and exc is None:
            self._finish()
        self._fail(str(exc or "the connection ended before the answer"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"content-length":
            self._length = int(value)

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._headers_complete = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """Called by the parser; of what exceeds the limit only the length is kept."""
        self._received += len(body)
        self._body += body[: max(0, MAX_RESPONSE_BYTES - len(self._body))]
        if self._received > MAX_RESPONSE_BYTES:
            self._finish()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._headers_complete:
            self._finish()

    def _finish(self) -> None:
        if self.answer.done():
            return
        length = max(self._length or 0, self._received)
        self.answer.set_result(Answer(self._parser.get_status_code(), bytes(self._body), length))
        # The container closes first: the side that does keeps the port for a minute, and the
        # engine has fewer ports than a busy container answers in that time.
        self._closing = self._loop.call_later(CLOSE_WAIT_S, self.abort)

    def _fail(self, reason: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(LostError(reason))
            self.abort()
