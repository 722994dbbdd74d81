"""The proxy as a real process in front of real machines: whom it asks, what it retries, wakes and counts."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from rollguard.localfly.edge import Edge
from rollguard.localfly.edge_counters import Counters
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Answer, Server
from rollguard.localfly.images import Behaviour
from rollguard.localfly.routes import Platform, RouteFollower
from tests.localfly.running import FakePlatform, Running, fake_platform, get, machine_args, running

QUICK = Behaviour(boots_in_s=0.0, latency_s=0.0)


class Town:
    """A platform's table, some machines and the edge in front of them."""

    def __init__(self, platform: FakePlatform, stack: AsyncExitStack) -> None:
        self.platform = platform
        self.stack = stack
        self.edge = ""

    async def machine(self, machine_id: str, behaviour: Behaviour = QUICK, **fields: object) -> Running:
        """A real machine, in the table; the edge may not know yet."""
        app = await self.stack.enter_async_context(running("sample_app", *machine_args(machine_id, behaviour)))
        self.platform.put(machine_id, address=app.address, **fields)
        return app

    async def get(self, path: str = "/", **headers: str) -> Response:
        return await get(self.edge, path, "GET", b"", **headers)

    async def asked(self, machine_id: str, path: str = "/health") -> Response:
        return await self.get(path, fly_force_instance_id=machine_id)

    async def known(self) -> None:
        """Return once the edge has the newest table."""
        marker = f"marker-{len(self.platform.machines)}"
        self.platform.put(marker, state="stopped", autostart=False)
        await self.until(lambda answer: answer.status == 503, marker)

    async def until(self, condition: Callable[[Response], bool], machine_id: str) -> Response:
        """Ask a machine by name until the edge's view fits."""
        async with asyncio.timeout(10):
            while not condition(answer := await self.asked(machine_id)):
                await asyncio.sleep(0.01)
        return answer

    async def counted(self, match: str) -> dict[str, float]:
        """The samples that a federation selects: series to value."""
        text = (await self.get(f"/prometheus/acme/federate?match[]={match}")).body.decode()
        lines = [line.rsplit(" ", 2) for line in text.splitlines() if not line.startswith("#")]
        return {series: float(value) for series, value, _ in lines}


@asynccontextmanager
async def fake_machine(platform: FakePlatform, behave: Answer) -> AsyncIterator[Edge]:
    """An edge in this process, impatient, in front of one machine that behaves as told."""
    server = Server(behave)
    platform.put("m1", address=f"127.0.0.1:{await server.start('127.0.0.1', 0)}")
    link = Platform(platform.url, "shop")
    follower = RouteFollower(link)
    edge = Edge(link, follower, Counters("shop", "ord"), upstream_s_max=0.2)
    following = asyncio.create_task(follower.run(edge.table_changed))
    assert await follower.heard(5)
    try:
        yield edge
    finally:
        following.cancel()
        await server.drain(0.0)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(fake_platform())
        edge = await stack.enter_async_context(running("edge", "--platform", platform.url, "--app", "shop"))
        town = Town(platform, stack)
        town.edge = edge.url
        yield town


async def test_it_spreads_requests_over_routable_machines_and_says_who_answered(town: Town) -> None:
    await town.machine("m1")
    await town.machine("m2")
    await town.known()
    answers = [await town.get() for _ in range(10)]
    assert {answer.status for answer in answers} == {200}
    machines = [answer.header("x-machine") for answer in answers]
    assert sorted({machine: machines.count(machine) for machine in machines}.items()) == [("m1", 5), ("m2", 5)]


async def test_it_learns_of_a_machine_being_replaced_before_the_machine_is_gone(town: Town) -> None:
    await town.machine("m1")
    await town.machine("m2")
    await town.known()
    town.platform.put("m1", state="replacing")
    await town.until(lambda answer: answer.status == 503, "m1")
    assert {(await town.get()).header("x-machine") for _ in range(6)} == {"m2"}


async def test_only_a_failed_connect_is_tried_once_more_and_elsewhere(town: Town) -> None:
    await town.machine("m2")
    town.platform.put("m1", address="127.0.0.1:1")  # nobody listens there
    await town.until(lambda answer: answer.header("x-edge-error") == "connect", "m1")
    answers = [await town.get() for _ in range(6)]
    assert [(answer.status, answer.header("x-machine")) for answer in answers] == [(200, "m2")] * 6


async def test_a_request_that_a_machine_began_is_never_sent_again(town: Town) -> None:
    dying = await town.machine("m1", Behaviour(boots_in_s=0.0, added_latency_s=5.0, drains=False))
    await town.known()
    in_flight = asyncio.create_task(town.get("/"))
    await town.asked("m1")  # sent after it and answered: by now the other is in flight
    await town.machine("m2")
    await town.known()
    dying.process.send_signal(signal.SIGINT)
    answer = await in_flight
    assert (answer.status, answer.header("x-edge-error"), answer.header("x-machine")) == (502, "reset", "m1")
    assert await town.counted('fly_app_http_responses_count{instance="m1",status="502"}') == {}


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"state": "stopped", "autostart": False}, 503), ({"state": "replacing"}, 503), ({"cordoned": True}, 503)],
)
async def test_a_machine_that_cannot_serve_gets_nothing_even_when_named(
    town: Town, fields: dict[str, object], status: int
) -> None:
    await town.machine("m1")
    await town.machine("m2")
    town.platform.put("m1", **fields)
    answer = await town.until(lambda answer: answer.status != 200, "m1")
    assert (answer.status, answer.header("x-edge-error")) == (status, "no-route")
    assert (await town.get()).header("x-machine") == "m2"
    assert town.platform.wakes == []


async def test_an_unknown_machine_is_a_proxy_error(town: Town) -> None:
    answer = await town.asked("nobody")
    assert (answer.status, answer.header("x-edge-error")) == (502, "no-route")


async def test_with_nobody_there_the_proxy_itself_answers_and_only_the_edge_counts_it(town: Town) -> None:
    answer = await town.get()
    assert (answer.status, answer.header("x-edge-error")) == (503, "no-route")
    assert list((await town.counted("fly_edge_http_responses_count")).values()) == [1]
    assert await town.counted("fly_app_http_responses_count") == {}


async def test_a_probe_by_name_wakes_a_sleeping_machine_and_others_do_not(town: Town) -> None:
    await town.machine("m1")
    await town.machine("m2", state="stopped")
    await town.known()
    assert {(await town.get()).header("x-machine") for _ in range(4)} == {"m1"}
    assert town.platform.wakes == []
    assert (await town.asked("m2")).header("x-machine") == "m2"
    assert town.platform.wakes == ["m2"]


async def test_where_nobody_is_routable_users_wake_one_machine_once(town: Town) -> None:
    for machine_id in ("m1", "m2"):
        await town.machine(machine_id, state="stopped")
    await town.known()
    booted = asyncio.Event()

    def wake(machine_id: str) -> None:
        town.platform.put(machine_id, state="starting", checks="failing")
        booted.set()

    town.platform.on_wake = wake
    waiting = [asyncio.create_task(town.get()) for _ in range(5)]
    await booted.wait()
    town.platform.put("m1", state="started", checks="passing")
    answers = [await each for each in waiting]
    assert [(answer.status, answer.header("x-machine")) for answer in answers] == [(200, "m1")] * 5
    assert town.platform.wakes == ["m1"]


async def test_a_probe_is_counted_like_any_request_and_a_scrape_is_not(town: Town) -> None:
    await town.machine("m1")
    await town.known()
    await town.asked("m1")
    before = await town.counted('fly_app_http_responses_count{instance="m1"}')
    for path in ("/health", "/api/monitoring/health", "/metrics"):
        assert (await town.asked("m1", path)).status == 200
    for path in ("/metrics", "/prometheus/acme/federate?match[]=x"):
        assert (await town.get(path)).status == 200
    after = await town.counted('fly_app_http_responses_count{instance="m1"}')
    assert [after[series] - before[series] for series in before] == [3]
    series = next(iter(after))
    assert all(label in series for label in ('app="shop"', 'region="ord"', 'status="200"'))


async def test_metrics_by_name_are_the_apps_own(town: Town) -> None:
    await town.machine("m1")
    await town.known()
    assert b"process_start_time_seconds" in (await town.asked("m1", "/metrics")).body
    assert b"fly_edge_http_responses_count" in (await town.get("/metrics")).body


@pytest.mark.parametrize("query", ["", "?match[]={", "?" + "match[]=x&" * 21])
async def test_a_federation_without_a_proper_selector_is_refused(town: Town, query: str) -> None:
    assert (await town.get(f"/prometheus/acme/federate{query}")).status == 400


async def test_the_metrics_store_answers_queries_and_fails_as_it_is_told() -> None:
    async def fine(request: Request) -> Response:
        return Response(200)

    async with fake_platform() as platform, fake_machine(platform, fine) as edge:
        await edge.answer(Request("GET", "/"))

        async def query(metric: str) -> Response:
            return await edge.answer(Request("GET", f"/prometheus/acme/api/v1/query?query={metric}"))

        async def tell(body: dict[str, object]) -> int:
            return (await edge.answer(Request("POST", "/local/v1/metrics", [], json.dumps(body).encode()))).status

        async def instances(metric: str) -> list[str]:
            return [each["metric"]["instance"] for each in json.loads((await query(metric)).body)["data"]["result"]]

        assert await instances("fly_instance_up") == await instances("fly_app_http_responses_count") == ["m1"]
        assert (await query("rate(x[1m])")).status == 400
        assert [await tell({"metrics": "odd"}), await tell({"metrics": "empty"})] == [422, 200]
        assert await instances("fly_instance_up") == []
        assert await tell({"metrics": "503", "times": 1}) == 200
        assert (await query("fly_instance_up")).status == 503


async def test_a_machine_cannot_pass_its_own_failure_off_as_the_proxys() -> None:
    async def liar(request: Request) -> Response:
        return Response(500, b"", [("x-edge-error", "no-route"), ("x-machine", "m1")])

    async with fake_platform() as platform, fake_machine(platform, liar) as edge:
        answer = await edge.answer(Request("GET", "/"))
        assert (answer.status, answer.header("x-edge-error"), answer.header("x-machine")) == (500, None, "m1")


async def test_a_machine_that_never_answers_ends_in_a_timeout() -> None:
    async def silent(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async with fake_platform() as platform, fake_machine(platform, silent) as edge:
        answer = await edge.answer(Request("GET", "/"))
        assert (answer.status, answer.header("x-edge-error")) == (504, "timeout")


async def test_while_the_platform_is_silent_the_last_table_stands(town: Town) -> None:
    await town.machine("m1")
    await town.known()

    async def broken(request: Request) -> Response:
        return Response(503)

    town.platform.answer = broken  # type: ignore[method-assign]
    town.platform.put("m1")
    assert (await town.get()).status == 200
