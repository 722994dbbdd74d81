"""Attacks on the wire: whatever becomes of messages, the promises hold.

``besiege`` checks them after every story (``siege.promises``): never two automatic rollbacks of one digest, no write
without its intent, the candidate never installed, the floor kept, one release row a goal and none left open, every
goal ended, every end told, no storm of pages.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.policy import Verify
from rollguard.engine import execute
from tests.simulation.siege import QUICK, Siege, besiege
from tests.simulation.stage import BAD, GOOD, GUARD
from tests.simulation.trouble import KINDS, WRITES


@pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_answer_of_any_kind_changes_nothing_about_the_end(kind: str, times: int, takes_effect: bool) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on(kind, times=times, lost=True, takes_effect=takes_effect)
        await siege.ended()

    after = besiege(story)
    assert after.stage.digests == {GOOD.digest}, after.pages
    assert after.outcomes == ["restored"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_platform_that_asks_for_an_hours_patience_does_not_cost_the_deadline(kind: str) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on(kind, times=2, status=429, headers={"retry-after": "3600"})
        await siege.until(lambda: siege.guard.record.state.rollbacks, for_s=120)
        await siege.until(lambda: siege.guard.record.state.goal is None, for_s=300)

    assert besiege(story).stage.digests == {GOOD.digest}


@pytest.mark.parametrize("for_s", [60.0, 600.0])
@pytest.mark.parametrize("phase", [k for k in KINDS if k != "definition"])
def test_after_an_outage_that_begins_anywhere_the_rollback_goes_on(phase: str, for_s: float) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)

        async def begin() -> None:
            siege.trouble.outage(for_s)

        siege.trouble.on(phase, act=begin, lost=True, takes_effect=phase in WRITES)
        await siege.ended()

    after = besiege(story, settle_s=120)
    assert after.stage.digests == {GOOD.digest}, after.pages
    assert max(after.stage.updates(GUARD).values()) == 1


@pytest.mark.parametrize("phase", ["get", "update", "lease"])
def test_an_outage_beyond_the_deadline_is_handed_over_and_the_row_is_closed_when_it_is_over(phase: str) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)

        async def begin() -> None:
            siege.trouble.outage(1000)

        siege.trouble.on(phase, act=begin, lost=True, skip=1)
        await siege.ended()

    after = besiege(story, settle_s=300)
    assert after.outcomes == ["deadline"]
    assert after.rows == [(3, "failed")]


def test_slow_answers_make_a_slow_rollback_and_nothing_else() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on(times=math.inf, late_s=4.0)
        await siege.ended()

    assert besiege(story, settle_s=120).stage.digests == {GOOD.digest}


def test_a_release_row_that_cannot_be_marked_stops_no_machine_and_is_closed_later() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.outage(200, "row patch", status=504)
        await siege.ended()

    after = besiege(story, replace(QUICK, verify=Verify(settle_s=300.0, require=("home",))), settle_s=300)
    assert after.stage.digests == {GOOD.digest}
    assert after.rows == [(3, "complete")]


def test_a_write_that_is_refused_three_times_is_handed_over() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on("update", times=math.inf, status=408)
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["failed"]
    assert sum(kind == "update" for _, kind in after.stage.trouble.seen) == 3


def test_a_list_that_leaves_out_a_machine_is_not_the_whole_app() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        siege.stage.faults.change({"list_machines": "one missing", "owner": GUARD})
        await siege.ended()
        assert len(siege.updated) == 4, "who is missing in the list is called by name"

    after = besiege(story)
    assert after.stage.digests == {GOOD.digest}
    assert after.outcomes == ["restored"]


@pytest.mark.parametrize("fault", ["empty", "truncated", "503"])
def test_a_list_that_cannot_be_believed_in_the_middle_is_waited_out(fault: str) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        siege.stage.faults.change({"list_machines": fault, "owner": GUARD})
        await asyncio.sleep(120)
        siege.stage.faults.change({"list_machines": None})
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_an_image_that_may_not_be_looked_up_is_paged_not_pondered_for_ever() -> None:
    async def story(siege: Siege) -> None:
        siege.trouble.on("image", times=math.inf, status=403)
        await siege.stage.deploy(BAD)
        await asyncio.sleep(120)

    assert "could not be looked up" in " ".join(besiege(story).pages)


def test_a_guard_that_never_saw_the_platform_says_that_it_is_blind_once() -> None:
    async def story(siege: Siege) -> None:
        await siege.die()
        siege.trouble.outage(1200)
        siege.rise()
        await asyncio.sleep(1500)

    pages = besiege(story).pages
    assert len(pages) == 2
    assert "the platform has not answered" in pages[0]
    assert "answers again" in pages[1]


def test_a_release_that_was_seen_late_is_still_to_blame() -> None:
    async def story(siege: Siege) -> None:
        siege.trouble.outage(25, "list")
        await siege.stage.deploy(BAD)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_what_was_bad_before_the_release_is_not_its_doing() -> None:
    async def story(siege: Siege) -> None:
        for machine in siege.machines:
            await siege.machine(machine, "stop")
        await asyncio.sleep(30)
        for machine in siege.machines:
            await siege.machine(machine, "cordon")
            await siege.machine(machine, "start")
        await asyncio.sleep(30)
        await siege.stage.deploy(BAD)
        await asyncio.sleep(120)

    after = besiege(story)
    assert not after.of(ev.GoalSet)
    assert "before the release came" in " ".join(after.pages)


def test_a_machine_whose_host_is_gone_keeps_nobody_from_acting_and_is_named_in_the_end() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        lost = siege.stage.app.machines[siege.machines[0]]
        lost.host_status = "unreachable"
        lost.touch(siege.guard.clock.now())
        siege.trouble.on("lease get", "lease", where=lost.id, times=math.inf, status=408)
        await siege.ended()

    after = besiege(story, machines=8)
    assert after.outcomes == ["failed"]
    assert len(after.stage.updates(GUARD)) == 7
    assert any("cannot be reached" in page for page in after.pages)


def test_a_look_that_was_overtaken_by_a_later_one_is_forgotten() -> None:
    async def story(siege: Siege) -> None:
        siege.trouble.on("rows", late_s=8.0)
        slow = asyncio.create_task(siege.guard.watch.look())
        await asyncio.sleep(1)
        newer = await siege.guard.watch.look()
        await slow
        assert siege.guard.watch.snapshot is not None
        assert siege.guard.watch.snapshot.at >= newer.at

    besiege(story)


def test_a_mistake_of_our_own_in_the_middle_of_a_rollback_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        monkeypatch.setattr(execute, "next_step", lambda *_: next(iter(())))
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["failed"]
    assert "StopIteration" in " ".join(after.pages)
