"""A guard that looks ahead keeps its hands off, and wakes nobody for nothing."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from rollguard.adapters.fly.rights import DESCRIPTION, LEASE_S
from rollguard.core import events as ev
from rollguard.core.deploys import Quiet, in_progress
from rollguard.core.model import Lease, Mode
from rollguard.core.readiness import State
from tests.builders import a_snapshot
from tests.simulation.siege import QUICK, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD
from tests.simulation.test_drift import env, release
from tests.simulation.test_readiness import NEXT, PATIENCE_S, ahead, changes, said, serving, told
from tests.simulation.trouble import WRITES

LEASES = f"/v1/apps/{APP}/machines"


def held(siege: Siege) -> list[float]:
    """When a guard asked to hold a machine."""
    return [at for at, kind in siege.trouble.seen if kind == "lease"]


def writes(siege: Siege) -> list[str]:
    return [kind for _, kind in siege.trouble.seen if kind in WRITES]


def told_now(siege: Siege) -> tuple[str, ...]:
    """What people were told of in the newest alert."""
    newest = siege.guard.record.state.readiness
    assert newest is not None
    return newest.told


# -- hands off -------------------------------------------------------------------------------------------------------


def test_a_paused_guard_holds_no_machine() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.pause("ann", "I repair this by hand")
        before = len(writes(siege))
        await siege.die_and_rise()  # at its start it would try
        await asyncio.sleep(2 * 3600)
        assert len(writes(siege)) == before
        await siege.acts.resume("ann", "done")
        await asyncio.sleep(300)
        assert len(held(siege)) == 1 + before // 2

    ahead(story)


def test_a_guard_that_was_told_of_a_hotfix_holds_no_machine() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.hold("ann", "a hotfix comes", 1800)
        before = len(writes(siege))
        await siege.die_and_rise()
        await asyncio.sleep(1500)
        assert len(writes(siege)) == before
        await asyncio.sleep(700)  # it is over
        assert len(writes(siege)) == before + 2

    ahead(story)


def test_a_guard_that_is_new_here_holds_no_machine() -> None:
    async def story(siege: Siege) -> None:
        await asyncio.sleep(500)
        assert not writes(siege)
        await asyncio.sleep(500)
        assert len(held(siege)) == 1

    ahead(story, proven=False)


def test_a_guard_that_does_not_see_the_machines_holds_none() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.die_and_rise()
        siege.trouble.outage(4000, "list", status=503)
        before = len(held(siege))
        await asyncio.sleep(3900)
        assert len(held(siege)) == before

    ahead(story)


@pytest.mark.parametrize("limit", [Mode.OBSERVE])
def test_a_guard_limited_to_observing_writes_nothing_whatever_its_policy_says(limit: Mode) -> None:
    async def story(siege: Siege) -> None:
        await siege.die()
        siege.trouble.seen.clear()
        siege.rise(limit=limit)
        await serving(siege)
        await asyncio.sleep(2 * 3600)
        assert not writes(siege)

    ahead(story)


def test_a_deploy_that_begins_while_questions_hang_finds_no_machine_held() -> None:
    meetings: list[object] = []

    async def story(siege: Siege) -> None:
        async def met() -> None:
            meetings.append(siege.guard.watch.deploy)

        await serving(siege)
        await siege.die_and_rise()
        siege.trouble.on("lease", times=math.inf, act=met)
        siege.trouble.on("image", times=2, late_s=12.0)  # what is asked first takes so long
        await asyncio.sleep(8)
        await siege.flyctl(NEXT, step_s=20)
        await asyncio.sleep(200)

    ahead(story)
    assert not any(meetings)


def test_answers_that_are_lost_do_not_hold_a_machine_every_minute() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.die_and_rise()
        siege.trouble.on("lease release", times=math.inf, lost=True)
        siege.trouble.seen.clear()
        await asyncio.sleep(3500)
        assert 1 <= len(held(siege)) <= 6

    ahead(story)


def test_what_a_killed_guard_held_to_try_it_is_free_within_seconds_and_is_no_deploy() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.die_and_rise()
        dead = asyncio.Event()

        async def killed() -> None:
            siege.life.alive = False
            dead.set()

        siege.trouble.on("lease release", act=killed)
        await dead.wait()
        await siege.die()
        siege.rise()
        await asyncio.sleep(LEASE_S + 1)
        for machine in siege.machines:
            assert await siege.call("GET", f"{LEASES}/{machine}/lease") is None
        await asyncio.sleep(60)

    after = ahead(story)
    assert not told(after)
    began = [e for e in after.of(ev.DeployBegan) if "lease" in e.sign]
    assert not began


@pytest.mark.parametrize("kind", ["image", "lease get", "other", "list", "rows", "get", "lease", "lease release"])
def test_a_guard_that_is_killed_at_any_question_leaves_nothing_that_keeps_the_next_from_a_rollback(kind: str) -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        await siege.die()
        dead = asyncio.Event()

        async def killed() -> None:
            siege.life.alive = False
            dead.set()

        siege.trouble.on(kind, act=killed)
        siege.rise()
        await dead.wait()
        await siege.stage.deploy(BAD)
        await siege.die_and_rise()
        await siege.ended()

    after = ahead(story)
    assert after.outcomes == ["restored"]
    assert not told(after)


def test_another_guard_that_tries_to_hold_a_machine_is_no_deployer() -> None:
    lease = Lease("other-guard@example.com", DESCRIPTION, 1e12)
    snapshot = replace(a_snapshot(), leases={"m1": lease}, releases=())
    assert in_progress(snapshot, None, Quiet(), snapshot.at)[0] is None


def test_a_configuration_that_cannot_be_read_is_not_asked_for_all_the_time() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        siege.trouble.on("get", times=math.inf, status=503)
        await release(siege, NEXT, env=env(siege, API_URL="x"))
        siege.trouble.seen.clear()
        await asyncio.sleep(600)
        assert 10 <= [kind for _, kind in siege.trouble.seen].count("get") <= 60

    ahead(story)


# -- nobody is woken for nothing -------------------------------------------------------------------------------------


def test_one_strange_answer_and_then_none_wakes_nobody() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        siege.stage.world.images.prune(GOOD.digest)
        await siege.until(lambda: said(siege).of("image").state is State.NOT, 90)
        siege.stage.world.images.push(GOOD)
        siege.trouble.outage(PATIENCE_S * 3, "image", status=503)
        await asyncio.sleep(PATIENCE_S * 2)
        assert said(siege).of("image").state is State.UNKNOWN

    assert not told(ahead(story))


@pytest.mark.parametrize("skew_s", [1800.0, -1800.0])
def test_a_clock_that_jumps_neither_shortens_nor_lengthens_the_patience(skew_s: float) -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        siege.stage.world.images.prune(GOOD.digest)
        await siege.until(lambda: said(siege).of("image").state is State.NOT, 90)
        siege.stage.watches.skew_s = skew_s
        await asyncio.sleep(PATIENCE_S / 2)
        assert not told_now(siege)
        await asyncio.sleep(PATIENCE_S + 60)
        assert told_now(siege) == ("image",)

    ahead(story)


def test_what_comes_and_goes_is_told_once_an_hour_even_to_a_guard_that_is_restarted() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        for turn in range(6):
            siege.stage.world.images.prune(GOOD.digest)
            await asyncio.sleep(PATIENCE_S + 130)
            siege.stage.world.images.push(GOOD)
            await asyncio.sleep(130)
            if turn == 2:
                await siege.die_and_rise()

    after = ahead(story)
    assert [page.resolve for page in told(after)] == [False, True]


def test_what_fails_again_and_stays_so_is_told_again_after_an_hour() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)
        siege.stage.world.images.push(GOOD)
        await asyncio.sleep(130)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(3600 + 130)

    assert [page.resolve for page in told(ahead(story))] == [False, True, False]


def test_a_guard_that_restarts_again_and_again_tells_once() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)
        for _ in range(4):
            await siege.die_and_rise()
            await asyncio.sleep(PATIENCE_S + 100)

    assert [page.resolve for page in told(ahead(story))] == [False]


def test_an_alert_about_a_target_ends_when_nobody_would_go_back_any_more() -> None:
    young = replace(QUICK, interlocks=replace(QUICK.interlocks, release_age_s=1500.0))

    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.stage.deploy(NEXT)
        await asyncio.sleep(PATIENCE_S + 130)
        assert told_now(siege) == ("target",)
        await asyncio.sleep(1800)

    after = ahead(story, young)
    assert [page.resolve for page in told(after)] == [False, True]
    assert changes(after)[-1] == (False, ())
    assert "not gone back from" in told(after)[-1].summary


def test_an_image_that_no_rule_would_need_any_more_wakes_nobody() -> None:
    old = replace(QUICK, interlocks=replace(QUICK.interlocks, release_age_s=600.0))

    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(700)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)

    (page,) = told(ahead(story, old))
    assert page.severity == "warning"


def test_a_paused_guard_informs_and_wakes_nobody() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.pause("ann", "I repair this by hand")
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)

    (page,) = told(ahead(story))
    assert page.severity == "warning"


@pytest.mark.parametrize("asleep", [1, 3, 4])
def test_machines_that_sleep_by_day_and_night_alarm_nobody(asleep: int) -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        for machine in siege.machines[:asleep]:
            await siege.machine(machine, "stop")
        await asyncio.sleep(PATIENCE_S * 3)

    assert not told(ahead(story))


@pytest.mark.parametrize("machines", [1, 2])
def test_a_small_app_alarms_nobody(machines: int) -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(PATIENCE_S * 3)
        assert said(siege).state is State.OK

    assert not told(ahead(story, machines=machines))


def test_a_platform_that_limits_every_question_alarms_nobody() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        siege.trouble.outage(PATIENCE_S * 3, "image", "lease get", "lease", "get", "other", status=429)
        await asyncio.sleep(PATIENCE_S * 3)

    assert not told(ahead(story))


def test_what_was_not_looked_at_for_long_is_not_said_to_be_ready() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(130)
        assert said(siege).state is State.OK
        siege.trouble.outage(7200, "list", "rows", status=503)
        siege.stage.watches.skew_s = 10.0  # nothing is known after a jump, and nothing can be had
        await asyncio.sleep(3600)
        assert said(siege).state is State.UNKNOWN
        assert "not looked at for" in said(siege).of("target").sentence

    ahead(story)


@pytest.mark.parametrize("late_s", [0.0, 10.0])
def test_looking_ahead_delays_no_rollback(late_s: float) -> None:
    def decided_after(looks_ahead: bool) -> float:
        async def story(siege: Siege) -> None:
            await siege.stage.deploy(FINE)
            await asyncio.sleep(30)
            await siege.acts.adopt("alice", "it is fine", None)
            await asyncio.sleep(90)
            siege.trouble.on("lease get", times=8, late_s=late_s)
            await siege.until(lambda: siege.trouble.faults[0].times < 8 or not looks_ahead, 90)
            await siege.stage.deploy(BAD)
            deployed.append(siege.guard.clock.now())
            await siege.ended()

        deployed: list[float] = []
        after = besiege(story, looks_ahead=looks_ahead)
        assert after.outcomes == ["restored"]
        return float(after.of(ev.GoalSet)[0].at - deployed[0])

    assert decided_after(True) <= decided_after(False) + 6.0  # one reading more or less of a signal, by chance
