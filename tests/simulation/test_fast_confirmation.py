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
from tests.simulation.siege import Siege
from tests.simulation.stage import APP, FINE, Stage, a_policy
from tests.virtual_time import EPOCH, run, wall_clock

RELEASED_S = 70.0
"""When everybody runs the release that is watched."""

Broken = Callable[[str, float], Awaitable[Answer | None]]
"""What this machine (``""``: the edge) answers instead at this second of the story, if anything."""


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


PHASES = [0.05, 0.9, 1.7, 2.6, 3.4, 4.3, 4.95]
"""How long after a round of probes it begins: they are made every 5 s."""


@pytest.mark.parametrize("phase", PHASES)
def test_an_app_that_refuses_everybody_is_decided_on_within_ten_seconds(phase: float) -> None:
    seen = story(down_from(80 + phase, "refused"), 30)
    assert seen.goal is not None
    assert seen.goal.trigger == Trigger.HARD_DOWN
    assert 4 < seen.decided_at - 80 - phase < 10


@pytest.mark.parametrize("phase", PHASES[::3])
def test_an_app_that_hangs_is_decided_on_in_about_ten_seconds_at_worst(phase: float) -> None:
    """Probes time out after 4 s; once everybody's did, nobody is given much more time than its answers usually take."""
    seen = story(down_from(80 + phase, "hangs"), 30)
    assert seen.goal is not None
    assert seen.goal.trigger == Trigger.HARD_DOWN
    assert 4 < seen.decided_at - 80 - phase < 10.3


@pytest.mark.parametrize("phase", PHASES)
def test_an_app_whose_answers_take_a_second_is_given_more_than_half_a_second(phase: float) -> None:
    """Else whoever is well again after a pause of the app would be taken for dead."""

    async def broken(machine: str, now: float) -> Answer | None:
        if 120 + phase <= now < 123.9 + phase:
            return await hung()
        await asyncio.sleep(1.0)
        return None

    assert story(broken, 90, machines=2).goal is None


def test_who_answers_slowly_that_it_is_broken_is_heard_out() -> None:
    """Its answers are evidence, for the rules that compare as well; only silence is not waited for twice."""
    cut_off: list[float] = []

    async def broken(machine: str, now: float) -> Answer | None:
        if now < 80:
            return None
        try:
            await asyncio.sleep(2.0)
        except asyncio.CancelledError:
            cut_off.append(now)
            raise
        return 500, {}, b""

    seen = story(broken, 20, machines=2)
    assert len([at for at, _ in seen.asked if at > 80]) >= 6, "asked again"
    assert not [at for at in cut_off if at < 87]  # the end of the story cuts the last ones off


def test_who_hangs_beside_others_that_are_well_is_given_its_whole_timeout() -> None:
    """Side by side it would be held against a release that it is slow to answer."""
    slow: list[float] = []

    async def broken(machine: str, now: float) -> Answer | None:
        if machine and machine == min(m for _, m in asked if m):
            try:
                await asyncio.sleep(3600)
            finally:
                slow.append(wall_clock() - EPOCH - now)
        return None

    asked: list[tuple[float, str]] = []

    async def listed(machine: str, now: float) -> Answer | None:
        asked.append((now, machine))
        return await broken(machine, now)

    assert story(listed, 40).goal is None
    assert min(slow) > 3.9


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("lasts_s", [1, 2, 3])
@pytest.mark.parametrize("phase", PHASES[::2])
def test_no_blip_of_a_few_seconds_rolls_back(how: str, lasts_s: float, phase: float) -> None:
    at = 80 + phase
    assert story(down_from(at, how, at + lasts_s), 40, machines=2).goal is None


@pytest.mark.parametrize("seed", range(6))
def test_a_minute_of_errors_here_and_there_is_not_hard_down(seed: int) -> None:
    dice = random.Random(seed)

    async def broken(machine: str, now: float) -> Answer | None:
        return (500, {}, b"") if 80 <= now < 140 and dice.random() < 0.2 else None

    assert story(broken, 80).goal is None


def test_one_machine_that_is_down_is_asked_more_often_and_blamed_alone() -> None:
    first: list[str] = []

    async def broken(machine: str, now: float) -> Answer | None:
        first.append(machine) if machine and not first else None
        return await refused() if machine == first[0] else None

    seen = story(broken, 120)
    assert seen.goal is None
    assert any(isinstance(e, ev.PageQueued) for e in seen.events)


def test_an_hour_of_trouble_costs_a_minute_of_seconds_and_writes_no_more_than_usual() -> None:
    async def broken(machine: str, now: float) -> Answer | None:
        return await refused() if machine == "" else None

    seen = story(broken, 600, machines=1)
    edge = [at for at, machine in seen.asked if machine == "" and at > RELEASED_S]
    assert len(edge) < 600 / 5 + 60
    assert len([e for e in seen.events if isinstance(e, ev.RuleChanged)]) < 10


def deployed(cold_s: float) -> Seen:
    """Everybody gets another release at once and does not listen for so long."""
    begun: list[float] = []

    async def broken(machine: str, now: float) -> Answer | None:
        return (502, {}, b"edge: connect") if begun and now < begun[0] + cold_s else None

    async def scene() -> Seen:
        stage = Stage(machines=4)
        town = Breakable(stage)
        town.broken = broken
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
                begun.append(asyncio.get_running_loop().time())
                await asyncio.sleep(60)
            finally:
                await siege.end()
            return Seen(await stage.history(), town.asked)

    return run(scene())


def test_machines_that_boot_for_nine_seconds_are_given_the_usual_time() -> None:
    """Nobody listens yet: that is not known to be worse than a cold start before the rule itself says so."""
    assert deployed(cold_s=9.0).goal is None
