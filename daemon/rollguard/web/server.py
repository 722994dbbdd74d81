"""What the guard shows over HTTP: its metrics and its health. Nothing changes anything, but reports with a token."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from rollguard.errors import Refused
from rollguard.web.problems import problem, problems
from rollguard.web.reports import Reception, routes

DEFAULT_LISTEN = "127.0.0.1:9464"
SHUTDOWN_S = 1.0
SILENCE_S = 75.0
"""A connection on which no whole request begins for so long is closed."""

wire_log = logging.getLogger("rollguard.web.wire")
wire_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
"""Without the tracebacks of what is not HTTP: whoever reaches the port could fill the disk with them."""

Why = Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What is served: ``metrics`` renders for an Accept header; the others say why not, or nothing when all is well."""

    metrics: Callable[[str], tuple[bytes, str]]
    unhealthy: Why
    unready: Why


class WebServer:
    """The running server. ``address`` is where it really listens, ``host:port``."""

    def __init__(self, runner: web.AppRunner, address: str) -> None:
        self._runner = runner
        self.address = address

    @classmethod
    async def start(cls, views: Views, listen: str = DEFAULT_LISTEN, reception: Reception | None = None) -> WebServer:
        """Listen on ``host:port``; see ``parse_listen``. Port 0 is any free one.

        Raises ``Refused`` naming the address when it cannot be had.
        """
        host, port = parse_listen(listen)
        runner = web.AppRunner(
            build(views, reception),
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=SILENCE_S,
            auto_decompress=False,
            logger=wire_log,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, _host(host), port).start()
        except OSError as error:
            await runner.cleanup()
            raise Refused(_why_not(host, port, error)) from error
        bound = runner.addresses[0]
        return cls(runner, f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}")

    async def close(self) -> None:
        """Stop listening; answers under way get a second."""
        await self._runner.cleanup()


def build(views: Views, reception: Reception | None = None) -> web.Application:
    """The application alone, for tests and for other servers."""

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = views.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthy(request: web.Request) -> web.Response:
        return _verdict(views.unhealthy(), "healthy")

    async def ready(request: web.Request) -> web.Response:
        return _verdict(views.unready(), "ready")

    app = web.Application(middlewares=[problems], client_max_size=1024)
    app.add_routes([web.get("/metrics", metrics), web.get("/-/healthy", healthy), web.get("/-/ready", ready)])
    app.add_routes(routes(reception) if reception is not None else [])
    app.on_response_prepare.append(_sign)
    return app


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[::1]:port``. Raises ``Refused``.

    A bare ``port`` or ``:port`` means 127.0.0.1; ``*:port`` means every address of this machine, IPv4 and IPv6.
    """
    host, _, port = listen.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 1 << 16):
        raise Refused(f"{listen!r} is no address to listen on: write host:port, such as {DEFAULT_LISTEN}")
    return host, int(port)


def taken(listen: str) -> str | None:
    """Why this address cannot be had now, or None: asked before anything is made. Raises ``Refused`` for no address."""
    host, port = parse_listen(listen)
    try:
        family, kind, protocol, _, address = _first_of(_host(host), port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return _why_not(host, port, error)
    return None


def _host(host: str) -> str | None:
    """As the socket library wants it: None is every address of every family."""
    return None if host == "*" else host


def _first_of(host: str | None, port: int) -> tuple[int, int, int, str, Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _why_not(host: str, port: int, error: OSError) -> str:
    why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
    return f"{host}:{port} {why}: choose another with --listen"


def _verdict(why_not: str | None, word: str) -> web.Response:
    if why_not is None:
        return web.Response(text=f"rollguard is {word}\n", headers={"Cache-Control": "no-store"})
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, why_not)


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "rollguard"
    response.headers["X-Content-Type-Options"] = "nosniff"
