"""Killed at any await of a proof by the first machine, of an approval and of a pass of restarts: each ends once.

The loop counts the instants between two steps of any task; for many of them, evenly spread, a fresh world is lived
through with a SIGKILL at exactly that instant, and the next life on the same disk goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.policy import Policy
from tests.simulation.shop import POLICY, Books, Shop, Town, image
from tests.simulation.siege import promises
from tests.simulation.stage import CHECK, GOOD, Stage
from tests.simulation.test_aftercare import ill, restarts
from tests.simulation.test_killed_anywhere import CountingLoop

RUNS_MAX = 12
"""Of all instants of a scene, so many are died at, evenly spread; every one of them is lived through now and then."""

FLAKY = image("FLAKY", error_share=0.4)
COUNTS = replace(
    POLICY,
    signals=tuple(replace(s, every_s=5.0) for s in POLICY.signals if s.name in {"traffic", "machines", "monitoring"}),
    rules=tuple(r for r in POLICY.rules if r.name == "errors-blatant"),
    rollback=replace(POLICY.rollback, stability_s=4.0, pause_between_s=2.0, first_wait_s=60.0),
    comparing=replace(POLICY.comparing, settle_s=5.0),
    verify=replace(POLICY.verify, settle_s=20.0, require=()),
)
QUICK_CHECK = dict(CHECK) | {"interval": "5s", "timeout": "2s", "grace_period": "2s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """``begins`` brings it to where killing starts, ``goes_on`` is what people do then, in every life."""

    policy: Policy
    begins: Callable[[Shop], Awaitable[object]]
    goes_on: Callable[[Shop], Awaitable[object]]
    over: Callable[[Shop], object]


async def no_act(shop: Shop) -> None:
    """People only watch."""


def state(shop: Shop) -> ev.ApprovalAsked | None:
    incident = shop.guard.record.state.incident
    return incident.approval if incident else None


def ended(shop: Shop) -> bool:
    return bool(shop.guard.record.state.rollbacks) and shop.guard.record.state.goal is None


async def rolling_back(shop: Shop) -> None:
    await shop.stage.deploy(FLAKY)
    await shop.until(lambda: shop.guard.record.state.goal)


async def nothing_helps(shop: Shop) -> None:
    """Every machine fails, on whichever image."""
    shop.town.app_answer = lambda path, machine: None
    await rolling_back(shop)
    shop.aside(everybody_fails(shop))


async def everybody_fails(shop: Shop) -> None:
    while True:
        for machine in shop.machines:
            if shop.stage.host.app_of(machine) is not None:
                shop.town.mood(machine, error_share=0.4)
        await asyncio.sleep(0.5)


async def asked(shop: Shop) -> None:
    await shop.stage.deploy(FLAKY)
    await shop.until(lambda: state(shop))


async def says_yes(shop: Shop) -> None:
    if state(shop) is not None:
        await shop.consent.approve("ann", "agreed")


async def restarting(shop: Shop) -> None:
    await shop.stage.deploy(FLAKY)
    await shop.until(lambda: (i := shop.guard.record.state.incident) and i.phase == "verifying")
    ill(shop)
    await shop.until(lambda: shop.guard.clock.now() - (verify_since(shop) or 0.0) > 19.0)


def verify_since(shop: Shop) -> float | None:
    incident = shop.guard.record.state.incident
    return incident.verify_since if incident else None


def verified(shop: Shop) -> bool:
    incident = shop.guard.record.state.incident
    return incident is None or incident.phase == "open"


SCENES = {
    "a proof": Scene(policy=COUNTS, begins=rolling_back, goes_on=no_act, over=ended),
    "a proof that fails": Scene(policy=COUNTS, begins=nothing_helps, goes_on=no_act, over=ended),
    "an approval": Scene(policy=replace(COUNTS, mode=Mode.PAGE), begins=asked, goes_on=says_yes, over=ended),
    "restarts": Scene(policy=COUNTS, begins=restarting, goes_on=no_act, over=verified),
}


class WatchingLoop(CountingLoop):
    """Also kills at the first instant at which ``when`` is true."""

    def __init__(self) -> None:
        super().__init__()
        self.when: Callable[[], object] = lambda: False

    def _run_once(self) -> None:
        if self.counting and self.when():
            self.when = lambda: False
            self.kill()
        super()._run_once()


Moment = Callable[[Shop], object]


def story(scene: Scene, kill_at: int | None, when: Moment | None = None) -> tuple[int, Books]:
    """One scene, and at most one SIGKILL in it: how many instants it had, and what is in the books."""
    loops: list[WatchingLoop] = []

    def factory() -> WatchingLoop:
        loops.append(WatchingLoop())
        return loops[0]

    async def live() -> tuple[int, Books]:
        loop, stage = loops[0], Stage(images=(GOOD, FLAKY), check=QUICK_CHECK)
        town = Town(stage, 60.0)
        stage.users = town
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(scene.policy)
            shop = Shop(stage, scene.policy, guard, life, start(), town=town)
            try:
                await asyncio.sleep(20)
                await shop.acts.adopt("alice", "runs since May", None)
                await scene.begins(shop)
                await _killed_once(shop, scene, loop, kill_at, when)
                await asyncio.sleep(10)
            finally:
                for task in [shop.task, *shop.others]:
                    task.cancel()
                ends = await asyncio.gather(shop.task, *shop.others, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end
            return loop.instants, Books(await stage.history(), await stage.state(), stage)

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(live())


async def _killed_once(shop: Shop, scene: Scene, loop: WatchingLoop, kill_at: int | None, when: Moment | None) -> None:
    act = asyncio.ensure_future(scene.goes_on(shop))
    dead = asyncio.Event()

    def kill() -> None:
        shop.life.alive = False
        shop.task.cancel()
        act.cancel()
        dead.set()

    loop.kill_at, loop.kill, loop.counting = kill_at, kill, True
    loop.when = lambda: when is not None and when(shop)
    await shop.until(lambda: dead.is_set() or scene.over(shop))
    loop.counting = False
    await asyncio.gather(act, return_exceptions=dead.is_set())
    if dead.is_set():
        await shop.die()
        await asyncio.sleep(2)
        shop.rise(scene.policy)
        await asyncio.sleep(3)
        await scene.goes_on(shop)
        await shop.until(lambda: scene.over(shop))


def check(name: str, books: Books) -> None:
    """It ended exactly once, and no promise was broken."""
    promises(books)
    assert set(books.wrote.values()) <= {1}, books.wrote
    assert len(books.of(ev.IncidentOpened)) == 1
    if name == "a proof":
        assert books.stage.digests == {GOOD.digest}, books.pages
    if name == "a proof that fails":
        assert len(books.wrote) == 1, "one machine, and it stays"
        assert [e.outcome for e in books.of(ev.GoalEnded)] == ["unproven"], books.pages
    if name == "an approval":
        assert books.stage.digests == {GOOD.digest}, books.pages
        assert [e.outcome for e in books.of(ev.ApprovalEnded)] == ["approved"]
        assert [e.by for e in books.of(ev.GoalSet)] == ["ann"]
    if name == "restarts":
        assert set(Counter(restarts(books.stage)).values()) <= {1}
        assert len(books.of(ev.Verified)) == 1


@pytest.mark.parametrize("name", SCENES)
def test_killed_at_any_instant_the_next_life_ends_it_exactly_once(name: str) -> None:
    instants, books = story(SCENES[name], None)
    check(name, books)
    assert instants > 20
    for instant in range(1, instants + 1, max(1, instants // RUNS_MAX)):
        try:
            check(name, story(SCENES[name], instant)[1])
        except AssertionError as error:
            raise AssertionError(f"killed at instant {instant} of {instants}: {error}") from error


def judged(shop: Shop) -> object:
    """The very instant at which it is written down what the first machine showed."""
    goal = shop.guard.record.state.goal
    return goal is not None and goal.proof


def answered(shop: Shop) -> object:
    """The very instant at which the question is not open any more."""
    return state(shop) is None


def told_to_restart(shop: Shop) -> object:
    """The very instant at which the first restart is intended."""
    incident = shop.guard.record.state.incident
    return incident is not None and incident.restarted


MOMENTS: dict[str, Moment] = {
    "a proof": judged,
    "a proof that fails": judged,
    "an approval": answered,
    "restarts": told_to_restart,
}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_was_written_down_outlives_the_life_that_wrote_it(name: str) -> None:
    _, books = story(SCENES[name], None, MOMENTS[name])
    check(name, books)
