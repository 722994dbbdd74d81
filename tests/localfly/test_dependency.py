"""What an app depends on: how it fails when told to, and how seldom an app asks for it."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from rollguard.localfly.dependency import Dependency
from rollguard.localfly.hotdash import HotDash
from rollguard.localfly.http1 import Request
from rollguard.localfly.http1_server import HangUpError, Server
from rollguard.localfly.images import Behaviour
from rollguard.localfly.needs import FRESH_S, Need, answers

HOME = Request("GET", "/")


def down(how: str) -> Request:
    return Request("POST", "/local/v1/down", (), json.dumps({"how": how}).encode())


UP = Request("POST", "/local/v1/up")


async def test_it_is_up_until_it_is_told_otherwise_and_comes_back() -> None:
    it = Dependency()
    assert (await it.answer(HOME)).status == 200
    assert (await it.answer(Request("POST", "/local/v1/down"))).status == 200
    assert (await it.answer(HOME)).status == 503
    await it.answer(UP)
    assert (await it.answer(HOME)).status == 200


async def test_down_it_can_cut_connections_or_hang_until_it_is_up_again() -> None:
    it = Dependency()
    await it.answer(down("drop"))
    with pytest.raises(HangUpError):
        await it.answer(HOME)
    await it.answer(down("hang"))
    asked = asyncio.create_task(it.answer(HOME))
    await asyncio.sleep(0)
    await it.answer(UP)
    with pytest.raises(HangUpError):
        await asked


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"how": "gently"}', b'{"how": 503}'])
async def test_a_way_to_be_down_that_there_is_not_is_refused(body: bytes) -> None:
    it = Dependency()
    assert (await it.answer(Request("POST", "/local/v1/down", (), body))).status == 422
    assert (await it.answer(HOME)).status == 200


async def test_however_many_pages_need_it_it_is_asked_once_at_a_time_and_then_not_for_a_while() -> None:
    asked: list[str] = []
    now = 0.0

    async def ask(url: str) -> bool:
        asked.append(url)
        await asyncio.sleep(0)
        return True

    need = Need(ask, clock=lambda: now)
    assert await asyncio.gather(*(need.met("http://db:1") for _ in range(50))) == [True] * 50
    now = FRESH_S * 0.99
    assert await need.met("http://db:1")
    assert len(asked) == 1
    now = FRESH_S
    assert await need.met("http://db:1")
    assert len(asked) == 2


async def test_pages_fail_exactly_where_they_read_what_does_not_answer_and_say_so() -> None:
    said: list[str] = []

    async def no_answer(url: str) -> bool:
        return False

    app = HotDash(
        Behaviour(latency_s=0.0, needs="http://127.0.0.1:1/"),
        secret="shop",
        dice=random.Random(1),
        log=said.append,
        need=Need(no_answer),
    )
    paths = ("/", "/login", "/products", "/api/products", "/health", "/api/monitoring/health")
    statuses = {path: (await app.answer(Request("GET", path))).status for path in paths}
    assert [path for path, status in statuses.items() if status == 500] == ["/products", "/api/products"]
    assert set(statuses.values()) == {200, 500}
    assert said[0] == "error: GET /products 500 the database does not answer"


async def test_what_cannot_be_reached_or_fails_does_not_answer() -> None:
    it = Dependency()
    server = Server(it.answer)
    url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}/"
    assert await answers(url)
    for how in ("503", "drop"):
        await it.answer(down(how))
        assert not await answers(url)
    await server.drain(0.0)
    assert not await answers(url)
