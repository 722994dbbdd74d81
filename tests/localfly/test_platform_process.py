"""The platform as a process, with real machines below it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

DAEMON = Path(__file__).parents[2] / "daemon"
REF = "registry.fly.io/hotdash:deployment-{}"
CHECK = {"type": "http", "path": "/health", "interval": "200ms", "timeout": "1s", "grace_period": "100ms"}
TOKEN = {"authorization": "Bearer guard-token"}
PATIENCE_S = 30.0


class Platform:
    """A running platform process and a client for it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, http: aiohttp.ClientSession) -> None:
        self.process, self.url, self._http = process, url, http

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._http.request(method, self.url + path, json=body, headers=TOKEN) as response:
            text = await response.text()
            assert response.status < 300, text
            return json.loads(text)

    async def watch(self) -> Any:
        return await self.ask("GET", "/local/v1/apps/hotdash/watch")

    async def addresses(self) -> list[str]:
        routes = await self.ask("GET", "/local/v1/apps/hotdash/routes?after=0")
        return [machine["address"] for machine in routes["machines"]]


@contextlib.asynccontextmanager
async def platform(*images: dict[str, Any], machines: int = 2) -> AsyncIterator[Platform]:
    """A platform whose app runs the first of `images`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollguard.localfly.platform", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
    )
    assert process.stdout is not None
    try:
        async with aiohttp.ClientSession() as http:
            ready = json.loads(await process.stdout.readline())
            running = Platform(process, ready["url"], http)
            for image in images:
                await running.ask("POST", "/local/v1/images", image)
            spec = {"name": "hotdash", "tokens": {"guard-token": "guard@example.com"}, "image": images[0]["ref"]}
            await running.ask("POST", "/local/v1/apps", {**spec, "machines": machines, "checks": [CHECK]})
            yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        await asyncio.sleep(0.05)


async def listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_an_update_replaces_a_real_process_and_its_checks_go_green_again() -> None:
    async with platform({"ref": REF.format("GOOD")}, {"ref": REF.format("NEXT")}) as fly:
        old_address = (await fly.addresses())[0]
        machine = (await fly.ask("GET", "/v1/apps/hotdash/machines"))[0]
        path = f"/v1/apps/hotdash/machines/{machine['id']}"
        body = {"config": {**machine["config"], "image": REF.format("NEXT")}}
        instance = (await fly.ask("POST", path, body))["instance_id"]
        await fly.ask("GET", f"{path}/wait?state=started&timeout=30&version={instance}")
        assert not await listens(old_address)

        async def green() -> bool:
            checks = (await fly.ask("GET", path))["checks"]
            return [check["status"] for check in checks] == ["passing"]

        await eventually(green, "checks pass on the new image")
        assert (await fly.watch())["writes"] == {"guard@example.com": {"update": 1}}


async def test_a_crashing_image_leaves_its_exits_on_record() -> None:
    async with platform(
        {"ref": REF.format("GOOD")}, {"ref": REF.format("BAD"), "behaviour": {"crash_after_s": 0.5}}
    ) as fly:
        machine = (await fly.ask("GET", "/v1/apps/hotdash/machines"))[0]
        path = f"/v1/apps/hotdash/machines/{machine['id']}"
        restart = {"policy": "on-failure", "max_retries": 1}
        body = {"config": {**machine["config"], "image": REF.format("BAD"), "restart": restart}}
        await fly.ask("POST", path, body)
        await fly.ask("GET", f"{path}/wait?state=stopped&timeout=60")
        events = await fly.ask("GET", f"{path}/events")
        exits = [event["request"] for event in events if event["type"] == "exit"]
        crashes = [
            (e["restart_count"], e["exit_event"]["exit_code"]) for e in exits if not e["exit_event"]["requested_stop"]
        ]
        assert crashes == [(1, 1), (0, 1)]


async def test_no_machine_outlives_a_platform_that_was_killed() -> None:
    async with platform({"ref": REF.format("GOOD")}) as fly:
        addresses = await fly.addresses()
        assert [await listens(address) for address in addresses] == [True, True]
        fly.process.send_signal(signal.SIGKILL)
        await fly.process.wait()

        async def silence() -> bool:
            return not any([await listens(address) for address in addresses])

        await eventually(silence, "the machines of a killed platform are gone")


async def test_a_stopped_platform_takes_its_machines_with_it_and_exits_cleanly() -> None:
    async with platform({"ref": REF.format("GOOD")}) as fly:
        addresses = await fly.addresses()
        fly.process.terminate()
        assert await fly.process.wait() == 0
        assert [await listens(address) for address in addresses] == [False, False]
