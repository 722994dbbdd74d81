"""What the soak found wrong in the guard, each as a small story. ``besiege`` checks the promises after every one."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.model import Mode
from tests.simulation.siege import QUICK, Siege, besiege
from tests.simulation.stage import BAD, FINE, GOOD, GUARD


def test_a_look_that_was_under_way_when_the_clock_was_put_right_does_not_hide_the_later_ones() -> None:
    seen: list[float] = []

    async def story(siege: Siege) -> None:
        siege.trouble.on("list", late_s=3.0)
        look = asyncio.create_task(siege.guard.watch.look())
        await asyncio.sleep(1.0)
        siege.stage.watches.skew_s = -300.0
        await look
        await asyncio.sleep(30.0)
        assert siege.guard.watch.snapshot is not None
        seen.append(siege.guard.clock.now() - siege.guard.watch.snapshot.at)

    besiege(story)
    assert 0 <= seen[0] < 11.0, "the newest look is a fresh one"


def test_a_machine_that_somebody_changed_since_the_plan_was_made_ends_the_goal_before_the_next_one() -> None:
    async def story(siege: Siege) -> None:
        async def somebody_changes_another_one() -> None:
            machine = siege.stage.app.machines[siege.machines[-1]]
            body = {"config": dict(machine.config) | {"image": FINE.ref}}
            assert await siege.call("POST", f"/v1/apps/hotdash-production/machines/{machine.id}", body)

        await siege.stage.deploy(BAD)
        siege.trouble.on("lease", act=somebody_changes_another_one)
        await siege.ended()

    after = besiege(story, machines=8)
    assert after.outcomes == ["yielded"]
    assert not after.stage.updates(GUARD)


def test_who_waits_long_for_a_lease_looks_again_who_holds_the_other_machines() -> None:
    async def story(siege: Siege) -> None:
        async def somebody_takes_another_one() -> None:
            path = f"/v1/apps/hotdash-production/machines/{siege.machines[-1]}/lease?ttl=60"
            assert await siege.call("POST", path, {})

        await siege.stage.deploy(BAD)
        siege.trouble.on("lease", late_s=8.0, act=somebody_takes_another_one)
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["yielded"]
    assert not after.stage.updates(GUARD)


def test_a_machine_that_the_list_leaves_out_counts_for_the_floor() -> None:
    """Three healthy ones of four, and the fourth not in the list: no healthy one may go down."""

    async def story(siege: Siege) -> None:
        await siege.machine(next(iter(siege.stage.app.machines)), "cordon")
        await asyncio.sleep(20)
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        siege.stage.faults.change({"list_machines": "one missing", "owner": GUARD})
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["failed"]
    assert set(after.stage.updates(GUARD)) == {next(iter(after.stage.app.machines))}, "only the cordoned one"


def test_a_machine_that_the_list_leaves_out_when_it_is_decided_goes_along() -> None:
    async def story(siege: Siege) -> None:
        siege.stage.faults.change({"list_machines": "one missing", "owner": GUARD})
        await siege.stage.deploy(BAD)
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["restored"]
    assert after.stage.digests == {GOOD.digest}


def test_nothing_is_written_under_a_lease_that_expired_in_an_outage() -> None:
    held: list[bool] = []

    async def story(siege: Siege) -> None:
        async def outage() -> None:
            siege.trouble.outage(20.0)

        async def look() -> None:
            machine = siege.stage.app.machines[siege.machines[0]]
            now = siege.guard.clock.now()
            held.extend(m.lease is not None and m.lease.expires_at > now for m in [machine] if not siege.updated)

        await siege.stage.deploy(BAD)
        siege.trouble.on("get", act=outage, lost=True)
        siege.trouble.on("update", act=look, times=math.inf)
        await siege.ended()

    besiege(story, machines=1)
    assert held == [True]


def test_a_standby_that_serves_is_healthy_when_it_is_well_and_not_before() -> None:
    async def story(siege: Siege) -> None:
        standby = await siege.add_machine(GOOD, launch=True, standbys=[siege.machines[0]])
        await asyncio.sleep(20)
        await siege.stage.deploy(BAD)
        await siege.ended()
        done = [e for e in await siege.stage.history() if isinstance(e, ev.StepDone) and e.machine == standby]
        waited_s = done[-1].at - done[0].at
        assert [e.phase for e in done] == ["accepted", "healthy"]
        assert waited_s >= QUICK.rollback.stability_s

    besiege(story)


def test_a_row_that_could_not_be_closed_is_closed_though_a_newer_release_ended_the_incident() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        siege.trouble.outage(150.0, "row patch", status=504)
        siege.aside(siege.flyctl(FINE))
        await siege.ended()
        await siege.until(lambda: siege.guard.record.state.incident is None)
        assert siege.stage.app.releases[2].in_progress

    after = besiege(story, settle_s=300)
    assert after.outcomes == ["yielded"]
    assert after.rows == [(3, "failed")]


def test_a_wave_does_not_go_on_where_the_journal_failed_for_one_of_its_machines() -> None:
    failed_at: list[float] = []

    async def story(siege: Siege) -> None:
        async def disk_is_full_for_a_moment() -> None:
            siege.stage.full.writes_left = 0

        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        await siege.until(lambda: any(u.healthy for u in siege.guard.record.state.goal.updates.values()))
        siege.trouble.on("lease", act=disk_is_full_for_a_moment)
        while siege.stage.full.failed_at is None:
            await asyncio.sleep(0.01)
        siege.stage.full.writes_left = math.inf
        failed_at.append(siege.guard.clock.now())
        await siege.until(siege.task.done)
        assert not [e for e in await siege.stage.history() if isinstance(e, ev.StepIntended) and e.at > failed_at[0]]
        await siege.die_and_rise()
        await siege.ended()

    assert besiege(story, machines=10).stage.digests == {GOOD.digest}


def test_what_a_person_began_is_tidied_up_though_the_guard_itself_only_observes() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await asyncio.sleep(15)
        siege.trouble.outage(60.0, "row patch", status=504)
        siege.trouble.on("update", times=math.inf, status=422)
        await siege.acts.rollback("alice", "by hand", None, (), dry_run=False)
        await siege.ended()
        assert siege.stage.app.releases[2].in_progress

    after = besiege(story, replace(QUICK, mode=Mode.OBSERVE), settle_s=120)
    assert after.rows == [(3, "failed")]


def test_a_clock_that_jumps_while_nobody_sees_the_machines_makes_no_rule_older_than_the_release() -> None:
    async def story(siege: Siege) -> None:
        siege.trouble.outage(45.0, "list")
        await siege.stage.deploy(BAD)
        await siege.until(lambda: any(f.firing for f in siege.guard.findings), 40.0)
        siege.stage.watches.skew_s = 198.0
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["restored"]
