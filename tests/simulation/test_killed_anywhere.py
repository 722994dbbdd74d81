"""Killed at any await of a rollback, the next life finishes it exactly once.

The loop itself counts the instants between two steps of any task while an undisturbed rollback runs. Then, for each
of them, a fresh world is lived through with a SIGKILL at exactly that instant: nothing the dead life still tries
gets out, what it had written stays, and a new guard starts on the same disk two seconds later.

The rollback is the real one with shorter waits (checks every 5 s, stable for 4 s, 2 s between machines) and a probe
of the edge alone, by which no machine can prove anything, under a policy that goes on then: the waits are loops, and
more of the same rounds would only be lived through more often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from rollguard.core import events as ev
from rollguard.core.policy import Rollback
from rollguard.core.signals import HttpSignal, Scope
from tests.simulation.stage import BAD, GOOD, GUARD, Stage, VirtualTimeLoop, a_policy

INSTANTS_MIN = 100
PARTS = 8


QUICK = replace(
    a_policy(),
    signals=tuple(
        replace(s, scopes=frozenset({Scope.EDGE})) if isinstance(s, HttpSignal) else s for s in a_policy().signals
    ),
    rollback=Rollback(stability_s=4.0, pause_between_s=2.0, wait_timeout_s=120.0, first_wait_s=2.0, go_on_unclear=True),
)
CHECK = {"type": "http", "path": "/health", "interval": "5s", "timeout": "2s", "grace_period": "2s"}


class CountingLoop(VirtualTimeLoop):
    """Counts its own rounds once told to, and calls ``at_instant`` in the round of that number."""

    def __init__(self) -> None:
        super().__init__()
        self.counting = False
        self.instants = 0
        self.kill_at: int | None = None
        self.kill: Callable[[], None] = lambda: None

    def _run_once(self) -> None:
        if self.counting:
            self.instants += 1
            if self.instants == self.kill_at:
                self.kill()
        super()._run_once()  # type: ignore[misc]


@dataclass
class Outcome:
    """How the story ended, from the world's side and from the journal's."""

    instants: int = 0
    digests: set[str] = field(default_factory=set)
    updates: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[int, str]] = field(default_factory=list)
    floor_violations: int = 0
    history: list[ev.Event] = field(default_factory=list)

    def count(self, kind: type[ev.Event]) -> int:
        return sum(isinstance(e, kind) for e in self.history)


def story(kill_at: int | None) -> Outcome:
    """One bad release, one rollback, and at most one SIGKILL in the middle of it."""
    loop_holder: list[CountingLoop] = []

    def factory() -> CountingLoop:
        loop_holder.append(CountingLoop())
        return loop_holder[0]

    async def live() -> Outcome:
        loop = loop_holder[0]
        stage = Stage(check=CHECK)
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(QUICK)
            task = start()
            await asyncio.sleep(10)
            good = ev.Proven(
                at=guard.watch.alive_since, digest=GOOD.digest, image_ref=GOOD.ref, version=1, how="adopted"
            )
            await guard.record.add(good)
            await stage.deploy(BAD)
            killed = asyncio.Event()

            def kill() -> None:
                life.alive = False
                task.cancel()
                killed.set()

            loop.kill_at, loop.kill = kill_at, kill
            await _until(lambda: guard.decision.__class__.__name__ == "RollBack" or killed.is_set())
            loop.counting = True
            ended = lambda: stage.app.releases[-1].version > 2 and stage.app.releases[-1].status == "complete"
            await _until(lambda: killed.is_set() or (guard.record.state.goal is None and ended()))
            loop.counting = False
            if killed.is_set():
                await asyncio.gather(task, return_exceptions=True)
                await asyncio.sleep(2)
                _, guard, start = stage.born(QUICK)
                task = start()
                await asyncio.sleep(1)
                await _until(lambda: guard.record.state.goal is None and ended())
            await asyncio.sleep(15)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return Outcome(
                instants=loop.instants,
                digests=stage.digests,
                updates=stage.updates(GUARD),
                rows=[(r.version, r.status) for r in stage.app.releases if r.user == GUARD],
                floor_violations=sum(v.owner == GUARD for v in stage.app.ledger.violations),
                history=await stage.history(),
            )

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(live())


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(1800):
        while not true():
            await asyncio.sleep(0.25)


def check(outcome: Outcome) -> None:
    """Finished exactly once."""
    assert outcome.digests == {GOOD.digest}
    assert outcome.rows == [(3, "complete")], "one release row, closed"
    assert outcome.count(ev.IncidentOpened) == 1, "one incident"
    assert outcome.count(ev.GoalSet) == 1, "one decision to go back"
    assert set(outcome.updates.values()) == {1}, f"no machine updated twice: {outcome.updates}"
    assert len(outcome.updates) == 4
    assert outcome.floor_violations == 0


@pytest.fixture(scope="module")
def undisturbed() -> Outcome:
    outcome = story(None)
    check(outcome)
    return outcome


def test_an_undisturbed_rollback_has_many_instants_to_die_at(
    undisturbed: Outcome, record_property: Callable[[str, object], None]
) -> None:
    record_property("instants between two steps of a rollback", undisturbed.instants)
    assert undisturbed.instants >= INSTANTS_MIN


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_instant_the_next_life_finishes_exactly_once(undisturbed: Outcome, part: int) -> None:
    for instant in range(1 + part, undisturbed.instants + 1, PARTS):
        try:
            check(story(instant))
        except AssertionError as error:
            raise AssertionError(f"killed at instant {instant} of {undisturbed.instants}: {error}") from error
