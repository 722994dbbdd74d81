"""HotDash under the shipped policy: users, machines with moods of their own, and a metrics store that can lie.

``open_shop`` lets a guard with every signal of ``config/hotdash-production.yaml`` see the good release for a while, a
person vouches for it, and the story begins. What the guard says afterwards is in ``Books``.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rollguard.config.loader import load_policy
from rollguard.core import events as ev
from rollguard.core.policy import Policy
from rollguard.errors import Unavailable
from rollguard.localfly.crowd import Serving
from rollguard.localfly.hotdash import HotDash
from rollguard.localfly.images import Behaviour, Image
from rollguard.localfly.simulated_app import FEDERATE, FORCE, Answer, SimulatedApp
from tests.simulation.siege import Aftermath, Siege
from tests.simulation.stage import APP, CHECK, GOOD, GUARD, NONE, Stage
from tests.virtual_time import EPOCH, run, wall_clock

ROOT = Path(__file__).parents[2]
POLICY = load_policy(ROOT / "config/hotdash-production.yaml", {"HOTDASH_MODE": "enforce"})
MONITORED = dict(CHECK) | {"path": "/api/monitoring/health", "interval": "30s", "timeout": "10s"}
"""The check of HotDash's own fly.toml that takes a machine out when the app calls itself unhealthy."""
BEGINS_S = 80.0
"""When the story begins, where nothing came before the guard."""

Lie = Callable[[bytes], bytes | None]
"""What a metrics store answers instead of the truth; None: no answer."""


def image(name: str, **behaviour: Any) -> Image:
    """An image that declares that it migrates nothing."""
    return Image.build(f"registry.fly.io/{APP}:deployment-{name}", Behaviour(**behaviour), labels=NONE)


BAD = image("BAD", error_share=1.0)
FINE = image("FINE", latency_s=0.1)
NEXT = image("NEXT", latency_s=0.11)
PART = image("PART", broken_page="/products")
SICK = image("SICK", health_fails=True)


class Town(SimulatedApp):
    """The app as the outside sees it, where one machine can behave unlike its image and the wires can be cut."""

    def __init__(self, stage: Stage, rps: float) -> None:
        self.moods: dict[str, Behaviour] = {}
        self.cold_s = 0.0
        self.no_wire = False
        self.proxy_down = False
        self.metrics_lag_s = 0.0
        self.lie: Lie | None = None
        self.app_answer: Callable[[str, str | None], Answer | None] = lambda path, machine: None
        self._pages: deque[tuple[float, bytes]] = deque()
        self._inside = stage.host
        super().__init__(stage.world, stage.host, APP, wall_clock, rps=rps)

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        if self.no_wire:
            raise Unavailable("connection refused: no wire")
        path = "/" + url.split("://", 1)[-1].partition("/")[2].partition("?")[0]
        if FEDERATE.fullmatch(path):
            return await self._federate(method, url, headers, body)
        forced = (headers or {}).get(FORCE)
        if self.proxy_down:
            self.crowd.seen(502, 0.001)
            return 502, {}, b"edge: no-route\n"
        if forced is not None and self._is_cold(forced):
            self.crowd.seen(502, 0.001)
            return 502, {}, b"edge: connect\n"
        if (other := self.app_answer(path, forced)) is not None:
            self.crowd.seen(other[0], 0.02)
            if forced is not None:
                self.crowd.answered(forced, "ord", other[0], 0.02)
            return other
        return await super().answer(method, url, headers, body)

    async def _federate(self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes) -> Answer:
        status, named, text = await super().answer(method, url, headers, body)
        now = wall_clock()
        self._pages.append((now, text))
        while len(self._pages) > 1 and self._pages[1][0] <= now - self.metrics_lag_s:
            self._pages.popleft()
        if self.metrics_lag_s:
            text = self._pages[0][1]
        told = text if self.lie is None else self.lie(text)
        return (503, named, b"upstream timeout") if told is None else (status, named, told)

    def mood(self, machine: str, **behaviour: Any) -> None:
        """From now on until it boots again this machine behaves so; without words as its image again."""
        inside = self._inside.app_of(machine)
        assert inside is not None
        inside._behaviour = replace(self._app.machine(machine).image.behaviour, **behaviour)
        self._changed(APP)

    def _is_cold(self, machine: str) -> bool:
        """Started, but not listening yet."""
        events = self._app.machines[machine].events if machine in self._app.machines else ()
        started = max((e["timestamp"] / 1000 for e in events if e["type"] == "start"), default=0.0)
        return wall_clock() - started < self.cold_s

    def _changed(self, app: str) -> None:
        if app != self._app.name:
            return
        self.crowd.advance(wall_clock())
        awake = [(m, self._host.app_of(m.id)) for m in self._app.machines.values() if m.routable]
        self.crowd.serve([Serving(m.id, m.region, _behaviour(app), app) for m, app in awake if app])


def _behaviour(app: HotDash) -> Behaviour:
    return app._behaviour


@dataclass
class Shop(Siege):
    """A siege with users."""

    town: Town = field(kw_only=True)

    async def wait(self, minutes: float) -> None:
        await asyncio.sleep(60 * minutes)

    def inside(self, machine: str) -> HotDash:
        """The app's own process on a machine."""
        app = self.stage.host.app_of(machine)
        assert app is not None
        return app

    async def cut_off(self, for_s: float) -> None:
        """The guard's own network is gone, for the app and the platform alike."""
        self.trouble.outage(for_s)
        self.town.no_wire = True
        await asyncio.sleep(for_s)
        self.town.no_wire = False


@dataclass
class Books(Aftermath):
    """What the guard did and said."""

    @property
    def rolled_back(self) -> list[str]:
        """The images it went back from."""
        return [e.candidate for e in self.of(ev.GoalSet)]

    @property
    def fired(self) -> set[str]:
        """The rules that ever fired."""
        return {e.rule for e in self.of(ev.RuleChanged) if e.after == "firing"}

    @property
    def wrote(self) -> dict[str, int]:
        return self.stage.updates(GUARD)

    def leaves_alone(self, *, pages: int = 0) -> None:
        """Nothing was written, and nobody was told more often than that."""
        assert not self.rolled_back, self.pages
        assert not self.wrote
        assert len(self.pages) <= pages, self.pages

    def takes_back(self, candidate: Image, to: Image = GOOD) -> None:
        """One rollback, of this release."""
        assert self.rolled_back == [candidate.digest], self.pages
        assert self.stage.digests == {to.digest}, self.pages

    def blames_one(self, machine: str) -> None:
        """People are told which machine it is, and nothing is rolled back."""
        self.leaves_alone(pages=4)
        assert self.pages
        assert all(f"machine {machine}" in page for page in self.pages), self.pages


Story = Callable[[Shop], Awaitable[object]]


def open_shop(
    story: Story,
    *,
    rps: float = 20.0,
    machines: int = 4,
    images: Sequence[Image] = (GOOD, BAD, FINE, NEXT, PART, SICK),
    check: Mapping[str, str] = CHECK,
    policy: Policy = POLICY,
    calm_s: float = 60.0,
    proven: bool = True,
    before: Callable[[Stage, Town], Awaitable[object]] | None = None,
) -> Books:
    """A guard sees the good release, the story, then peace for ``calm_s``; ``before`` comes before the guard."""

    async def scene() -> Books:
        stage = Stage(machines=machines, images=images, check=check)
        town = Town(stage, rps)
        stage.users = town
        async with stage.host:
            await asyncio.sleep(30)
            if before is not None:
                await before(stage, town)
            life, guard, start = stage.born(policy)
            shop = Shop(stage, policy, guard, life, start(), town=town)
            try:
                await asyncio.sleep(BEGINS_S - 30)
                if proven:
                    await shop.acts.adopt("alice", "runs since May", None)
                await story(shop)
                await asyncio.sleep(calm_s)
            finally:
                await shop.end()
            return Books(await stage.history(), await stage.state(), stage)

    return run(scene())


def replaced(series: str, value: object) -> Lie:
    """The store says ``value`` for every series whose line has ``series`` in it."""

    def lie(text: bytes) -> bytes:
        lines = text.decode().splitlines()
        told = [_with_value(line, value) if series in line and not line.startswith("#") else line for line in lines]
        return ("\n".join(told) + "\n").encode()

    return lie


def _with_value(line: str, value: object) -> str:
    head, _, rest = line.rpartition("} ")
    _, _, stamp = rest.partition(" ")
    return f"{head}}} {value} {stamp}"


def zeros() -> bytes:
    """What ``/api/monitoring/health`` answers when its own handler fails."""
    metrics = {
        "errors": {"total": 0, "critical": 0},
        "performance": {"routeP95": 0, "apiP95": 0},
        "uptime": {"overall": 0},
        "alerts": {"unacknowledged": 0, "critical": 0},
    }
    return json.dumps({"status": "unhealthy", "message": "Health check failed: x", "metrics": metrics}).encode()


async def shipped(shop: Shop, minutes: float = 1.5) -> None:
    """A good release, by a real deploy, with a while to watch it."""
    await shop.flyctl(FINE)
    await shop.wait(minutes)


def first(books: Books, kind: type[ev.Event]) -> float:
    """When it first happened, in seconds of the story."""
    return float(books.of(kind)[0].at) - EPOCH
