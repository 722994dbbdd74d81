"""A whole platform in simulated time: world, interfaces, host and edge, with the few words the tests are written in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rollguard.localfly.api import Api
from rollguard.localfly.apps import App, AppSpec
from rollguard.localfly.faults import Faults
from rollguard.localfly.host import SimulatedHost
from rollguard.localfly.ids import Ids
from rollguard.localfly.images import Behaviour, Image
from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.world import World
from tests.virtual_time import run, wall_clock

T = TypeVar("T")

APP = "hotdash"
GOOD = Image.build("registry.fly.io/hotdash:deployment-GOOD", labels={"rollguard.migration": "none"})
NEXT = Image.build("registry.fly.io/hotdash:deployment-NEXT")
CHECK = {"type": "http", "path": "/health", "interval": "10s", "timeout": "2s", "grace_period": "5s"}
TOKENS = {"guard-token": "guard@example.com", "ci-token": "ci@example.com"}


class Fly:
    """The platform as a test sees it."""

    def __init__(self, seed: int = 0) -> None:
        self.world = World(Ids(seed))
        self.faults = Faults(rate_limits=False)  # tests are in a hurry; the limits have their own
        self.api = Api(self.world, wall_clock, faults=self.faults)
        self.host = SimulatedHost(self.world, wall_clock, faults=self.faults, seed=seed)
        for image in (GOOD, NEXT):
            self.world.images.push(image)

    def deploy(self, machines: int = 4, **spec: Any) -> App:
        """An app whose machines boot GOOD."""
        asked: dict[str, Any] = {"image": GOOD.ref, "tokens": TOKENS, "checks": (CHECK,)} | spec
        return self.world.create_app(AppSpec(name=APP, machines=machines, **asked), wall_clock())

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "guard-token", **headers: str
    ) -> ApiResponse:
        """One request; a header's underscores stand for hyphens."""
        named = {"authorization": f"Bearer {token}"} | {key.replace("_", "-"): text for key, text in headers.items()}
        raw = b"" if body is None else json.dumps(body).encode()
        return await self.api.handle(ApiRequest.of(method, f"https://api.machines.dev{path}", named, raw))

    async def get(self, path: str, *, token: str = "guard-token") -> Any:
        """The JSON of a GET that must succeed."""
        response = await self.call("GET", path, token=token)
        assert response.status == 200, response.body
        return json.loads(response.body)

    async def update(self, machine: Machine, image: Image = NEXT, *, nonce: str = "", **more: Any) -> ApiResponse:
        """Ask for the same config with another image."""
        body = {"config": {**machine.config, "image": image.ref}, **more}
        return await self.call("POST", at(machine), body, fly_machine_lease_nonce=nonce)


def at(machine: Machine, rest: str = "") -> str:
    """A machine's path in the Machines API."""
    return f"/v1/apps/{APP}/machines/{machine.id}{rest}"


def first(app: App) -> Machine:
    """Some machine of the app, always the same one."""
    return next(iter(app.machines.values()))


def live(story: Callable[[Fly], Awaitable[T]], *, seed: int = 0) -> T:
    """Live through a story with a fresh platform, in virtual time."""

    async def scene() -> T:
        fly = Fly(seed)
        async with fly.host:
            return await story(fly)

    return run(scene())


async def settled(app: App) -> None:
    """Long enough for every machine to boot and its checks to have an opinion."""
    await asyncio.sleep(30)


def image(name: str, **behaviour: Any) -> Image:
    """An image that behaves so."""
    return Image.build(f"registry.fly.io/hotdash:deployment-{name}", Behaviour(**behaviour))
