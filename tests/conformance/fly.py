"""One platform, one app, and flyctl run against it: what it printed, and what it left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollguard.localfly.images import Behaviour, Image
from tests.localfly.running import get, running

APP, TOKEN, USER = "shop", "fo1_ci", "ci@example.com"
GUARD_TOKEN, GUARD = "fo1_guard", "guard@example.com"
CHECK = {"type": "http", "method": "GET", "path": "/health", "interval": "1s", "timeout": "1s", "grace_period": "1s"}
RUN_S_MAX = 120.0
NOWHERE = "http://127.0.0.1:9"
"""A closed port: what flyctl wants from third parties is refused at once."""


def an_image(tag: str, **behaviour: Any) -> Image:
    """An image of the app."""
    return Image.build(
        f"registry.fly.io/{APP}:deployment-{tag}", Behaviour(**behaviour), {"rollguard.migration": "none"}
    )


GOOD, NEXT = an_image("GOOD"), an_image("NEXT", latency_s=0.05)
ILL, SLOW = an_image("ILL", health_fails=True), an_image("SLOW", boots_in_s=4.0)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def rows(self) -> list[list[str]]:
        """The cells of the table it printed, without the heading."""
        lines = [line for line in self.out.splitlines() if "│" in line]
        return [[cell.strip() for cell in line.split("│")] for line in lines][1:]


class Fly:
    """The platform at ``url``, and flyctl as the user ``ci@example.com``."""

    def __init__(self, binary: Path, url: str, home: Path) -> None:
        self.url = url
        self._binary = binary
        self._home = home

    def environ(self, token: str = TOKEN) -> dict[str, str]:
        """Everything that makes flyctl, and the guard, take this platform for Fly."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "FLY_API_BASE_URL": self.url,
            "FLY_FLAPS_BASE_URL": self.url,
            "FLY_UIEX_BASE_URL": self.url,
            "FLY_API_TOKEN": token,
            "FLY_CONFIG_DIR": str(self._home / ".fly"),
            "FLY_NO_UPDATE_CHECK": "1",
            "FLY_NO_INCIDENTS_CHECK": "1",
            "FLY_SEND_METRICS": "0",
            "FLY_SYNTHETICS_AGENT": "0",
            "FLY_TRACE_COLLECTOR_URL": "127.0.0.1",
            "NO_COLOR": "1",
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        """Start flyctl and return while it runs."""
        return await asyncio.create_subprocess_exec(
            self._binary,
            *words,
            env=self.environ(),
            cwd=self._home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str) -> Ran:
        """Run flyctl to its end."""
        return await ended(await self.begin(*words))

    async def deploy(self, image: Image, *options: str) -> Ran:
        """``flyctl deploy --image``, as CI would."""
        return await self.run(*deploy_words(image, *options))

    async def tell(self, path: str, body: Mapping[str, Any]) -> Any:
        """A word to the stage manager, below ``/local/v1``."""
        answer = await get(self.url, f"/local/v1{path}", "POST", json.dumps(body).encode())
        assert answer.status in (200, 201), answer.body
        return json.loads(answer.body)

    async def seen(self) -> dict[str, Any]:
        """The platform's own record of the app."""
        answer = await get(self.url, f"/local/v1/apps/{APP}/watch", "GET")
        return dict(json.loads(answer.body))

    async def machines(self) -> list[dict[str, Any]]:
        """The machines, as the Machines API shows them."""
        listed = await self.ask("GET", "?include_leases=true")
        return sorted(listed, key=lambda machine: str(machine["id"]))

    async def ask(self, method: str, path: str, body: Any = None, nonce: str = "", token: str = TOKEN) -> Any:
        """One call of the Machines API, below the app's ``machines``, that must succeed."""
        headers = {"authorization": f"Bearer {token}"} | ({"fly_machine_lease_nonce": nonce} if nonce else {})
        sent = b"" if body is None else json.dumps(body).encode()
        answer = await get(self.url, f"/v1/apps/{APP}/machines{path}", method, sent, **headers)
        assert answer.status in (200, 201), answer.body
        return json.loads(answer.body)

    async def until(self, holds: Callable[[dict[str, Any]], object], within_s: float = 60.0) -> dict[str, Any]:
        """Wait until the platform's record is so, and return it."""
        async with asyncio.timeout(within_s):
            while not holds(seen := await self.seen()):
                await asyncio.sleep(0.05)
        return seen


def deploy_words(image: Image, *options: str) -> tuple[str, ...]:
    """The command line of a deploy; without the ten seconds that flyctl watches each machine for crashes."""
    given = " ".join(options)
    plain = ["--yes", "--ha=false", "--dns-checks=false"]
    if "--smoke-checks" not in given:
        plain.append("--smoke-checks=false")
    if "--deploy-retries" not in given:
        plain += ["--deploy-retries", "0"]
    return ("deploy", "-a", APP, "--image", image.ref, *plain, *options)


async def ended(process: asyncio.subprocess.Process) -> Ran:
    """How a process ended; killed when it takes too long."""
    try:
        async with asyncio.timeout(RUN_S_MAX):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"flyctl hangs: {out.decode()}{err.decode()}") from None
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def killed(process: asyncio.subprocess.Process) -> None:
    """As a CI runner that is lost."""
    process.send_signal(signal.SIGKILL)


async def wait_for(condition: Callable[[], Awaitable[object]], within_s: float = 60.0) -> None:
    """Return once it holds."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def opened(binary: Path, home: Path, *, machines: int = 3, rate_limits: bool = False) -> AsyncIterator[Fly]:
    """A platform as a process of its own, set up."""
    limits = "on" if rate_limits else "off"
    async with running("platform", "--port", "0", "--rate-limits", limits) as platform:
        fly = Fly(binary, platform.url, home)
        await set_up(fly, machines)
        yield fly


async def set_up(fly: Fly, machines: int) -> None:
    """The app on GOOD, and images to deploy."""
    for image in (GOOD, NEXT, ILL, SLOW):
        await fly.tell("/images", image.to_json())
    app = {"name": APP, "machines": machines, "image": GOOD.ref, "checks": [CHECK]}
    await fly.tell("/apps", app | {"tokens": {TOKEN: USER, GUARD_TOKEN: GUARD}})
