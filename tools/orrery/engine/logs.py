"""The output of a container: Docker's multiplexed stream in, bounded log lines out.

Containers run with log driver `none`; the engine reads their output itself. What exceeds the log
limit of an activation is read and dropped, so neither the disk nor the engine's memory grows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX"
STREAMS = {1: "stdout", 2: "stderr"}
HEADER_BYTES = 8
IDLE_S = 2.0

FAILURE = "There was an issue while collecting your logs. Data might be missing."
DEVELOPER = "The action did not initialize or run as expected. Log data might be missing."


def truncated(limit_bytes: int) -> str:
    """The line that ends a log which exceeded its limit."""
    return (
        "Logs were truncated because the total bytes size exceeds the limit of "
        f"{limit_bytes} bytes."
    )


def line(text: str, stream: str = "stderr", moment: datetime | None = None) -> str:
    """One stored log line: RFC 3339 time padded to 30, stream, text."""
    moment = moment or datetime.now(UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{stamp:<30} {stream}: {text}"


class Demultiplexer:
    """Takes Docker's stream apart, however it is cut; holds no more than one header."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._stream = 1

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream number, part of its output) for every piece in the data."""
        position = 0
        while position < len(data):
            if self._left == 0:
                missing = HEADER_BYTES - len(self._header)
                self._header += data[position : position + missing]
                position += missing
                if len(self._header) == HEADER_BYTES:
                    self._stream = self._header[0]
                    self._left = int.from_bytes(self._header[4:], "big")
                    self._header.clear()
                continue
            piece = data[position : position + self._left]
            position += len(piece)
            self._left -= len(piece)
            yield self._stream, piece


class LogCollector:
    """Collects the log of one activation after the other from one container's stream."""

    def __init__(self) -> None:
        self._demultiplexer = Demultiplexer()
        self._partial = {number: bytearray() for number in STREAMS}
        self._ended: set[int] = set()
        self._lines = bytearray()
        self._limit = 0
        self._truncated = True
        self._received = 0
        self._changed = asyncio.Event()
        self.closed = False
        self.has_sentinel = False

    def begin(self, limit_bytes: int) -> None:
        """Begin the log of an activation; 0 drops everything."""
        self._ended.clear()
        self._lines.clear()
        for partial in self._partial.values():
            partial.clear()
        self._limit = limit_bytes
        self._truncated = limit_bytes == 0

    def feed(self, data: bytes) -> None:
        """Take a piece of Docker's stream."""
        self._received += len(data)
        stamp = ""
        for number, piece in self._demultiplexer.feed(data):
            if number not in STREAMS:
                continue
            if not self._truncated and not stamp:
                stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._take(number, piece, stamp)
        self._changed.set()

    def close(self) -> None:
        """The stream ended: the container is gone, or Docker is."""
        self.closed = True
        self._changed.set()

    async def complete(self, *, total_s: float, idle_s: float = IDLE_S) -> bool:
        """Wait for the sentinel on both streams, or the end of the stream.

        Returns:
            Whether that came within `total_s`, with no silence longer than `idle_s`.
        """
        return await self._wait(
            lambda: self.closed or len(self._ended) == len(STREAMS), total_s, idle_s
        )

    async def ended(self, total_s: float) -> bool:
        """Wait for the end of the stream; whether it came within `total_s`."""
        return await self._wait(lambda: self.closed, total_s, total_s)

    async def _wait(self, done: Callable[[], bool], total_s: float, idle_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + total_s
        while not done():
            self._changed.clear()
            try:
                async with asyncio.timeout(min(idle_s, end - loop.time())):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True

    def take(self) -> list[str]:
        """The lines of this activation so far, the unfinished ones included."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for number, partial in self._partial.items():
            if partial and not self._truncated:
                self._store(number, bytes(partial), stamp)
            partial.clear()
        lines = self._lines.decode("utf-8", "replace").split("\n")[:-1]
        self._lines.clear()
        if self._truncated and self._limit:
            lines.append(line(truncated(self._limit)))
        self.begin(0)  # what comes before the next activation belongs to none
        return lines

    def _take(self, number: int, piece: bytes, stamp: str) -> None:
        partial = self._partial[number]
        if self._truncated:
            self._skip(number, piece)
            return
        partial += piece
        if b"\n" in piece:
            *whole, rest = bytes(partial).split(b"\n")
            partial[:] = rest
            for text in whole:
                if text.endswith(SENTINEL):
                    self._end(number)
                    text = text[: -len(SENTINEL)]
                    if not text:
                        continue
                self._store(number, text, stamp)
        if len(partial) > self._limit:
            self._truncate()

    def _skip(self, number: int, piece: bytes) -> None:
        """Look for the sentinel only, without taking lines apart."""
        partial = self._partial[number]
        if SENTINEL + b"\n" in bytes(partial) + piece:
            self._end(number)
        partial += piece
        del partial[: -len(SENTINEL)]

    def _end(self, number: int) -> None:
        self._ended.add(number)
        self.has_sentinel = True

    def _store(self, number: int, text: bytes, stamp: str) -> None:
        if self._truncated:
            return
        entry = f"{stamp:<30} {STREAMS[number]}: ".encode() + text + b"\n"
        if len(self._lines) + len(entry) > self._limit:
            self._truncate()
        else:
            self._lines += entry

    def _truncate(self) -> None:
        self._truncated = True
        for partial in self._partial.values():
            del partial[: -len(SENTINEL)]
