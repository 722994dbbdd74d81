"""A whole guard whose policy names another executor: it tells, follows, and believes only what it sees."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.executors import Machines
from rollguard.core.model import Mode
from rollguard.core.order import Work
from tests.simulation.office import LINK, WORKFLOW, Office, delegated, tell
from tests.simulation.siege import QUICK, Siege
from tests.simulation.stage import APP, BAD, CI, FINE, GOOD
from tests.virtual_time import wall_clock


async def bad_release(siege: Siege, office: Office) -> None:
    await siege.stage.deploy(BAD)
    await siege.ended()


def test_a_bad_release_is_rolled_back_by_the_other_executor_and_seen_to_be_well() -> None:
    told = tell(bad_release)
    assert told.outcomes == ["restored"]
    assert told.after.stage.digests == {GOOD.digest}
    assert len(told.office.orders) == 1
    assert not told.wrote(), "the guard itself wrote nothing"
    [order] = told.office.orders
    assert order.image == f"registry.fly.io/hotdash-production@{GOOD.digest}"
    assert order.version == 1
    assert order.reason.startswith(f"rollguard {order.incident}.")
    healthy = [e.machine for e in told.after.of(ev.StepDone) if e.kind == "update" and e.phase == "healthy"]
    assert len(healthy) == 4, "each machine as it was read back"
    assert told.after.of(ev.Verified)[-1].result == "restored"
    assert [e.link for e in told.after.of(ev.Delegated)] == [LINK, LINK]


def test_the_leases_and_the_row_of_the_deploy_it_was_told_to_make_are_no_sign_of_other_people() -> None:
    told = tell(bad_release)
    assert [(r.user, r.status) for r in told.after.stage.app.releases[2:]] == [(CI, "complete")]
    assert told.outcomes == ["restored"]


def test_what_it_says_failed_is_handed_over_with_the_mix() -> None:
    async def half_way(siege: Siege) -> None:
        await siege.flyctl(GOOD, dies_after=2)

    told = tell(bad_release, deed=half_way, says=Work.FAILED)
    assert told.outcomes == ["failed"]
    [end] = told.after.of(ev.GoalEnded)
    assert f"{WORKFLOW.name} failed: so it says; the mix is 2 on" in end.sentence
    assert len(told.office.orders) == 1


def test_a_success_that_cannot_be_seen_on_the_machines_is_none() -> None:
    async def nothing(siege: Siege) -> None:
        await asyncio.sleep(5)

    told = tell(bad_release, deed=nothing)
    assert told.outcomes == ["failed"]
    assert "said success; machine" in told.after.of(ev.GoalEnded)[0].sentence
    assert told.after.stage.digests == {BAD.digest}


def test_another_image_than_the_target_is_no_success_either() -> None:
    async def another(siege: Siege) -> None:
        await siege.flyctl(FINE, step_s=1.0)

    told = tell(bad_release, deed=another)
    assert told.outcomes == ["yielded"], "a row with another image is somebody else's, whoever made it"


def test_a_persons_deploy_in_the_middle_ends_it_and_the_other_executor_is_told_to_stop() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: GOOD.digest in siege.stage.digests)
        siege.aside(siege.stage.deploy(FINE))
        await siege.ended()
        await asyncio.sleep(60)
        assert siege.stage.digests == {FINE.digest}, "people win"

    told = tell(tale)
    assert told.outcomes == ["yielded"]
    assert told.office.cancelled == [told.office.orders[0].id]
    assert "release v4 by" in told.after.of(ev.GoalEnded)[0].sentence


def test_a_machine_that_somebody_puts_on_a_third_image_ends_it() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        machine = siege.machines[3]
        config = dict(siege.stage.app.machines[machine].config) | {"image": FINE.ref}
        assert await siege.call("POST", f"/v1/apps/{APP}/machines/{machine}", {"config": config})
        await siege.ended()

    async def slow(siege: Siege) -> None:
        await asyncio.sleep(600)

    told = tell(tale, deed=slow)
    assert told.outcomes == ["yielded"]
    assert "changed by somebody else" in told.after.of(ev.GoalEnded)[0].sentence


def test_a_pause_ends_it_and_the_other_executor_is_told_to_stop() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.acts.pause("bob", "let me look")
        await siege.ended()

    told = tell(tale)
    assert told.outcomes == ["paused"]
    assert told.office.cancelled


def test_one_that_never_ends_is_stopped_when_its_time_is_over() -> None:
    async def for_ever(siege: Siege) -> None:
        await asyncio.sleep(10_000)

    told = tell(bad_release, deed=for_ever)
    assert told.outcomes == ["failed"]
    assert "was not done within 10 m" in told.after.of(ev.GoalEnded)[0].sentence
    assert told.office.cancelled


def test_an_order_whose_answer_is_lost_is_found_again_and_not_sent_twice() -> None:
    told = tell(bad_release, loses_answers=True)
    assert told.outcomes == ["restored"]
    assert len(told.office.orders) == 1


def test_where_it_cannot_be_told_whether_it_began_the_world_is_looked_at() -> None:
    told = tell(bad_release, loses_answers=True, silent=True)
    assert told.outcomes == ["restored"], "it had done it all the while"
    assert len(told.office.orders) == 1

    async def nothing(siege: Siege) -> None:
        await asyncio.sleep(5)

    told = tell(bad_release, deed=nothing, loses_answers=True, silent=True)
    assert told.outcomes == ["failed"]
    assert "whether it began cannot be told" in told.after.of(ev.GoalEnded)[0].sentence


def test_a_refused_order_is_handed_over_and_nothing_was_touched() -> None:
    told = tell(bad_release, refuses=True)
    assert told.outcomes == ["failed"]
    assert "did not begin: HTTP 404" in told.after.of(ev.GoalEnded)[0].sentence
    assert told.after.stage.digests == {BAD.digest}
    assert not told.wrote()


def test_a_life_with_another_executor_does_not_go_on_with_what_this_one_began() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.die()
        siege.policy = replace(QUICK, rollback=replace(QUICK.rollback, executor=Machines()))
        siege.rise()
        await siege.ended()
        await asyncio.sleep(60)

    told = tell(tale)
    assert told.outcomes == ["failed"]
    assert not told.wrote(), "two hands at once would undo each other's work"


def test_a_life_that_may_not_act_hands_it_over() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.die()
        siege.rise(limit=Mode.PAGE)
        await siege.ended()

    told = tell(tale)
    assert told.outcomes == ["paused"]
    assert not told.office.cancelled


@pytest.mark.parametrize("machines", [1, 3])
def test_any_number_of_machines(machines: int) -> None:
    assert tell(bad_release, machines=machines).outcomes == ["restored"]


def test_in_mode_page_nobody_is_told_anything_but_people() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await asyncio.sleep(60)

    told = tell(tale, replace(QUICK, mode=Mode.PAGE))
    assert not told.office.orders
    assert told.after.pages


def test_the_policy_of_these_tests_has_no_first_machine_to_prove_it() -> None:
    assert delegated(QUICK).rollback.executor == WORKFLOW
    goals = tell(bad_release).after.of(ev.GoalSet)
    assert [(g.prove, g.executor) for g in goals] == [(False, WORKFLOW.name)]


def test_a_restored_image_that_is_not_healthy_is_no_success() -> None:
    sick = replace(QUICK, rollback=replace(QUICK.rollback, wait_timeout_s=60.0))

    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        siege.stage.world.set_mood(APP, {"health_fails": True}, wall_clock())
        await siege.ended()

    told = tell(tale, sick)
    assert told.outcomes == ["failed"]
    assert "is not healthy on the target" in told.after.of(ev.GoalEnded)[0].sentence


def test_an_outage_of_the_platform_while_it_works_is_sat_out() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        siege.trouble.outage(90.0)
        await siege.ended()

    assert tell(tale).outcomes == ["restored"]


def test_the_deadline_ends_it() -> None:
    hurried = replace(QUICK, rollback=replace(QUICK.rollback, deadline_s=60.0))

    async def for_ever(siege: Siege) -> None:
        await asyncio.sleep(10_000)

    told = tell(bad_release, hurried, deed=for_ever)
    assert told.outcomes == ["deadline"]
    assert told.office.cancelled


def test_nothing_is_told_that_cannot_be_written_down() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.rollbacks)
        siege.stage.full.writes_left = 0
        await asyncio.sleep(30)
        assert not office.orders
        siege.stage.full.writes_left = 10_000
        await siege.die_and_rise()
        await siege.ended()

    told = tell(tale)
    assert told.outcomes == ["restored"], "the intent was not written: the next life tells, for the first time"
    assert len(told.office.orders) == 1


def test_a_machine_that_appears_on_the_candidate_meanwhile_is_not_left_behind_unsaid() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.add_machine(BAD)
        await siege.ended()

    async def only_the_old_ones(siege: Siege) -> None:
        await asyncio.sleep(3)
        await siege.flyctl(GOOD, dies_after=4, step_s=1.0)

    told = tell(tale, deed=only_the_old_ones)
    assert told.outcomes == ["failed"]
    assert "said success; machine" in told.after.of(ev.GoalEnded)[0].sentence


def test_a_row_of_the_same_image_by_anybody_wants_the_same() -> None:
    async def tale(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.stage.deploy(GOOD)
        await siege.ended()

    async def waits(siege: Siege) -> None:
        await asyncio.sleep(30)

    assert tell(tale, deed=waits).outcomes == ["restored"]
