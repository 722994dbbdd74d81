"""One machine's app: its endpoints, the faults of its image, and how its process lives and dies."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from typing import Any

import pytest

from rollguard.localfly.hotdash import HotDash, dies_after
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.images import Behaviour, Image
from tests.localfly.running import IMAGE_REF, PATIENCE_S, get, machine_args, running

PAGES = ("/", "/products", "/api/products", "/login")
PROBES = ("/health", "/api/monitoring/health", "/api/monitoring/dashboard", "/metrics")


class Instant:
    """An app whose time stands still unless its pages take some."""

    def __init__(self, **behaviour: Any) -> None:
        self.now = 1_761_220_800.0
        self.app = HotDash(
            Behaviour(**behaviour),
            secret="shop",
            dice=random.Random(1),
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        self.slept_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    async def get(self, target: str, method: str = "GET", body: bytes = b"", cookie: str = "") -> Response:
        return await self.app.answer(Request(method, target, [("cookie", cookie)] if cookie else [], body))


async def statuses(app: Instant, path: str, times: int = 1000) -> list[int]:
    return [(await app.get(path)).status for _ in range(times)]


async def test_probes_answer_at_once_and_are_never_cached_but_the_dashboard_is() -> None:
    app = Instant(added_latency_s=5.0)
    answers = {path: await app.get(path) for path in PROBES}
    assert {answer.status for answer in answers.values()} == {200}
    assert app.slept_s == []
    assert answers["/api/monitoring/health"].header("cache-control") == "no-cache, no-store, must-revalidate"
    assert answers["/api/monitoring/dashboard"].header("cache-control") == "public, max-age=60"


@pytest.mark.parametrize("path", PAGES)
async def test_the_error_share_falls_on_pages_and_apis(path: str) -> None:
    errors = (await statuses(Instant(error_share=0.3), path)).count(500)
    assert 250 < errors < 350


async def test_500s_grow_the_error_total_while_every_check_stays_green() -> None:
    app = Instant(error_share=1.0)
    assert set(await statuses(app, "/", 50)) == {500}
    assert (await app.get("/health")).status == 200
    health = await app.get("/api/monitoring/health")
    assert health.status == 200
    assert json.loads(health.body)["metrics"]["errors"] == {"total": 50, "critical": 0}


async def test_latency_is_log_normal_around_its_median_and_the_image_adds_to_it() -> None:
    app = Instant(latency_s=0.12, added_latency_s=1.0)
    await statuses(app, "/")
    ordered = sorted(app.slept_s)
    assert ordered[0] > 1.0
    assert 1.11 < ordered[500] < 1.13
    assert 1.24 < ordered[950] < 1.31  # 0.12 * exp(0.5 * 1.645) = 0.273


async def test_one_broken_page_always_fails_and_no_other() -> None:
    app = Instant(broken_page="/dashboard")
    assert (await app.get("/dashboard")).status == 500
    assert [(await app.get(path)).status for path in PAGES] == [200] * len(PAGES)


async def test_a_broken_monitoring_handler_fails_in_its_own_shape() -> None:
    health = await Instant(broken_page="/api/monitoring/health").get("/api/monitoring/health")
    assert (health.status, json.loads(health.body)["metrics"]["uptime"]) == (503, {"overall": 0})
    dashboard = await Instant(broken_page="/api/monitoring/dashboard").get("/api/monitoring/dashboard")
    assert (dashboard.status, json.loads(dashboard.body)["success"]) == (500, False)


async def test_health_can_fail_alone() -> None:
    app = Instant(health_fails=True)
    assert [(await app.get(path)).status for path in ("/health", "/", "/api/monitoring/health")] == [500, 200, 200]


async def test_only_a_session_sees_the_dashboard() -> None:
    app = Instant()
    stranger = await app.get("/dashboard")
    assert (stranger.status, stranger.header("location")) == (302, "/login")
    signed_in = await app.get("/login", "POST", b"email=a%40b.example&password=x")
    assert (signed_in.status, signed_in.header("location")) == (302, "/dashboard")
    cookie = (signed_in.header("set-cookie") or "").partition(";")[0]
    assert (await app.get("/dashboard", cookie=cookie)).status == 200
    assert (await Instant().get("/dashboard", cookie=cookie)).status == 200  # another machine knows it too


@pytest.mark.parametrize("cookie", ["hotdash_session=61.00", "hotdash_session=", "a=b", '"', "hotdash_session=é.é"])
async def test_a_made_up_session_is_no_session(cookie: str) -> None:
    assert (await Instant().get("/dashboard", cookie=cookie)).status == 302


@pytest.mark.parametrize("form", [b"", b"email=a", b"email=&password=x", b"\xff\xff", b"&" * 1000])
async def test_a_form_without_credentials_is_refused(form: bytes) -> None:
    assert (await Instant().get("/login", "POST", form)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("PUT", "/", 405), ("POST", "/health", 405)]
)
async def test_what_does_not_exist_is_refused(method: str, path: str, status: int) -> None:
    assert (await Instant().get(path, method)).status == status


async def test_its_own_metrics_count_what_users_asked_for_and_no_probe() -> None:
    app = Instant(broken_page="/products")
    for path in ("/", "/", "/products", *PROBES, "/health"):
        await app.get(path)
    text = (await app.get("/metrics")).body.decode()
    assert 'http_requests_total{status="200"} 2\n' in text
    assert 'http_requests_total{status="500"} 1\n' in text
    assert 'http_request_duration_seconds_bucket{status="200",le="+Inf"} 2\n' in text


async def test_a_leak_shows_in_memory_before_it_kills() -> None:
    app = Instant(leak_mb_per_s=2.0, memory_mb=128.0)
    app.now += 10
    assert "process_resident_memory_bytes 84000000\n" in (await app.get("/metrics")).body.decode()
    assert dies_after(Behaviour(leak_mb_per_s=2.0, memory_mb=128.0)) == (32.0, 137)
    assert dies_after(Behaviour(leak_mb_per_s=2.0, memory_mb=128.0, crash_after_s=5.0)) == (5.0, 1)
    assert dies_after(Behaviour()) is None


# ---- the process


async def test_every_answer_names_its_machine_and_image() -> None:
    behaviour = Behaviour(boots_in_s=0.0, latency_s=0.0)
    async with running("sample_app", *machine_args("m1", behaviour)) as app:
        for path in ("/health", "/", "/nope"):
            answer = await get(app.url, path)
            assert answer.header("x-machine") == "m1"
            assert answer.header("x-image") == Image.build(IMAGE_REF, behaviour).digest


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(Behaviour(boots_in_s=0.0, crash_after_s=0.2), 1), (Behaviour(boots_in_s=0.0, leak_mb_per_s=1000.0), 137)],
)
async def test_it_dies_with_the_exit_code_of_its_fault(behaviour: Behaviour, code: int) -> None:
    async with running("sample_app", *machine_args("m1", behaviour)) as app, asyncio.timeout(PATIENCE_S):
        assert await app.process.wait() == code


async def test_told_to_stop_it_answers_a_while_longer_finishes_and_exits_0() -> None:
    behaviour = Behaviour(boots_in_s=0.0, latency_s=0.0, added_latency_s=1.0)
    async with running("sample_app", *machine_args("m1", behaviour)) as app:
        in_flight = asyncio.create_task(get(app.url, "/"))
        await get(app.url, "/health")
        app.process.send_signal(signal.SIGINT)
        late = await get(app.url, "/health")  # the lame duck
        answer = await in_flight  # takes longer than the lame duck lives
        assert (late.status, answer.status) == (200, 200)
        async with asyncio.timeout(PATIENCE_S):
            assert await app.process.wait() == 0


async def test_an_image_that_does_not_drain_cuts_what_is_in_flight() -> None:
    behaviour = Behaviour(boots_in_s=0.0, latency_s=0.0, added_latency_s=5.0, drains=False)
    async with running("sample_app", *machine_args("m1", behaviour)) as app:
        in_flight = asyncio.create_task(get(app.url, "/"))
        await get(app.url, "/health")  # the page was sent before, so that it is in flight by now
        app.process.send_signal(signal.SIGINT)
        with pytest.raises(Exception, match=r"answer|reset|Connect"):
            await in_flight


async def test_it_does_not_outlive_the_one_who_holds_its_stdin() -> None:
    args = (*machine_args("m1", Behaviour(boots_in_s=0.0)), "--watch-stdin")
    async with running("sample_app", *args, stdin=asyncio.subprocess.PIPE) as app:
        assert app.process.stdin is not None
        app.process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            assert await app.process.wait() == 0
