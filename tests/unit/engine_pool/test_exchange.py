"""One request over one connection, against servers that answer well, badly and not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from orrery.engine import exchange
from orrery.engine.exchange import LostError, RefusedError
from orrery.engine.protocol import MAX_RESPONSE_BYTES, Answer
from tests.unit.engine_pool.fake_workers import until

LOOPS = pytest.mark.parametrize("loop_run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def ask(reply: bytes | None, *, timeout_s: float = 10) -> tuple[Answer, bytes]:
    """Send one /run to a server that reads it, replies these bytes and closes (None: hangs)."""
    request = b""
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal request
        request = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)
        if reply is None:
            await reader.read()
        else:
            writer.write(reply)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        return await exchange.run("127.0.0.1", b"{}", timeout_s=timeout_s, port=port), request
    finally:
        await closed.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # the loop tells both sides that the connection is closed
        server.close()
        await server.wait_closed()


@LOOPS
def test_an_answer_with_a_length(loop_run: Callable[..., tuple[Answer, bytes]]) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b'{"a": 1}\n'
    answer, request = loop_run(ask(reply))
    assert answer == Answer(200, b'{"a": 1}\n', 9)
    head = request.decode().split("\r\n")
    assert head[0] == "POST /run HTTP/1.1"
    assert "Accept: application/json" in head
    assert "Connection: close" in head


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.0 400 No\r\n\r\noops",
        b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\noops\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 No\r\nContent-Length: 4\r\n\r\noops",
    ],
)
def test_other_forms_of_an_answer_are_understood(reply: bytes) -> None:
    assert asyncio.run(ask(reply))[0] == Answer(400, b"oops", 4)


@pytest.mark.parametrize("with_length", [True, False])
def test_a_huge_answer_is_kept_to_the_limit(with_length: bool) -> None:
    size = 3 * MAX_RESPONSE_BYTES
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n" % size if with_length else b"")
    answer = asyncio.run(ask(head + b"\r\n" + b"z" * size))[0]
    assert len(answer.body) == MAX_RESPONSE_BYTES
    assert answer.length == size if with_length else answer.length > MAX_RESPONSE_BYTES


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"garbage\r\n\r\n"],
)
def test_an_end_before_the_answer_is_a_lost_connection(reply: bytes) -> None:
    with pytest.raises(LostError):
        asyncio.run(ask(reply))


def test_no_answer_is_a_timeout_and_the_connection_is_closed() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(ask(None, timeout_s=0.05))


@pytest.fixture
def closed_port() -> Iterator[socket.socket]:
    """A port that is ours and on which nobody listens yet."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


def number(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_nobody_there_is_a_refusal(closed_port: socket.socket) -> None:
    with pytest.raises(RefusedError):
        asyncio.run(exchange.run("127.0.0.1", b"{}", timeout_s=10, port=number(closed_port)))


def test_init_tries_until_the_container_listens(closed_port: socket.socket) -> None:
    async def main() -> Answer:
        refusals = 0

        def alive() -> bool:
            nonlocal refusals
            refusals += 1
            return True

        asking = asyncio.create_task(
            exchange.init("127.0.0.1", b"{}", timeout_s=20, alive=alive, port=number(closed_port))
        )
        await until(lambda: refusals >= 3)

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
            writer.close()

        async with await asyncio.start_server(talk, sock=closed_port):
            return await asking

    assert asyncio.run(main()) == Answer(200, b"OK", 2)


def test_init_gives_up_when_the_container_ended(closed_port: socket.socket) -> None:
    async def main() -> None:
        await exchange.init(
            "127.0.0.1", b"{}", timeout_s=20, alive=lambda: False, port=number(closed_port)
        )

    with pytest.raises(RefusedError):
        asyncio.run(main())


def test_init_ends_at_the_time_limit(closed_port: socket.socket) -> None:
    async def main() -> None:
        await exchange.init(
            "127.0.0.1", b"{}", timeout_s=0.1, alive=lambda: True, port=number(closed_port)
        )

    with pytest.raises(TimeoutError):
        asyncio.run(main())
