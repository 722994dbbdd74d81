"""HotDash as the local platform runs it: its endpoints, its pages, and the faults its image brings along."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from itertools import chain
from typing import Any

from rollguard.localfly.counters import ResponseCounter, exposition, gauge
from rollguard.localfly.http1 import Headers, Request, Response
from rollguard.localfly.images import Behaviour
from rollguard.localfly.monitoring import Kind, Monitor, dashboard_failure, health_failure
from rollguard.localfly.needs import Need

LATENCY_SIGMA = 0.5
DATABASE_SHARE = 0.05  # of a page's latency
RESIDENT_MB = 64.0  # a fresh process; the leak comes on top
COOKIE = "hotdash_session"
HTML = ("content-type", "text/html; charset=utf-8")
JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
NEVER_CACHE = ("cache-control", "no-cache, no-store, must-revalidate")
CACHE_A_MINUTE = ("cache-control", "public, max-age=60")
UNEXPECTED = "Unexpected Server Error"
UNREACHABLE = "the database does not answer"
PRODUCTS = (("Trail jacket", 129.0), ("Wool socks", 14.5), ("Camp stove", 58.0))


@dataclass(frozen=True, slots=True)
class Page:
    """One page or API: who may use it and how, and what it does when nothing goes wrong."""

    kind: Kind
    methods: tuple[str, ...]
    reads_database: bool
    show: Callable[[Request], Response]


def resident_mb(behaviour: Behaviour, up_s: float) -> float:
    """The modelled memory of the process; nothing is really allocated."""
    return RESIDENT_MB + behaviour.leak_mb_per_s * up_s


def dies_after(behaviour: Behaviour) -> tuple[float, int] | None:
    """When, in seconds after its start, the process dies by itself, and with which exit code. None: never."""
    ends: list[tuple[float, int]] = []
    if behaviour.crash_after_s is not None:
        ends.append((behaviour.crash_after_s, 1))
    if behaviour.leak_mb_per_s > 0:
        ends.append((max(0.0, behaviour.memory_mb - RESIDENT_MB) / behaviour.leak_mb_per_s, 137))
    return min(ends, default=None)


def start_line(digest: str, instance: str) -> str:
    """What a process says to the log once it serves."""
    return f"info: HotDash serves, image {digest}, version {instance}"


class HotDash:
    """Answers requests as one process of the app. State lives and dies with it."""

    def __init__(
        self,
        behaviour: Behaviour,
        *,
        secret: str,
        dice: random.Random,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        log: Callable[[str], None] = lambda line: None,
        need: Need | None = None,
    ) -> None:
        self._behaviour = behaviour
        self._secret = secret
        self._dice = dice
        self._clock = clock
        self._sleep = sleep
        self._log = log
        self._need = need or Need()
        self._started_at = clock()
        self.monitor = Monitor()
        self._requests = ResponseCounter(
            count="http_requests_total", time="http_request_duration_seconds", labels=("status",)
        )
        self._probes: dict[str, Callable[[Request], Response]] = {
            "/health": self._health,
            "/api/monitoring/health": self._monitoring_health,
            "/api/monitoring/dashboard": self._monitoring_dashboard,
            "/metrics": self._metrics,
        }
        self._pages = {
            "/": Page("route", ("GET",), False, _home),
            "/dashboard": Page("route", ("GET",), True, self._dashboard),
            "/products": Page("route", ("GET",), True, _products_page),
            "/api/products": Page("api", ("GET",), True, _products_api),
            "/login": Page("route", ("GET", "POST"), False, self._login),
        }

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves now."""
        return self._behaviour

    def behave(self, behaviour: Behaviour) -> None:
        """From now on behave so, whatever the image says. What is already being answered may still go the old way."""
        self._behaviour = behaviour

    def failed(self, now: float, request: str, why: str = UNEXPECTED) -> None:
        """Remember a failed page ("GET /products") and log it. Level `error`, not `critical`: checks stay green."""
        self.monitor.failed(now, why, request.partition(" ")[2])
        self._log(f"error: {request} 500 {why}")

    async def answer(self, request: Request) -> Response:
        """Never fails; a fault of the image is an answer too."""
        method = "GET" if request.method == "HEAD" else request.method
        if (probe := self._probes.get(request.path)) is not None:
            return probe(request) if method == "GET" else _problem(405)
        page = self._pages.get(request.path)
        if page is None:
            return _problem(404)
        if method not in page.methods:
            return _problem(405)
        return await self._serve(page, request)

    async def _serve(self, page: Page, request: Request) -> Response:
        """Take the page's time, fail as often as the image does, and remember both."""
        began = time.monotonic()
        latency_s = self._draw_latency_s()
        fails = self._breaks(request.path) or self._dice.random() < self._behaviour.error_share
        await self._sleep(latency_s)
        reads = page.reads_database and await self._database_answers()
        now = self._clock()
        if fails or (page.reads_database and not reads):
            self.failed(now, f"{request.method} {request.path}", UNEXPECTED if fails else UNREACHABLE)
            response = _problem(500)
        else:
            response = page.show(request)
        if reads:
            self.monitor.measured(now, "database", latency_s * DATABASE_SHARE)
            self.monitor.checked("database", "up")
        self.monitor.measured(now, page.kind, latency_s)
        self._requests.observe((str(response.status),), time.monotonic() - began)
        return response

    def _draw_latency_s(self) -> float:
        median_s = self._behaviour.latency_s
        drawn_s = self._dice.lognormvariate(math.log(median_s), LATENCY_SIGMA) if median_s > 0 else 0.0
        return drawn_s + self._behaviour.added_latency_s

    async def _database_answers(self) -> bool:
        url = self._behaviour.needs
        return url is None or await self._need.met(url)

    def _breaks(self, path: str) -> bool:
        return self._behaviour.broken_page == path

    def _health(self, request: Request) -> Response:
        if self._behaviour.health_fails or self._breaks(request.path):
            return _json(500, {"status": "error"}, NEVER_CACHE)
        return _json(200, {"status": "ok"}, NEVER_CACHE)

    def _monitoring_health(self, request: Request) -> Response:
        now = self._clock()
        broken = self._breaks(request.path)
        status, body = health_failure(now, "broken in this image") if broken else self.monitor.health(now)
        return _json(status, body, NEVER_CACHE)

    def _monitoring_dashboard(self, request: Request) -> Response:
        now = self._clock()
        if self._breaks(request.path):
            return _json(*dashboard_failure(now, "broken in this image"))
        return _json(200, self.monitor.dashboard(now, dict(request.query).get("period", "1h")), CACHE_A_MINUTE)

    def _metrics(self, request: Request) -> Response:
        if self._breaks(request.path):
            return _problem(500)
        memory = 1e6 * resident_mb(self._behaviour, self._clock() - self._started_at)
        samples = chain(
            self._requests.samples(),
            gauge("process_resident_memory_bytes", round(memory)),
            gauge("process_start_time_seconds", round(self._started_at, 3)),
        )
        return Response(200, exposition(samples), [TEXT])

    def _login(self, request: Request) -> Response:
        """The form; or, for a filled one, a session. Any e-mail with any password is a customer."""
        if request.method != "POST":
            return _html("Sign in", _FORM)
        form = dict(request.form)
        email, password = form.get("email", ""), form.get("password", "")
        if not email or not password or len(email) > 200:
            return _html("Sign in", "<p>E-mail or password is wrong.</p>" + _FORM, status=401)
        user = email.encode().hex()
        cookie = f"{COOKIE}={user}.{self._sign(user)}; Path=/; HttpOnly; SameSite=Lax"
        return Response(302, b"", [("location", "/dashboard"), ("set-cookie", cookie), NEVER_CACHE])

    def _dashboard(self, request: Request) -> Response:
        if not self._signed_in(request):
            return Response(302, b"", [("location", "/login"), NEVER_CACHE])
        return _html("Dashboard", "<p>Sales today: 3</p>")

    def _signed_in(self, request: Request) -> bool:
        """Whether the session cookie is ours: signed, so that every machine of the app knows it."""
        try:
            morsel = SimpleCookie(request.header("cookie") or "").get(COOKIE)
        except CookieError:
            return False
        user, _, signature = (morsel.value if morsel else "").partition(".")
        return bool(user) and signature == self._sign(user)

    def _sign(self, user: str) -> str:
        key = hashlib.blake2b(self._secret.encode()).digest()
        return hashlib.blake2b(user.encode(), key=key, digest_size=16).hexdigest()


_FORM = (
    '<form method="post" action="/login"><input name="email" type="email" required>'
    '<input name="password" type="password" required><button>Sign in</button></form>'
)


def _home(_: Request) -> Response:
    return _html("HotDash", '<p>Your shop at a glance.</p><a href="/login">Sign in</a>')


def _products_page(_: Request) -> Response:
    rows = "".join(f"<li>{name}: {price:.2f}</li>" for name, price in PRODUCTS)
    return _html("Products", f"<ul>{rows}</ul>")


def _products_api(_: Request) -> Response:
    products = [{"id": n, "title": name, "price": price} for n, (name, price) in enumerate(PRODUCTS, 1)]
    return _json(200, {"products": products})


def _html(title: str, body: str, status: int = 200) -> Response:
    page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{title}</h1>{body}</body></html>"
    return Response(status, page.encode(), [HTML])


def _json(status: int, body: dict[str, Any], *headers: tuple[str, str]) -> Response:
    named: Headers = [JSON, *headers]
    return Response(status, json.dumps(body).encode(), named)


def _problem(status: int) -> Response:
    words = {404: "Not Found", 405: "Method Not Allowed", 500: UNEXPECTED}
    return _html(words[status], "", status)
