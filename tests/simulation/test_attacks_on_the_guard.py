"""Attacks on the process, the clock and the disk. ``besiege`` checks the promises after every story."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from functools import partial

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from tests.simulation.siege import QUICK, Siege, besiege
from tests.simulation.stage import BAD, GOOD, GUARD
from tests.simulation.trouble import WRITES, Fault

# -- the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(WRITES))
@pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
def test_killed_at_any_write_and_again_in_the_next_life_it_finishes_once(kind: str, takes_effect: bool) -> None:
    async def story(siege: Siege) -> None:
        async def kill() -> None:
            siege.life.alive = False
            siege.task.cancel()

        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        for _ in range(2):
            fault = siege.trouble.on(kind, act=kill, lost=True, takes_effect=False)
            await siege.until(partial(_met_or_over, fault, siege))
            await siege.die()
            await asyncio.sleep(2)
            siege.rise()
            await asyncio.sleep(1)
        await siege.until(lambda: siege.guard.record.state.goal is None)

    after = besiege(story, settle_s=90)
    assert after.stage.digests == {GOOD.digest}, after.pages
    assert len(after.of(ev.GoalSet)) == 1


def test_killed_before_the_first_machine_is_proven_the_next_life_still_sends_one_alone() -> None:
    async def story(siege: Siege) -> None:
        async def kill() -> None:
            siege.life.alive = False
            siege.task.cancel()

        siege.trouble.on("update", act=kill, lost=True)
        await siege.stage.deploy(BAD)
        await siege.until(lambda: not siege.life.alive)
        await siege.die()
        await asyncio.sleep(20)
        siege.rise()
        await siege.until(lambda: siege.updated)
        await asyncio.sleep(3)
        assert len(siege.updated) == 1
        await siege.until(lambda: len(siege.updated) > 1)
        healthy = [e for e in await siege.stage.history() if isinstance(e, ev.StepDone) and e.phase == "healthy"]
        assert healthy, "the others came before the first was well"
        await siege.until(lambda: siege.guard.record.state.goal is None)

    assert besiege(story, machines=10).stage.digests == {GOOD.digest}


def test_a_life_that_may_only_observe_hands_over_what_an_earlier_one_began() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        await siege.die()
        written = sum(siege.stage.app.ledger.writes[GUARD].values())
        siege.rise(limit=Mode.OBSERVE)
        await asyncio.sleep(300)
        assert sum(siege.stage.app.ledger.writes[GUARD].values()) == written, "observe writes nothing at all"

    after = besiege(story, rows_closed=False)
    assert after.outcomes == ["paused"]


@pytest.mark.parametrize("skew_s", [-7200.0, 7200.0])
def test_a_life_whose_clock_cannot_be_right_hands_over(skew_s: float) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        await siege.die()
        siege.stage.watches.skew_s = skew_s
        siege.rise()
        await asyncio.sleep(120)

    after = besiege(story)
    assert after.outcomes == (["failed"] if skew_s < 0 else ["deadline"])
    assert sum(after.stage.updates(GUARD).values()) == 1


def test_a_restart_is_no_recovery() -> None:
    slow = replace(QUICK, signals=tuple(replace(s, every_s=30.0) for s in QUICK.signals))

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await asyncio.sleep(240)
        for _ in range(3):
            await siege.die_and_rise()
            await asyncio.sleep(100)

    after = besiege(story, replace(slow, mode=Mode.PAGE))
    assert len(after.of(ev.IncidentOpened)) == 1, after.pages
    assert not after.of(ev.IncidentClosed)


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
def test_after_a_clock_jump_the_guard_goes_on_judging_and_acts_when_it_may(skew_s: float) -> None:
    async def story(siege: Siege) -> None:
        siege.stage.watches.skew_s = skew_s
        await asyncio.sleep(120)
        await siege.stage.deploy(BAD)
        await asyncio.sleep(240)
        if skew_s < 0:
            assert not siege.guard.record.state.rollbacks, "before the journal's newest entry nothing is automatic"
            assert any(f.firing for f in siege.guard.findings), "but it is judged"
            await siege.until(lambda: siege.guard.record.state.rollbacks, for_s=4000)
        await siege.ended()

    after = besiege(story)
    assert after.stage.digests == {GOOD.digest}, after.pages


def test_a_clock_jump_in_the_middle_of_a_rollback_disturbs_nothing() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        siege.stage.watches.skew_s = -3600.0
        await siege.ended()

    assert besiege(story, settle_s=200).stage.digests == {GOOD.digest}


# -- the disk ----------------------------------------------------------------------------------------------------------


def test_after_a_disk_is_full_at_any_append_nothing_is_written_outside_and_the_next_life_finishes() -> None:
    for full_at in range(200):
        hit: list[bool] = []

        async def story(siege: Siege, writes_left: int = full_at, hit: list[bool] = hit) -> None:
            await siege.stage.deploy(BAD)
            await siege.until(lambda: siege.guard.watch.want_leases)
            siege.stage.full.writes_left = writes_left
            await siege.until(lambda: siege.task.done() or _rolled_back(siege))
            if siege.task.done():
                await asyncio.gather(siege.task, return_exceptions=True)
                await _nothing_was_written_since_the_disk_was_full(siege)
                hit.append(True)
            siege.stage.full.writes_left = math.inf
            await siege.die_and_rise()
            await siege.ended()

        after = besiege(story, settle_s=20)
        assert after.stage.digests == {GOOD.digest}, (full_at, after.pages)
        if not hit:
            break
    assert 20 < full_at < 199


async def _nothing_was_written_since_the_disk_was_full(siege: Siege) -> None:
    failed_at = siege.stage.full.failed_at
    assert failed_at is not None
    late = [e for e in siege.stage.app.ledger.events if e["owner"] == GUARD and e["at"] > failed_at + 0.05]
    assert {e["kind"] for e in late} <= {"lease_release"}, late


def _rolled_back(siege: Siege) -> bool:
    newest = siege.stage.app.releases[-1]
    return newest.user == GUARD and newest.status == "complete"


def _met_or_over(fault: Fault, siege: Siege) -> bool:
    return fault.times == 0 or siege.guard.record.state.goal is None
