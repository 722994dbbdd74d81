"""The platform over real sockets: answers that are lost, and clients that hang up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rollguard.localfly.apps import App, AppSpec
from rollguard.localfly.platform import Platform
from tests.localfly.running import PATIENCE_S, eventually
from tests.localfly.simulated import APP, GOOD, NEXT, TOKENS, at, first

HEADERS = {"authorization": "Bearer guard-token"}


@dataclass(frozen=True, slots=True)
class Served:
    """A platform that listens. Its machines never boot: nobody runs them."""

    platform: Platform
    app: App
    url: str
    http: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> int:
        async with self.http.request(method, self.url + path, json=body, headers=HEADERS) as response:
            await response.read()
            return response.status


@asynccontextmanager
async def served(*, rate_limits: bool = True) -> AsyncIterator[Served]:
    platform = Platform(seed=0, rate_limits=rate_limits)
    for image in (GOOD, NEXT):
        platform.world.images.push(image)
    app = platform.world.create_app(AppSpec(name=APP, machines=1, image=GOOD.ref, tokens=TOKENS), time.time())
    runner = platform.runner()
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as http:
            yield Served(platform, app, f"http://127.0.0.1:{runner.addresses[0][1]}", http)
    finally:
        await runner.cleanup()


def waiting() -> int:
    """How many requests the platform keeps waiting now."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return sum("RequestHandler" in name and "start" in name for name in names)


@pytest.mark.parametrize("name, rows", [("lost", 2), ("lost-before", 1)])
async def test_a_lost_answer_is_a_cut_connection_whatever_became_of_the_request(name: str, rows: int) -> None:
    async with served() as local:
        assert await local.ask("POST", "/local/v1/faults", {"release_create": name, "times": 1}) == 200
        row = {"app_name": APP, "definition": {"app": APP}, "image": NEXT.ref}
        with pytest.raises(aiohttp.ClientConnectionError):
            await local.ask("POST", "/api/v1/releases", row)
        assert len(local.app.releases) == rows
        assert await local.ask("POST", "/api/v1/releases", row) == 201


async def test_waits_whose_clients_hang_up_leave_nothing_behind() -> None:
    async with served(rate_limits=False) as local:
        wait = at(first(local.app), "/wait?state=stopped&timeout=60")
        waits = [asyncio.create_task(local.ask("GET", wait)) for _ in range(20)]
        await eventually(lambda: waiting() == 20)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        await eventually(lambda: waiting() == 0)
        assert await local.ask("GET", f"/v1/apps/{APP}/machines") == 200


@pytest.mark.parametrize("rate_limits, statuses", [(True, {200, 429}), (False, {200})])
async def test_rate_limits_are_in_force_unless_they_are_switched_off(rate_limits: bool, statuses: set[int]) -> None:
    async with served(rate_limits=rate_limits) as local:
        assert {await local.ask("GET", f"/v1/apps/{APP}/machines") for _ in range(8)} == statuses
