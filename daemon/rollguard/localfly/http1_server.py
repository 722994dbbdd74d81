"""An HTTP/1.1 server over asyncio streams that can be drained without losing a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rollguard.localfly.http1 import HEAD_BYTES_MAX, BadMessageError, Headers, Request, Response, read_request

IDLE_S_MAX = 75.0
CONNECTIONS_MAX = 2000
BACKLOG = 512

Answer = Callable[[Request], Awaitable[Response]]

log = logging.getLogger(__name__)


class HangUpError(Exception):
    """Raised by who answers: cut the connection instead."""


class _Connection:
    """One client's connection: its writer, and whether closing it now would lose a request."""

    __slots__ = ("between_requests", "writer")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.between_requests = False  # a fresh one is not: its first request may be on the way


class Server:
    """Answers requests on one address until drained. ``headers`` go on every answer, errors included."""

    def __init__(self, answer: Answer, headers: Headers = ()) -> None:
        self._answer = answer
        self._headers = headers
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._draining = False

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port (chosen by the system where ``port`` is 0). Raises OSError."""
        self._listener = await asyncio.start_server(self._serve, host, port, limit=HEAD_BYTES_MAX, backlog=BACKLOG)
        return int(self._listener.sockets[0].getsockname()[1])

    async def drain(self, timeout_s: float) -> None:
        """Stop listening, let requests in flight finish for at most ``timeout_s``, then cut what is left."""
        self._draining = True
        if self._listener is not None:
            await asyncio.sleep(0)  # connections the kernel has already taken are ours to answer
            self._listener.close()
        for connection in self._connections.values():
            if connection.between_requests:
                connection.writer.close()
        if tasks := set(self._connections):
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._connections[task] = connection = _Connection(writer)
        try:
            while await self._serve_one(reader, connection):
                connection.between_requests = True
        except (OSError, TimeoutError):
            pass  # the client went away or fell silent; there is nobody to tell
        except asyncio.CancelledError:
            writer.transport.abort()  # only `drain` cancels, at its deadline: this is the end of the task anyway
        finally:
            writer.close()
            del self._connections[task]

    async def _serve_one(self, reader: asyncio.StreamReader, connection: _Connection) -> bool:
        """Answer the next request; true if the connection may carry another."""
        try:
            async with asyncio.timeout(IDLE_S_MAX):
                request = await read_request(reader)
        except BadMessageError as bad:
            refusal = Response(bad.status, f"{bad}\n".encode(), [("content-type", "text/plain")])
            connection.writer.write(refusal.encode(keep_alive=False, extra=self._headers))
            await connection.writer.drain()
            return False
        if request is None:
            return False
        connection.between_requests = False
        try:
            response = await self._answer(request)
        except HangUpError:
            connection.writer.transport.abort()
            return False
        except Exception:
            log.exception("the answer to %s failed", request.path[:200])
            response = Response(500, b"Internal Server Error\n", [("content-type", "text/plain")])
        keep_alive = request.keep_alive and not self._draining
        with_body = request.method != "HEAD"
        connection.writer.write(response.encode(keep_alive=keep_alive, with_body=with_body, extra=self._headers))
        await connection.writer.drain()
        return keep_alive
