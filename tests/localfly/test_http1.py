"""The small HTTP: what is hostile or too big ends in an answer, never in a hang or a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rollguard.localfly.http1 import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    BadMessageError,
    Request,
    Response,
    connect,
    exchange,
    fetch,
    read_response,
)
from rollguard.localfly.http1_server import Server


class Echo:
    """Answers with what it was asked; ``/slow`` waits for a sign; ``/bug`` is one."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = asyncio.Event()
        self.server = Server(self.answer, headers=[("x-machine", "m1")])
        self.port = 0

    async def answer(self, request: Request) -> Response:
        if request.path == "/bug":
            raise RuntimeError("a bug")
        if request.path == "/slow":
            self.waiting.set()
            await self.go_on.wait()
        return Response(200, request.method.encode() + b" " + request.target.encode() + b" " + request.body)

    async def raw(self, message: bytes) -> Response:
        reader, writer = await connect("127.0.0.1", self.port)
        writer.write(message)
        writer.write_eof()
        try:
            async with asyncio.timeout(5):
                return await read_response(reader)
        finally:
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    served = Echo()
    served.port = await served.server.start("127.0.0.1", 0)
    yield served
    await served.server.drain(0.0)


async def test_a_request_goes_there_and_back(echo: Echo) -> None:
    answer = await fetch("127.0.0.1", echo.port, Request("POST", "/a?b=c", [], b"body"), 5)
    assert (answer.status, answer.body, answer.header("x-machine")) == (200, b"POST /a?b=c body", "m1")


async def test_a_connection_carries_many_requests(echo: Echo) -> None:
    streams = await connect("127.0.0.1", echo.port)
    for number in range(3):
        answer = await exchange(streams, Request("GET", f"/{number}", keep_alive=True))
        assert (answer.body, answer.header("connection")) == (f"GET /{number} ".encode(), "keep-alive")
    streams[1].close()


async def test_head_gets_the_length_and_no_body(echo: Echo) -> None:
    answer = await fetch("127.0.0.1", echo.port, Request("HEAD", "/"), 5)
    assert (answer.body, answer.header("content-length")) == (b"", "7")


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: y\nz: injected\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncut", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\ncut", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1), 413),
        (b"POST / HTTP/1.1\r\ncontent-length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"GET /bug HTTP/1.1\r\n\r\n", 500),
    ],
)
async def test_what_is_no_request_within_bounds_is_answered_and_the_connection_ends(
    echo: Echo, message: bytes, status: int
) -> None:
    answer = await echo.raw(message)
    assert (answer.status, answer.header("x-machine")) == (status, "m1")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut",
        b"HTTP/1.1 999 X\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_BYTES_MAX + 1),
    ],
)
async def test_what_is_no_answer_within_bounds_is_an_error(message: bytes) -> None:
    reader = asyncio.StreamReader(limit=HEAD_BYTES_MAX)
    reader.feed_data(message)
    reader.feed_eof()
    with pytest.raises(BadMessageError):
        await read_response(reader)


async def test_draining_finishes_what_is_in_flight_and_takes_nothing_new(echo: Echo) -> None:
    in_flight = asyncio.create_task(fetch("127.0.0.1", echo.port, Request("GET", "/slow", keep_alive=True), 5))
    await echo.waiting.wait()
    draining = asyncio.create_task(echo.server.drain(5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="Connect"):
        await connect("127.0.0.1", echo.port)
    echo.go_on.set()
    answer = await in_flight
    assert (answer.status, answer.header("connection")) == (200, "close")
    await draining


async def test_draining_ends_idle_connections_at_once_and_stuck_ones_at_its_deadline(echo: Echo) -> None:
    idle = await connect("127.0.0.1", echo.port)
    await exchange(idle, Request("GET", "/", keep_alive=True))
    stuck = asyncio.create_task(fetch("127.0.0.1", echo.port, Request("GET", "/slow"), 5))
    await echo.waiting.wait()
    await echo.server.drain(0.05)
    assert await idle[0].read() == b""
    idle[1].close()
    with pytest.raises((OSError, BadMessageError)):
        await stuck
