"""After a rollback its post-mortem is due: said once, whenever the guard dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rollguard.core import events as ev
from rollguard.engine.acts import Acts
from rollguard.engine.guard import Guard
from tests.simulation.siege import CHECK, QUICK, Siege, besiege
from tests.simulation.stage import BAD, FINE, GOOD, Stage
from tests.simulation.test_killed_anywhere import CountingLoop

RUNS_MAX = 24
"""Of all instants around an end, so many are died at, evenly spread."""


@dataclass
class Told:
    """What the journal says in the end, and how many instants there were to die at."""

    instants: int = 0
    history: list[ev.Event] = field(default_factory=list)

    @property
    def follow_ups(self) -> list[ev.PageQueued]:
        return [e for e in self.history if isinstance(e, ev.PageQueued) and e.kind == "follow-up"]

    def ends(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [e for e in self.history if isinstance(e, kind)]


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(1800):
        while not true():
            await asyncio.sleep(0.1)


def restored(guard: Guard) -> bool:
    """Shortly before the end of the settle time."""
    incident = guard.record.state.incident
    since = incident.verify_since if incident else None
    return since is not None and guard.clock.now() - since > QUICK.verify.settle_s - 0.5


def acting(guard: Guard) -> bool:
    goal = guard.record.state.goal
    return goal is not None and bool(goal.updates)


def story(kill_at: int | None, *, paused: bool) -> Told:
    """A rollback that is verified, or one that a person pauses in the middle; at most one SIGKILL around its end."""
    loops: list[CountingLoop] = []

    def factory() -> CountingLoop:
        loops.append(CountingLoop())
        return loops[0]

    async def live() -> Told:
        loop, stage = loops[0], Stage(check=CHECK)
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(QUICK)
            task = start()
            await asyncio.sleep(10)
            await Acts(guard, guard.platform, guard.clock).adopt("ann", "runs since May", None)
            await stage.deploy(BAD)
            await until(lambda: acting(guard) if paused else restored(guard))
            killed = asyncio.Event()

            def kill() -> None:
                life.alive = False
                task.cancel()
                killed.set()

            loop.kill_at, loop.kill = kill_at, kill
            if paused:
                await Acts(guard, guard.platform, guard.clock).pause("ann", "look")
            loop.counting = True
            over = lambda g: g.record.state.goal is None if paused else g.record.state.incident is None
            await until(lambda: killed.is_set() or over(guard))
            await asyncio.sleep(0.2)
            loop.counting = False
            if killed.is_set():
                await asyncio.gather(task, return_exceptions=True)
                await asyncio.sleep(2)
                _, guard, start = stage.born(QUICK)
                task = start()
                await asyncio.sleep(1)
                await until(lambda: over(guard))
            await asyncio.sleep(15)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return Told(loop.instants, await stage.history())

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(live())


@pytest.mark.parametrize("paused, kind", [(False, ev.Verified), (True, ev.GoalEnded)])
def test_the_post_mortem_is_due_once_whenever_the_guard_dies(paused: bool, kind: type[ev.Event]) -> None:
    undisturbed = story(None, paused=paused)
    assert undisturbed.instants > 10
    step = -(-undisturbed.instants // RUNS_MAX)
    for told in [undisturbed, *(story(at, paused=paused) for at in range(1, undisturbed.instants + 1, step))]:
        (end,) = told.ends(kind)
        (page,) = told.follow_ups
        assert page.at == end.at, "with the very event that ends it"
        assert page.key.endswith("/post-mortem")
        assert told.history.index(page) - told.history.index(end) <= 5, "in one transaction"


def test_a_second_rollback_in_one_incident_asks_for_no_second_post_mortem() -> None:
    async def scene(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: acting(siege.guard))
        await siege.acts.pause("ann", "look")
        await siege.until(lambda: siege.guard.record.state.goal is None)
        await siege.acts.resume("ann", "go on")
        await siege.acts.rollback("ann", "all of it", None, (), dry_run=False)
        await siege.until(lambda: siege.guard.record.state.goal is None)
        await asyncio.sleep(60)

    after = besiege(scene, goals=2)
    assert after.outcomes == ["paused", "restored"]
    assert len([e for e in after.of(ev.PageQueued) if e.kind == "follow-up"]) == 1


def test_where_nothing_was_rolled_back_no_post_mortem_is_due() -> None:
    async def scene(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await asyncio.sleep(120)
        await siege.stage.deploy(FINE)
        await asyncio.sleep(60)

    after = besiege(scene, proven=False)
    assert after.pages, "people were told"
    assert not [e for e in after.of(ev.PageQueued) if e.kind == "follow-up"]
    assert GOOD.digest not in after.stage.digests
