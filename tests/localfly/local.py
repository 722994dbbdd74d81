"""Everything real for a test: platform, machines, edge, users and deploys."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rollguard.localfly.http1 import Response
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
        await self.tell("/local/v1/images", image.to_json())
        return image

    async def start(self, behaviour: Behaviour, machines: int) -> None:
        self.platform = await self.serve("platform")
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
        await self.tell("/local/v1/apps", app)
        self.edge = await self.serve("edge", "--platform", self.platform, "--app", "shop")
        await self.until(self.is_whole)

    async def is_whole(self) -> bool:
        return all(machine["routable"] for machine in (await self.watch())["machines"])

    async def tell(self, path: str, body: dict[str, Any]) -> None:
        """A control call of the platform that must succeed."""
        answer = await get(self.platform, path, "POST", json.dumps(body).encode())
        assert answer.status in (200, 201), answer.body

    async def fly(self, path: str) -> Any:
        """What Fly's own interface answers to a patient reader."""
        while (answer := await self._ask(path)).status == 429:
            await asyncio.sleep(0.2)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    async def _ask(self, path: str) -> Response:
        return await get(self.platform, path, "GET", b"", authorization=f"Bearer {TOKEN}")

    async def serve(self, module: str, *args: str) -> str:
        """The URL of one more process."""
        return (await self._stack.enter_async_context(running(module, *args))).url

    async def visit(self, machine: str, path: str = "/products") -> int:
        """The status of a page of one machine."""
        return (await get(self.edge, path, "GET", b"", fly_force_instance_id=machine)).status

    async def until(self, holds: Callable[[], Awaitable[bool]], within_s: float = PATIENCE_S) -> None:
        """Return once it holds; TimeoutError where it does not in time."""
        async with asyncio.timeout(within_s):
            while not await holds():
                await asyncio.sleep(0.05)

    async def watch(self) -> dict[str, Any]:
        return dict(json.loads((await get(self.platform, "/local/v1/apps/shop/watch")).body))

    async def deploy_under_traffic(self, image: Image) -> tuple[dict[str, Any], dict[str, Any]]:
        """Deploy while 40 users a second come; what the deployer said, and what the users saw."""
        args = ("--edge", self.edge, "--rate", "40", "--seed", "1", "--out", str(self._out))
        users = await self._spawn("traffic", *args)
        await eventually(lambda: self._out.exists() and self._out.stat().st_size > 0)
        deployer = await self.deployer(image, "--smoke", "0")
        async with asyncio.timeout(DEPLOY_S_MAX):
            said, _ = await deployer.communicate()
            users.send_signal(signal.SIGTERM)
            seen, _ = await users.communicate()
        assert (deployer.returncode, users.returncode) == (0, 0)
        return json.loads(said), json.loads(seen)

    async def deployer(self, image: Image, *options: str) -> asyncio.subprocess.Process:
        """A deploy that has begun."""
        where = ("--platform", self.platform, "--token", TOKEN, "--app", "shop")
        return await self._spawn("deployer", *where, "--image", image.ref, *options)

    async def deploy(self, image: Image, *options: str) -> tuple[int | None, str]:
        """A deploy to its end: the exit code, and what it said."""
        async with asyncio.timeout(DEPLOY_S_MAX):
            deployer = await self.deployer(image, *options)
            said, _ = await deployer.communicate()
        return deployer.returncode, said.decode()

    async def _spawn(self, module: str, *args: str) -> asyncio.subprocess.Process:
        command = (sys.executable, "-m", f"rollguard.localfly.{module}", *args)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

        async def gone() -> None:
            if process.returncode is None:
                process.kill()
            await process.communicate()

        self._stack.push_async_callback(gone)
        return process
