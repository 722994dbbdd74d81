"""Killed at any await of a rollback by other hands, the next life ends it, and nothing is begun a second time.

The loop counts the instants between two steps of any task while an undisturbed rollback runs; then each of them is
lived through with a SIGKILL at exactly that instant, on a fresh world. Elsewhere the work goes on without the guard;
on its own machine it ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from rollguard.core import events as ev
from tests.simulation.office import Clerk, Office, delegated
from tests.simulation.siege import CHECK, QUICK, Siege
from tests.simulation.stage import BAD, GOOD, GUARD, Stage
from tests.simulation.test_killed_anywhere import CountingLoop

MACHINES = 2
PARTS = 4
POLICY = delegated(QUICK)


@dataclass
class Outcome:
    """How it ended, from the world's side, the other executor's and the journal's."""

    instants: int = 0
    digests: set[str] = field(default_factory=set)
    orders: int = 0
    written: int = 0
    history: list[ev.Event] = field(default_factory=list)

    def of(self, kind: type[ev.Event]) -> list[ev.Event]:
        return [e for e in self.history if isinstance(e, kind)]

    @property
    def outcomes(self) -> list[str]:
        return [e.outcome for e in self.history if isinstance(e, ev.GoalEnded)]

    @property
    def told(self) -> bool:
        """Whether an order went out, as far as the journal knows."""
        return any(e.kind == "delegate" for e in self.history if isinstance(e, ev.StepIntended))


def story(kill_at: int | None, *, at_home: bool) -> Outcome:
    """One bad release, one order, and at most one SIGKILL in the middle of it."""
    loops: list[CountingLoop] = []

    def factory() -> CountingLoop:
        loops.append(CountingLoop())
        return loops[0]

    async def live() -> Outcome:
        loop, stage = loops[0], Stage(machines=MACHINES, check=CHECK)
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(POLICY)
            siege = Siege(stage, POLICY, guard, life, start())
            office = Office(siege, at_home=at_home)
            await siege.die()
            stage.delegate_of = lambda life: Clerk(office, life)
            siege.rise()
            await asyncio.sleep(12)
            await siege.acts.adopt("alice", "runs since May", None)
            await stage.deploy(BAD)
            killed = asyncio.Event()

            def kill() -> None:
                siege.life.alive = False
                siege.task.cancel()
                office.mourn()
                killed.set()

            loop.kill_at, loop.kill = kill_at, kill
            first = siege.guard
            await siege.until(lambda: type(first.decision).__name__ == "RollBack" or killed.is_set())
            loop.counting = True
            await siege.until(lambda: killed.is_set() or _over(siege))
            loop.counting = False
            if killed.is_set():
                await siege.die_and_rise()
                await siege.until(lambda: _over(siege))
            await asyncio.sleep(15)
            tasks = [siege.task, *office.runs.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            written = sum(stage.updates(GUARD).values()) + sum(r.user == GUARD for r in stage.app.releases)
            return Outcome(loop.instants, stage.digests, len(office.orders), written, await stage.history())

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(live())


def _over(siege: Siege) -> bool:
    state = siege.guard.record.state
    return bool(state.rollbacks) and state.goal is None


def check(outcome: Outcome) -> None:
    """Ended once, one way or the other; begun once at most; and the guard's own hands were still."""
    assert outcome.orders <= 1, "told twice"
    assert len(outcome.of(ev.GoalSet)) == 1, "one decision to go back"
    assert len(outcome.outcomes) == 1, "one end"
    assert outcome.written == 0, "the guard left it to the other"
    assert len([e for e in outcome.history if isinstance(e, ev.StepIntended) and e.kind == "delegate"]) == 1
    if outcome.outcomes == ["restored"]:
        assert outcome.digests == {GOOD.digest}
    else:
        pages = [e.summary for e in outcome.history if isinstance(e, ev.PageQueued)]
        assert any("handed over to you" in page for page in pages), "not said"


@pytest.fixture(scope="module")
def undisturbed() -> dict[bool, int]:
    """How many instants there are, elsewhere and at home."""
    found = {}
    for at_home in (False, True):
        outcome = story(None, at_home=at_home)
        check(outcome)
        assert outcome.outcomes == ["restored"]
        found[at_home] = outcome.instants
    return found


@pytest.mark.parametrize("at_home", [False, True])
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_instant_it_ends_and_is_begun_once_at_most(
    undisturbed: dict[bool, int], part: int, at_home: bool, record_property: Callable[[str, object], None]
) -> None:
    record_property("instants", undisturbed[at_home])
    for instant in range(1 + part, undisturbed[at_home] + 1, PARTS):
        outcome = story(instant, at_home=at_home)
        try:
            check(outcome)
            if not at_home and outcome.orders:
                assert outcome.outcomes == ["restored"], "what goes on elsewhere is found again"
        except AssertionError as error:
            raise AssertionError(f"killed at instant {instant} of {undisturbed[at_home]}: {error}") from error
