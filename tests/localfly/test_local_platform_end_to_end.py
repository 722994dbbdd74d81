"""Everything real: platform, machines, edge, users and a deploy. Draining loses nobody; not draining does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from rollguard.localfly.images import Behaviour, Image
from tests.localfly.running import PATIENCE_S, eventually, get, running

CHECK = {"type": "http", "method": "GET", "path": "/health", "interval": "1s", "timeout": "1s", "grace_period": "1s"}
TOKEN, OWNER = "fo1_ci", "ci@example.com"
DEPLOY_S_MAX = 60.0


class Local:
    """A running platform with one app, and an edge in front of it."""

    def __init__(self, stack: AsyncExitStack, out: Path) -> None:
        self._stack = stack
        self._out = out
        self.platform = self.edge = ""

    async def push(self, tag: str, behaviour: Behaviour) -> Image:
        image = Image.build(f"registry.fly.io/shop:deployment-{tag}", behaviour)
        await self._post("/local/v1/images", image.to_json())
        return image

    async def start(self, behaviour: Behaviour, machines: int) -> None:
        self.platform = (await self._stack.enter_async_context(running("platform"))).url
        image = await self.push("OLD", behaviour)
        app = {
            "name": "shop",
            "org": "acme",
            "tokens": {TOKEN: OWNER},
            "checks": [CHECK],
            "floor": 0.75,
            "image": image.ref,
            "machines": machines,
            "region": "ord",
            "group": "app",
        }
        await self._post("/local/v1/apps", app)
        self.edge = (
            await self._stack.enter_async_context(running("edge", "--platform", self.platform, "--app", "shop"))
        ).url
        async with asyncio.timeout(PATIENCE_S):
            while not all(machine["routable"] for machine in (await self.watch())["machines"]):
                await asyncio.sleep(0.05)

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        assert (await get(self.platform, path, "POST", json.dumps(body).encode())).status in (200, 201)

    async def watch(self) -> dict[str, Any]:
        return dict(json.loads((await get(self.platform, "/local/v1/apps/shop/watch")).body))

    async def deploy_under_traffic(self, image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deploy while 40 users a second come; what the deployer said, and what the users saw."""
        args = ("--edge", self.edge, "--rate", "40", "--seed", "1", "--out", str(self._out))
        users = await self._spawn("traffic", *args)
        await eventually(lambda: self._out.exists() and self._out.stat().st_size > 0)
        where = ("--platform", self.platform, "--token", TOKEN, "--app", "shop")
        deployer = await self._spawn("deployer", *where, "--image", image.ref, "--smoke", "0")
        async with asyncio.timeout(DEPLOY_S_MAX):
            said, _ = await deployer.communicate()
            users.send_signal(signal.SIGTERM)
            seen, _ = await users.communicate()
        assert (deployer.returncode, users.returncode) == (0, 0)
        return json.loads(said), json.loads(seen)

    async def _spawn(self, module: str, *args: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", f"rollguard.localfly.{module}", *args)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

        async def gone() -> None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

        self._stack.push_async_callback(gone)
        return process


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    async with AsyncExitStack() as stack:
        yield Local(stack, tmp_path / "users.jsonl")


async def test_a_rolling_deploy_of_draining_machines_loses_no_request(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.2), machines=4)
    new = await local.push("NEW", Behaviour(latency_s=0.2))
    said, seen = await local.deploy_under_traffic(new)
    assert (said["ok"], said["version"]) == (True, 2)
    assert seen["errors"] == {}
    assert seen["failed"] == 0
    assert seen["requests"] > 100
    world = await local.watch()
    assert {machine["digest"] for machine in world["machines"]} == {new.digest}
    assert [(release["version"], release["status"]) for release in world["releases"]] == [
        (2, "complete"),
        (1, "complete"),
    ]
    assert world["floor_violations"] == []
    writes = world["writes"][OWNER]
    assert (writes["lease"], writes["update"], writes["lease_release"]) == (4, 4, 4)


async def test_machines_that_do_not_drain_lose_requests_and_the_users_say_so(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.2, added_latency_s=0.8, drains=False), machines=2)
    said, seen = await local.deploy_under_traffic(await local.push("NEW", Behaviour()))
    assert said["ok"] is True
    assert seen["errors"].get("proxy:reset", 0) > 0


async def test_a_release_whose_answers_fail_stays_green_to_the_platform(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.05), machines=2)
    bad = await local.push("BAD", Behaviour(latency_s=0.05, error_share=1.0))
    said, seen = await local.deploy_under_traffic(bad)
    assert said["ok"] is True
    assert seen["errors"] == {}
    assert seen["by_status"]["500"] > 0
    assert all(machine["routable"] for machine in (await local.watch())["machines"])
