"""Real processes of the local platform for tests, and a platform that is only a route table."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from rollguard.localfly.http1 import Request, Response, fetch
from rollguard.localfly.http1_server import Server
from rollguard.localfly.images import Behaviour, Image

PATIENCE_S = 15.0
IMAGE_REF = "registry.fly.io/hotdash:deployment-01J0000000000000000000000"


async def eventually(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Return once the condition holds; fail where it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


async def get(url: str, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
    """One request; header names are given with underscores."""
    parts = urlsplit(url)
    named = [("host", parts.netloc), *((name.replace("_", "-"), value) for name, value in headers.items())]
    assert parts.hostname is not None
    assert parts.port is not None
    return await fetch(parts.hostname, parts.port, Request(method, path, named, body), PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Running:
    """A process that has said it is ready."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def address(self) -> str:
        return urlsplit(self.url).netloc


@asynccontextmanager
async def running(module: str, *args: str, stdin: int | None = None) -> AsyncIterator[Running]:
    """``python -m rollguard.localfly.<module> …``, ready; gone at the end whatever happens."""
    command = (sys.executable, "-m", f"rollguard.localfly.{module}", *args)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stdin=stdin)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stdout.readline()
        yield Running(process, json.loads(line)["url"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def machine_args(machine_id: str, behaviour: Behaviour) -> tuple[str, ...]:
    """The command line of one machine's app, on a free port."""
    image = json.dumps(Image.build(IMAGE_REF, behaviour).to_json())
    options = {"port": "0", "app": "shop", "machine": machine_id, "instance": "01J1", "image": image}
    return tuple(word for name, value in options.items() for word in (f"--{name}", value))


class FakePlatform:
    """A route table to long-poll, that counts the wakes it is asked for."""

    def __init__(self) -> None:
        self.machines: dict[str, dict[str, Any]] = {}
        self.wakes: list[str] = []
        self.on_wake: Callable[[str], None] = lambda machine_id: self.put(machine_id, state="started")
        self.url = ""
        self._version = 1
        self._changed = asyncio.Event()

    def put(self, machine_id: str, **fields: Any) -> None:
        """Add or change a machine; followers learn of it at once."""
        default = {
            "id": machine_id,
            "instance_id": "01J1",
            "address": "127.0.0.1:1",
            "state": "started",
            "cordoned": False,
            "checks": "passing",
            "digest": "sha256:0",
            "autostart": True,
        }
        self.machines[machine_id] = {**self.machines.get(machine_id, default), **fields}
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        if request.method == "POST" and request.path.endswith("/wake"):
            machine_id = request.path.split("/")[-2]
            self.wakes.append(machine_id)
            self.on_wake(machine_id)
            return Response(200, b'{"state": "starting"}')
        after = int(dict(request.query)["after"])
        while self._version <= after:
            await self._changed.wait()
        table = {"version": self._version, "machines": list(self.machines.values())}
        return Response(200, json.dumps(table).encode())


@asynccontextmanager
async def fake_platform() -> AsyncIterator[FakePlatform]:
    """A fake platform that listens."""
    platform = FakePlatform()
    server = Server(platform.answer)
    platform.url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"
    try:
        yield platform
    finally:
        await server.drain(0.0)
