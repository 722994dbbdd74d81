"""What the guard shows over HTTP: its metrics and its health. Nothing here changes anything."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from rollguard.errors import Refused

DEFAULT_LISTEN = "127.0.0.1:9464"
SHUTDOWN_S = 1.0

Why = Callable[[], str | None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    async def start(cls, views: Views, listen: str = DEFAULT_LISTEN) -> WebServer:
        """Listen on ``host:port`` (a bare ``port`` or ``:port`` means 127.0.0.1; port 0 any free one).

        Raises ``Refused`` naming the address when it cannot be had.
        """
        host, port = parse_listen(listen)
        runner = web.AppRunner(build(views), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            await runner.cleanup()
            raise Refused(_why_not(host, port, error)) from error
        bound = runner.addresses[0]
        return cls(runner, f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}")

    async def close(self) -> None:
        """Stop listening; answers under way get a second."""
        await self._runner.cleanup()


def build(views: Views) -> web.Application:
    """The application alone, for tests and for other servers."""

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = views.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthy(request: web.Request) -> web.Response:
        return _verdict(views.unhealthy(), "healthy")

    async def ready(request: web.Request) -> web.Response:
        return _verdict(views.unready(), "ready")

    app = web.Application(middlewares=[_problems], client_max_size=1024)
    app.add_routes([web.get("/metrics", metrics), web.get("/-/healthy", healthy), web.get("/-/ready", ready)])
    app.on_response_prepare.append(_sign)
    return app


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of ``host:port``, ``[::1]:port``, ``:port`` or ``port``. Raises ``Refused``."""
    host, _, port = listen.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 1 << 16):
        raise Refused(f"{listen!r} is no address to listen on: write host:port, such as {DEFAULT_LISTEN}")
    return host, int(port)


def taken(listen: str) -> str | None:
    """Why this address cannot be had now, or None: asked before anything is made. Raises ``Refused`` for no address."""
    host, port = parse_listen(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return _why_not(host, port, error)
    return None


def _why_not(host: str, port: int, error: OSError) -> str:
    why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
    return f"{host}:{port} {why}: choose another with --listen"


def _verdict(why_not: str | None, word: str) -> web.Response:
    if why_not is None:
        return web.Response(text=f"rollguard is {word}\n", headers={"Cache-Control": "no-store"})
    return _problem(HTTPStatus.SERVICE_UNAVAILABLE, why_not)


def _problem(status: HTTPStatus, detail: str) -> web.Response:
    """A problem as JSON (RFC 9457)."""
    return web.json_response(
        {"title": status.phrase, "status": status.value, "detail": detail},
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store"},
    )


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        problem = _problem(HTTPStatus(refusal.status), f"{request.method} {request.path[:200]} is not served here")
        if "Allow" in refusal.headers:
            problem.headers["Allow"] = refusal.headers["Allow"]
        return problem


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "rollguard"
    response.headers["X-Content-Type-Options"] = "nosniff"
