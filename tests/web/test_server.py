"""What the guard shows over HTTP: metrics, health, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from rollguard.errors import Refused
from rollguard.ports import Vitals
from rollguard.web.health import why_unhealthy, why_unready
from rollguard.web.server import Views, WebServer, parse_listen, taken


@dataclass
class Guard:
    """A guard's views, to be made ill."""

    unhealthy: str | None = None
    unready: str | None = None

    def views(self) -> Views:
        return Views(
            metrics=lambda accept: (f"# for {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"),
            unhealthy=lambda: self.unhealthy,
            unready=lambda: self.unready,
        )


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
async def server(guard: Guard) -> AsyncIterator[WebServer]:
    server = await WebServer.start(guard.views(), "127.0.0.1:0")
    yield server
    await server.close()


@pytest.fixture
async def client(server: WebServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        yield session


async def test_metrics_come_in_the_form_that_is_asked_for(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert await answer.text() == "# for application/openmetrics-text\n"


@pytest.mark.parametrize("path, word", [("/-/healthy", "healthy"), ("/-/ready", "ready")])
async def test_a_well_guard_says_so(client: aiohttp.ClientSession, path: str, word: str) -> None:
    async with client.get(path) as answer:
        assert (answer.status, await answer.text()) == (200, f"rollguard is {word}\n")


async def test_an_ill_guard_says_what_ails_it(client: aiohttp.ClientSession, guard: Guard) -> None:
    guard.unhealthy, guard.unready = "no tick for 90 s", "the platform has not been seen yet"
    for path, detail in (("/-/healthy", guard.unhealthy), ("/-/ready", guard.unready)):
        async with client.get(path) as answer:
            assert (answer.status, answer.content_type) == (503, "application/problem+json")
            assert await answer.json() == {"title": "Service Unavailable", "status": 503, "detail": detail}


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 404),
        ("GET", "/-/", 404),
        ("GET", "/-/reload", 404),
        ("POST", "/-/reload", 404),
        ("POST", "/metrics", 405),
        ("PUT", "/-/ready", 405),
        ("GET", "/<script>", 404),
    ],
)
async def test_nothing_else_is_served_and_nothing_acts(
    client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as answer:
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert answer.headers["Server"] == "rollguard"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        problem = await answer.json()
        assert problem["status"] == status
        assert "is not served here" in problem["detail"]
        assert ("Allow" in answer.headers) is (status == 405)


async def test_a_port_in_use_is_named(server: WebServer, guard: Guard) -> None:
    with pytest.raises(Refused, match=rf"{server.address} is in use: choose another with --listen"):
        await WebServer.start(guard.views(), server.address)


async def test_an_address_that_is_not_ours_is_named(guard: Guard) -> None:
    with pytest.raises(Refused, match=r"192\.0\.2\.1:9464 cannot be listened on"):
        await WebServer.start(guard.views(), "192.0.2.1:9464")


async def test_after_closing_nobody_listens(guard: Guard) -> None:
    server = await WebServer.start(guard.views(), "127.0.0.1:0")
    await server.close()
    host, _, port = server.address.rpartition(":")
    with socket.socket() as knock:
        assert knock.connect_ex((host, int(port))) != 0


@pytest.mark.parametrize(
    "listen, address",
    [
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        (":9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("[::]:80", ("::", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("*:9464", ("*", 9464)),
    ],
)
def test_an_address_without_a_host_is_this_machine_alone(listen: str, address: tuple[str, int]) -> None:
    assert parse_listen(listen) == address


async def test_a_star_is_every_address_of_both_families(guard: Guard) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    assert taken(f"*:{port}") is None
    server = await WebServer.start(guard.views(), f"*:{port}")
    try:
        assert "is in use" in (taken(f"*:{port}") or "")
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=5.0) as knock:
                assert knock.getpeername()[1] == port
    finally:
        await server.close()


@pytest.mark.parametrize("listen", ["", "localhost", "localhost:", "1.2.3.4:65536", "1.2.3.4:-1", "x:٣"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(Refused, match="is no address to listen on"):
        parse_listen(listen)


WELL = Vitals(started_at=100.0, last_tick_at=110.0, last_snapshot_at=109.0)


@pytest.mark.parametrize(
    "vitals, now, why",
    [
        (WELL, 125.0, None),
        (WELL, 125.1, "no tick for 15 s, where one is due every 5 s"),
        (Vitals(started_at=100.0), 115.0, None),
        (Vitals(started_at=100.0), 116.0, "no tick for 16 s, where one is due every 5 s"),
        (Vitals(started_at=100.0, journal_error="disk full"), 101.0, "journal cannot be written: disk full"),
        (Vitals(started_at=100.0, last_tick_at=110.0, reload_error="bad file"), 111.0, None),
    ],
)
def test_a_guard_is_healthy_while_it_ticks_and_writes(vitals: Vitals, now: float, why: str | None) -> None:
    told = why_unhealthy(vitals, now, tick_every_s=5.0)
    assert (told is None) == (why is None)
    assert (why or "") in (told or "")


def test_a_guard_is_ready_once_it_has_seen_the_platform() -> None:
    assert why_unready(WELL) is None
    assert why_unready(Vitals(started_at=1.0)) == "the platform has not been seen yet"
    assert "cannot be written" in (why_unready(Vitals(last_snapshot_at=1.0, journal_error="x")) or "")
