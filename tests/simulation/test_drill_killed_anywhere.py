"""Killed at any await of a drill, the next life takes back what is away, and goes nowhere a second time.

The loop counts the instants between two steps of any task; for many of them, evenly spread, a fresh world is lived
through with a SIGKILL at exactly that instant, and the next life on the same disk goes on.
"""

from __future__ import annotations

import asyncio

import pytest

from rollguard.core import events as ev
from rollguard.core.rehearsal import Wish
from tests.simulation.rehearsals import ALL, BRISK, ONE, drill, proven_twice
from tests.simulation.rehearsals import promises as rehearsal_promises
from tests.simulation.siege import CHECK, Aftermath, Siege
from tests.simulation.stage import BAD, FINE, GOOD, Stage
from tests.simulation.test_killed_anywhere import CountingLoop

RUNS_MAX = {ONE: 40, ALL: 25}


def story(wish: Wish, kill_at: int | None) -> tuple[int, Aftermath]:
    """One drill, and at most one SIGKILL in it: how many instants it had, and what is in the books."""
    loops: list[CountingLoop] = []

    def factory() -> CountingLoop:
        loops.append(CountingLoop())
        return loops[0]

    async def live() -> tuple[int, Aftermath]:
        loop, stage = loops[0], Stage(check=CHECK, images=(GOOD, BAD, FINE))
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(BRISK)
            siege = Siege(stage, BRISK, guard, life, start())
            await proven_twice(siege)
            await _killed_once(siege, wish, loop, kill_at)
            await asyncio.sleep(15)
            siege.task.cancel()
            (end,) = await asyncio.gather(siege.task, return_exceptions=True)
            assert end is None or isinstance(end, asyncio.CancelledError), end
            return loop.instants, Aftermath(await stage.history(), await stage.state(), stage)

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(live())


async def _killed_once(siege: Siege, wish: Wish, loop: CountingLoop, kill_at: int | None) -> None:
    dead = asyncio.Event()
    act = asyncio.ensure_future(drill(siege, wish))

    def kill() -> None:
        siege.life.alive = False
        siege.task.cancel()
        act.cancel()
        dead.set()

    def over() -> bool:
        state = siege.guard.record.state
        return state.drill is not None and bool(state.drill.result)

    loop.kill_at, loop.kill, loop.counting = kill_at, kill, True
    await siege.until(lambda: dead.is_set() or over())
    loop.counting = False
    await asyncio.gather(act, return_exceptions=True)
    if dead.is_set():
        await siege.die()
        await asyncio.sleep(2)
        siege.rise()
        await asyncio.sleep(2)
        await siege.until(lambda: siege.guard.record.state.drilling is None)


def check(wish: Wish, after: Aftermath, *, killed: bool) -> None:
    """It was begun once or never, ended where it began, and everybody knows."""
    begins = after.of(ev.DrillBegan)
    assert len(begins) <= 1
    assert begins or killed
    assert after.stage.digests == {FINE.digest}, after.pages
    assert after.pages == []
    assert after.of(ev.IncidentOpened) == []
    if begins:
        rehearsal_promises(after)
        (ended,) = after.of(ev.DrillEnded)
        assert ended.left == ()
        assert ended.result == "ok" or killed
        assert set(after.stage.updates("guard@example.com")) <= set(begins[0].machines)
    assert len(after.rows) <= (2 if wish.whole else 0), after.rows


@pytest.mark.parametrize("wish", [ONE, ALL], ids=["one machine", "the whole app"])
def test_killed_at_any_instant_of_a_drill_the_next_life_brings_everything_back(wish: Wish) -> None:
    instants, after = story(wish, None)
    check(wish, after, killed=False)
    assert instants > 100
    for instant in range(1, instants + 1, max(1, instants // RUNS_MAX[wish])):
        try:
            check(wish, story(wish, instant)[1], killed=True)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"killed at instant {instant} of {instants}: {error}") from error
