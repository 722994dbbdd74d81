"""HTTP/1.1 in a few lines over asyncio streams: what the edge, the sample app and the users need, no more.

Messages are read whole and bounded: heads to 16 KiB, bodies to 1 MiB. No chunked bodies, no upgrades. It exists because
a machine must start in a blink (0.1 s of CPU) and a proxied request must cost little (0.35 ms beside the kernel's).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 1024 * 1024
FIELDS_MAX = 100
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
REASONS = {status.value: status.phrase for status in HTTPStatus}

Headers = Sequence[tuple[str, str]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class BadMessageError(Exception):
    """The peer sent something that is not an HTTP message within our bounds. ``status`` is the fitting answer."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole. Header names are lower case."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    keep_alive: bool = False

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's pairs, decoded; none where there are more than 100."""
        return _fields(self.target.partition("?")[2])

    @property
    def form(self) -> list[tuple[str, str]]:
        """The body's pairs as a form sends them; none where there are more than 100."""
        return _fields(self.body.decode("utf-8", "replace"))

    def header(self, name: str) -> str | None:
        """The first value of a header; ``name`` in lower case."""
        return first(self.headers, name)

    def encode(self) -> bytes:
        """The request on the wire."""
        ends = "connection: keep-alive" if self.keep_alive else "connection: close"
        lines = [f"{self.method} {self.target} HTTP/1.1", *_lines(self.headers), ends]
        if self.body:
            lines.append(f"content-length: {len(self.body)}")
        return _head(lines) + self.body


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, whole. Header names are lower case; the length header is added when it is encoded."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    def header(self, name: str) -> str | None:
        """The first value of a header; ``name`` in lower case."""
        return first(self.headers, name)

    def encode(self, *, keep_alive: bool, with_body: bool = True, extra: Headers = ()) -> bytes:
        """The answer on the wire. ``with_body`` is false for HEAD."""
        lines = [
            f"HTTP/1.1 {self.status} {REASONS.get(self.status, '')}",
            *_lines(self.headers),
            *_lines(extra),
            f"content-length: {len(self.body)}",
            "connection: keep-alive" if keep_alive else "connection: close",
        ]
        return _head(lines) + (self.body if with_body else b"")


def first(headers: Headers, name: str) -> str | None:
    """The first value of the header called ``name`` (lower case), or None."""
    return next((value for key, value in headers if key == name), None)


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        return []


def _lines(headers: Headers) -> list[str]:
    return [f"{name}: {value}" for name, value in headers if name not in HOP_BY_HOP and name != "content-length"]


def _head(lines: list[str]) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]] | None:
    """The start line and headers of the next message, or None where the peer ended the connection before one."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as cut:
        if not cut.partial:
            return None
        raise BadMessageError("cut off in its head") from cut
    except asyncio.LimitOverrunError as long:
        raise BadMessageError(f"its head is above {HEAD_BYTES_MAX} bytes", 431) from long
    start, *lines = raw[:-4].decode("latin-1").split("\r\n")
    if any("\n" in line or "\r" in line for line in (start, *lines)):
        raise BadMessageError("a bare line end in its head")  # others might read a second header out of it
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadMessageError("a header line is malformed")
        headers.append((name.lower(), value.strip()))
    return start, headers


async def _read_body(reader: asyncio.StreamReader, headers: Headers, *, to_the_end: bool) -> bytes:
    """The body a head announces. Without a length: empty, or all up to the end of the connection."""
    if first(headers, "transfer-encoding") is not None:
        raise BadMessageError("bodies need a content-length here", 411)
    length = first(headers, "content-length")
    if length is None:
        body = await reader.read(BODY_BYTES_MAX + 1) if to_the_end else b""
        while to_the_end and len(body) <= BODY_BYTES_MAX and (more := await reader.read(BODY_BYTES_MAX + 1)):
            body += more
    else:
        if not length.isascii() or not length.isdigit():
            raise BadMessageError("the content-length is no number")
        if len(length) > 9 or int(length) > BODY_BYTES_MAX:
            raise BadMessageError(f"a body above {BODY_BYTES_MAX} bytes", 413)
        try:
            body = await reader.readexactly(int(length))
        except asyncio.IncompleteReadError as cut:
            raise BadMessageError("cut off in its body") from cut
    if len(body) > BODY_BYTES_MAX:
        raise BadMessageError(f"a body above {BODY_BYTES_MAX} bytes", 413)
    return body


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None at the end of the connection. Raises BadMessageError, OSError."""
    head = await _read_head(reader)
    if head is None:
        return None
    start, headers = head
    match start.split(" "):
        case [method, target, ("HTTP/1.1" | "HTTP/1.0") as version] if method.isalpha() and target.startswith("/"):
            pass
        case _:
            raise BadMessageError("no HTTP/1 request line")
    wanted = (first(headers, "connection") or "").lower()
    keep_alive = wanted == "keep-alive" if version == "HTTP/1.0" else wanted != "close"
    return Request(method, target, headers, await _read_body(reader, headers, to_the_end=False), keep_alive)


async def read_response(reader: asyncio.StreamReader, method: str = "GET") -> Response:
    """The answer to a request. Raises BadMessageError (also where the connection ended before it), OSError."""
    head = await _read_head(reader)
    if head is None:
        raise BadMessageError("the connection ended without an answer")
    start, headers = head
    version, _, rest = start.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or not code.isdigit() or not 200 <= int(code) <= 599:
        raise BadMessageError("no HTTP/1 status line")
    status = int(code)
    bodiless = method == "HEAD" or status in (204, 304)
    body = b"" if bodiless else await _read_body(reader, headers, to_the_end=True)
    return Response(status, body, headers)


async def connect(host: str, port: int) -> Streams:
    """A new connection, bounded like all our reads. Raises OSError."""
    return await asyncio.open_connection(host, port, limit=HEAD_BYTES_MAX)


async def exchange(streams: Streams, request: Request) -> Response:
    """Send a request, read its answer; the connection stays open. Raises BadMessageError, OSError."""
    reader, writer = streams
    writer.write(request.encode())
    await writer.drain()
    return await read_response(reader, request.method)


async def fetch(host: str, port: int, request: Request, timeout_s: float) -> Response:
    """Connect, ask, read, within ``timeout_s`` in all. Raises TimeoutError, BadMessageError, OSError."""
    async with asyncio.timeout(timeout_s):
        streams = await connect(host, port)
        try:
            return await exchange(streams, request)
        finally:
            streams[1].close()
