"""The one HTTP client: bounded in time, in size and in number, and honest about what went wrong.

Every message starts with the cause, then ``: ``, then the request without its query: ``timeout after 4s: GET h/p``.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from yarl import URL

from rollguard import __version__
from rollguard.errors import BadAnswer, Conflict, GuardError, Refused, Unavailable
from rollguard.ports import HttpAnswer

USER_AGENT = f"rollguard/{__version__}"
CONNECTIONS_MAX = 64
RETRY_AFTER_S_MAX = 3600.0
_GZIP = 31  # zlib's code for "a gzip header, and nothing else"
_GZIP_BYTES = 1 << 12  # what packing may add to a body that cannot be packed


class TooLarge(BadAnswer):
    """The answer is larger than was allowed; ``answer`` holds its status, headers and first bytes."""

    def __init__(self, message: str, answer: HttpAnswer) -> None:
        super().__init__(message)
        self.answer = answer


class Saturated(Unavailable):
    """Nothing was sent: no connection of our own became free in time. It says nothing about the other side."""

    sent = False


class AiohttpTransport:
    """``ports.Transport`` over one aiohttp session, opened at the first request.

    Connections are kept alive; redirects, cookies, proxies from the environment and ``netrc`` are not followed. The
    time limit covers everything from waiting for a free connection to the last byte of the body. ``max_bytes``
    counts the body after decompression; a packed one that is longer, yet unpacks to less, is too large as well.
    """

    def __init__(self, connections: int = CONNECTIONS_MAX) -> None:
        self._connections = connections
        self._slots = asyncio.Semaphore(connections)
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        """As ``ports.Transport`` promises; ``TooLarge`` and ``Saturated`` are the finer cases of its errors."""
        what, sent = f"{method} {place(url)}", False
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                sent = True
                return await self._exchange(method, url, headers or {}, body, max_bytes, what)
        except TimeoutError:
            if not sent:
                raise Saturated(f"the guard had no free connection within {timeout_s:g}s: {what}") from None
            raise Unavailable(f"timeout after {timeout_s:g}s: {what}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error, what) from None  # the original may show the query

    async def close(self) -> None:
        """Close every connection. The next request would open a new session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int, what: str
    ) -> HttpAnswer:
        async with self._open().request(method, url, headers=headers, data=body, allow_redirects=False) as response:
            head = {name.lower(): value for name, value in response.headers.items()}
            if cookies := response.headers.getall("Set-Cookie", ()):
                head["set-cookie"] = "\n".join(cookies)
            what = traced(what, head)
            try:
                content, whole = await _read(response, max_bytes, what)
            except zlib.error:
                raise BadAnswer(f"gzip body damaged: {what}") from None
            answer = HttpAnswer(response.status, head, content)
            if not whole:
                response.close()
                raise TooLarge(f"more than {max_bytes} bytes: {what}", answer)
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # we unpack ourselves, with a limit
                trust_env=False,
                read_bufsize=1 << 16,
                max_headers=100,
            )
        return self._session


async def _read(response: aiohttp.ClientResponse, max_bytes: int, what: str) -> tuple[bytes, bool]:
    """The body, unpacked, and whether that is all of it; never more than ``max_bytes``."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip", ""}:
        raise BadAnswer(f"unknown content encoding {excerpt(coding, 40)}: {what}")
    unpack = zlib.decompressobj(_GZIP) if "gzip" in coding else None
    body, came = bytearray(), 0
    async for chunk in response.content.iter_any():
        came += len(chunk)
        body += unpack.decompress(chunk, max_bytes + 1 - len(body)) if unpack else chunk
        if len(body) > max_bytes or came > max_bytes + _GZIP_BYTES:
            return bytes(body[:max_bytes]), False
        if unpack and unpack.unused_data:
            raise BadAnswer(f"more behind the end of a gzip body: {what}")
    if unpack and came and not unpack.eof:
        raise BadAnswer(f"gzip body cut short: {what}")
    return bytes(body), True


_SENTENCES: tuple[tuple[type[Exception], type[Unavailable], str], ...] = (  # the first that fits
    (aiohttp.ClientConnectorDNSError, Unavailable, "host name not resolved"),
    (aiohttp.ClientSSLError, Unavailable, "TLS failed"),
    (aiohttp.ClientConnectorError, Unavailable, "cannot connect"),
    (aiohttp.ServerDisconnectedError, Unavailable, "connection closed without an answer"),
    (aiohttp.ClientPayloadError, Unavailable, "answer cut short"),
    (aiohttp.ClientResponseError, BadAnswer, "not a proper HTTP answer"),
    (aiohttp.InvalidURL, BadAnswer, "not a usable address"),
    (OSError, Unavailable, "connection lost"),
    (Exception, BadAnswer, "not a usable request or answer"),
)


def _translated(error: Exception, what: str) -> Unavailable:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    reason = os.strerror(cause.errno).lower() if isinstance(cause, OSError) and cause.errno and cause.errno > 0 else ""
    kind, sentence = next((kind, words) for known, kind, words in _SENTENCES if isinstance(error, known))
    return kind(f"{reason if kind is Unavailable and reason else sentence}: {what}")


def place(url: str) -> str:
    """Host and path of an address: the query and credentials may be secret, and are never shown."""
    try:
        parsed = URL(url)
        port = "" if parsed.is_default_port() or parsed.port is None else f":{parsed.port}"
        return excerpt(f"{parsed.host or ''}{port}{parsed.path}", 200)
    except ValueError:
        return "an unreadable address"


def excerpt(text: str, limit: int = 200) -> str:
    """At most ``limit`` characters of foreign text on one line, without control or invisible characters."""
    if len(text) <= limit and text.isascii() and text.isprintable() and "  " not in text and text == text.strip():
        return text  # nearly all there is
    printable = "".join(char if char.isprintable() else " " for char in text[: limit * 4])
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


_RETRY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_CONFLICT = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})
_REFUSED = frozenset({400, 401, 403, 404, 410, 422})


def status_error(answer: HttpAnswer, request: str, said: str = "") -> GuardError:
    """The error that an unwelcome status stands for, by what the catcher should do.

    ``request`` is e.g. ``POST /v1/…``; ``said`` the server's own error text, which is bounded and escaped here.
    """
    message = traced(f"HTTP {answer.status}: {request}" + (f": {excerpt(said)}" if said else ""), answer.headers)
    if answer.status in _RETRY or answer.status >= 500:
        return Unavailable(message, retry_after_s=retry_after_s(answer.headers))
    if answer.status in _CONFLICT:
        return Conflict(message)
    return Refused(message) if answer.status in _REFUSED else BadAnswer(message)


def traced(words: str, headers: Mapping[str, str]) -> str:
    """The words, with the request ID that Fly gave the answer, if any: what its support asks for."""
    request_id = excerpt(headers.get("fly-request-id", ""), 80)
    return f"{words} (fly-request-id {request_id})" if request_id else words


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a ``Retry-After`` header, also where it is a date; at most an hour; None where there is none."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:9]), RETRY_AFTER_S_MAX)
    at = _http_date(value)
    return None if at is None else min(max(at - server_now(headers), 0.0), RETRY_AFTER_S_MAX)


def server_now(headers: Mapping[str, str]) -> float:
    """The instant of an answer by the server's own clock, which its dates are meant by; ours where it says none."""
    at = _http_date(headers.get("date", ""))
    return time.time() if at is None else at


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text[:60]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
