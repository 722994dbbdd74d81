"""The main job in virtual time: what the guard does to a world, and what it leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.policy import Policy
from rollguard.engine.acts import Acts
from rollguard.engine.guard import Guard
from rollguard.errors import Refused
from tests.simulation.stage import BAD, CI, FINE, GOOD, GUARD, Stage, a_policy
from tests.virtual_time import run

Story = Callable[[Stage, Guard], Awaitable[None]]


def live(story: Story, policy: Policy | None = None, *, machines: int = 4, proven: bool = True) -> list[ev.Event]:
    """A guard has watched the good release (a person vouched for it); then the story. The journal afterwards."""

    async def scene() -> list[ev.Event]:
        stage = Stage(machines=machines)
        async with stage.host:
            await asyncio.sleep(30)
            _life, guard, start = stage.born(policy)
            task = start()
            await asyncio.sleep(15)
            if proven:
                await Acts(guard, guard.platform, guard.clock).adopt("alice", "runs since May", None)
            await story(stage, guard)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await stage.history()

    return run(scene())


def outcomes(history: list[ev.Event]) -> list[str]:
    return [e.outcome for e in history if isinstance(e, ev.GoalEnded | ev.IncidentClosed)]


def pages(history: list[ev.Event]) -> list[str]:
    return [e.summary for e in history if isinstance(e, ev.PageQueued) and e.kind == "alert"]


def test_a_bad_release_is_rolled_back_machine_by_machine_and_verified() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(300)
        assert stage.digests == {GOOD.digest}
        assert set(stage.updates(GUARD).values()) == {1}
        assert [(r.version, r.status) for r in stage.app.releases if r.user == GUARD] == [(3, "complete")]
        assert not [v for v in stage.app.ledger.violations if v.owner == GUARD]
        marks = {m.config["metadata"]["fly_release_version"] for m in stage.app.machines.values()}
        assert marks == {"3"}

    history = live(story)
    assert outcomes(history) == ["restored", "restored"]
    assert "rolling back v2" in pages(history)[0]
    assert pages(history)[-1].startswith("hotdash-production: restored")


def test_a_good_release_is_left_alone_and_proven() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(FINE)
        await asyncio.sleep(700)
        assert stage.digests == {FINE.digest}
        assert not stage.app.ledger.writes[GUARD]

    history = live(story)
    assert [e.digest for e in history if isinstance(e, ev.Proven)] == [GOOD.digest, FINE.digest]
    assert pages(history) == []


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PAGE])
def test_a_guard_that_may_not_act_writes_nothing_at_all_to_the_platform(mode: Mode) -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(120)
        assert stage.digests == {BAD.digest}
        assert not stage.app.ledger.writes[GUARD]

    history = live(story, replace(a_policy(), mode=mode))
    decided = [e.decision for e in history if isinstance(e, ev.Decided)]
    assert decided == (["would-rollback"] if mode is Mode.OBSERVE else ["page"])
    assert len(pages(history)) == (0 if mode is Mode.OBSERVE else 1)


def test_without_a_proven_release_the_guard_pages_and_says_so_once() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(120)
        assert stage.digests == {BAD.digest}

    history = live(story, proven=False)
    assert len(pages(history)) == 1
    assert "no proven release to go back to" in pages(history)[0]


def test_people_win_a_deploy_in_the_middle_of_a_rollback_ends_it_within_one_machine() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await _until(lambda: len(stage.updates(GUARD)) == 2)
        await stage.deploy(FINE)
        await asyncio.sleep(120)
        assert stage.digests == {FINE.digest}, "nothing was changed back"
        assert len(stage.updates(GUARD)) == 2
        assert [r.status for r in stage.app.releases if r.user == GUARD] == ["failed"]

    history = live(story)
    assert outcomes(history)[0] == "yielded"
    assert any("handed over to you" in p for p in pages(history))


def test_a_pause_in_the_middle_of_a_rollback_ends_it_and_nothing_is_resumed() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        acts = Acts(guard, guard.platform, guard.clock)
        await stage.deploy(BAD)
        await _until(lambda: len(stage.updates(GUARD)) == 1)
        await acts.pause("bob", "let me look")
        await asyncio.sleep(120)
        await acts.resume("bob", "go on")
        await asyncio.sleep(120)
        assert len(stage.updates(GUARD)) == 1

    assert outcomes(live(story))[0] == "paused"


def test_the_same_digest_shipped_again_is_paged_and_never_rolled_back_a_second_time() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(300)
        await stage.deploy(BAD)
        await asyncio.sleep(4000)
        assert stage.digests == {BAD.digest}
        assert set(stage.updates(GUARD).values()) == {1}

    history = live(story)
    assert "was already rolled back" in pages(history)[-2]
    assert "nobody answered" in pages(history)[-1]


def test_an_update_that_took_effect_without_an_answer_is_not_sent_again() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        stage.faults.change({"update": "408-after-effect", "owner": GUARD})
        await stage.deploy(BAD)
        await asyncio.sleep(400)
        assert stage.digests == {GOOD.digest}
        assert set(stage.updates(GUARD).values()) == {1}

    assert outcomes(live(story)) == ["restored", "restored"]


def test_a_target_image_that_cannot_be_pulled_stops_the_rollback_at_the_first_machine() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(5)
        stage.faults.change({"pull": "fails"})
        await asyncio.sleep(500)
        assert stage.digests == {BAD.digest}
        assert sum(stage.updates(GUARD).values()) == 1

    history = live(story)
    assert outcomes(history)[0] == "failed"
    assert any("previous version" in p for p in pages(history))


def test_an_empty_machine_list_is_not_believed_and_nothing_is_done_about_it() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        stage.faults.change({"list_machines": "empty"})
        await asyncio.sleep(300)
        assert not stage.app.ledger.writes[GUARD]
        stage.faults.change({"list_machines": None})
        await stage.deploy(BAD)
        await asyncio.sleep(300)
        assert stage.digests == {GOOD.digest}

    live(story)


@pytest.mark.parametrize("machines", [1, 2, 3, 10])
def test_every_size_of_group_gets_back_and_only_a_lonely_machine_has_a_gap(machines: int) -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        await stage.deploy(BAD)
        await asyncio.sleep(800)
        assert stage.digests == {GOOD.digest}
        assert not [v for v in stage.app.ledger.violations if v.owner == GUARD]

    history = live(story, machines=machines)
    assert ("it is down while it changes" in pages(history)[0]) == (machines == 1)


def test_a_rollback_by_hand_says_its_plan_first_and_then_does_the_same() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        acts = Acts(guard, guard.platform, guard.clock)
        await stage.deploy(FINE)
        await asyncio.sleep(30)
        plan = await acts.rollback("carol", "customers call", None, [], dry_run=True)
        assert not plan.refusals
        assert "1 first, then 1 at a time; at least 3 of 4 stay healthy" in " ".join(plan.steps)
        assert not stage.app.ledger.writes[GUARD]
        done = await acts.rollback("carol", "customers call", 1, [], dry_run=False)
        assert done.incident
        await asyncio.sleep(300)
        assert stage.digests == {GOOD.digest}

    assert outcomes(live(story)) == ["restored", "restored"]


def test_a_rollback_by_hand_is_refused_while_somebody_deploys_and_no_override_helps() -> None:
    async def story(stage: Stage, guard: Guard) -> None:
        acts = Acts(guard, guard.platform, guard.clock)
        await stage.deploy(FINE)
        await stage.hold_machine(CI)
        await asyncio.sleep(2)
        plan = await acts.rollback("carol", "now", 1, ["pause", "migration"], dry_run=False)
        assert [r.name for r in plan.refusals] == ["deploy in progress"]
        with pytest.raises(Refused, match="cannot be overridden"):
            await acts.rollback("carol", "now", 1, ["deploy in progress"], dry_run=False)
        assert stage.digests == {FINE.digest}

    live(story)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not true():
            await asyncio.sleep(0.25)
