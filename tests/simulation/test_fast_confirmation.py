"""A failed probe is followed up every second: who is down for good is known in seconds, and no blip is taken for it.

The whole guard, in virtual time, with probes every 5 s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.finding import Trigger
from rollguard.errors import Unavailable
from rollguard.localfly.simulated_app import FORCE, Answer, SimulatedApp
from rollguard.ports import Clock, HttpAnswer
from tests.simulation.siege import Siege
from tests.simulation.stage import APP, BAD, FINE, GUARD, Stage, a_policy
from tests.virtual_time import EPOCH, run, wall_clock

RELEASED_S = 70.0
"""When everybody runs the release that is watched."""

Broken = Callable[[str, float], Awaitable[Answer | None]]
"""What is answered instead to a question of this machine (``""``: the edge) at this second of the story, if anything."""


class Breakable(SimulatedApp):
    """An app that can be broken from outside."""

    broken: Broken | None = None
    asked: list[tuple[float, str]]

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.world, stage.host, APP, wall_clock, rps=0.0)
        self.asked = []

    async def answer(self, method: str, url: str, headers: Any = None, body: bytes = b"") -> Answer:
        at, machine = wall_clock() - EPOCH, (headers or {}).get(FORCE, "")
        self.asked.append((at, machine))
        instead = await self.broken(machine, at) if self.broken is not None else None
        return instead or await super().answer(method, url, headers, body)


async def refused() -> Answer:
    """Nobody listens: an error at once."""
    raise Unavailable("connection refused: GET /")


async def hung() -> Answer:
    """Somebody listens, and says nothing."""
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits that long")


HOW = {"refused": refused, "hangs": hung}


class Seen:
    """What came of a story."""

    def __init__(self, events: list[ev.Event], asked: list[tuple[float, str]]) -> None:
        self.events, self.asked = events, asked

    @property
    def goal(self) -> ev.GoalSet | None:
        return next((e for e in self.events if isinstance(e, ev.GoalSet)), None)

    @property
    def decided_at(self) -> float:
        """In seconds of the story."""
        assert self.goal is not None, "nothing was decided"
        return self.goal.at - EPOCH


def story(broken: Broken, for_s: float, *, machines: int = 4, deploy: Any = None) -> Seen:
    """A guard knows the good release, then FINE comes and is well; it is broken in this way, and ``for_s`` pass."""

    async def scene() -> Seen:
        stage = Stage(machines=machines)
        town = Breakable(stage)
        stage.users = town
        async with stage.host:
            await asyncio.sleep(20)
            policy = a_policy()
            life, guard, start = stage.born(policy)
            siege = Siege(stage, policy, guard, life, start())
            try:
                await asyncio.sleep(20)
                await siege.acts.adopt("alice", "runs since May", None)
                await stage.deploy(FINE)
                await asyncio.sleep(RELEASED_S - asyncio.get_running_loop().time())
                town.broken = broken
                await asyncio.sleep(for_s)
            finally:
                await siege.end()
            return Seen(await stage.history(), town.asked)

    return run(scene())


def down_from(at: float, how: str, until: float = 1e9) -> Broken:
    """Everything is, between these seconds of the story."""

    async def broken(machine: str, now: float) -> Answer | None:
        return await HOW[how]() if at <= now < until else None

    return broken
