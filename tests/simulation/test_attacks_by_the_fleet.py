"""Attacks by the fleet: crash loops, sleepers, standbys, flapping. ``besiege`` checks the promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.policy import Action, Crashed, Failing, Interlocks, Quorum, Rule
from rollguard.localfly import lifespan
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.siege import PAGES_MAX, QUICK, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD, GUARD

NONE = {"rollguard.migration": "none"}
CRASHING = Image.build(f"registry.fly.io/{APP}:deployment-CRASH", Behaviour(crash_after_s=1.0), labels=NONE)
DYING = Image.build(f"registry.fly.io/{APP}:deployment-DYING", Behaviour(crash_after_s=7.0), labels=NONE)

WORSE = Image.build(f"registry.fly.io/{APP}:deployment-WORSE", Behaviour(error_share=1.0, latency_s=0.2), labels=NONE)
EITHER = Quorum(machines=0.5, or_edge=True)

CRASHES = Rule(
    name="crash-loop",
    condition=Crashed(signal="machines", k=2, within_s=300.0),
    then=Action.ROLLBACK,
    quorum=Quorum(machines=0.5, or_edge=False),
)
"""As in the shipped policy."""


@pytest.mark.parametrize("image", [CRASHING, DYING], ids=["quick", "slow"])
@pytest.mark.parametrize("machines", [2, 8])
@pytest.mark.parametrize("autostart", [True, False])
def test_a_crash_loop_is_ended_even_where_the_platform_gave_up_restarting(
    image: Image, machines: int, autostart: bool
) -> None:
    async def story(siege: Siege) -> None:
        if not autostart:
            for machine in siege.stage.app.machines.values():
                machine.config["services"][0]["autostart"] = False
        await siege.stage.deploy(image)
        await siege.ended()

    policy = replace(QUICK, rules=(*QUICK.rules, CRASHES))
    after = besiege(story, policy, machines=machines, images=(GOOD, BAD, FINE, CRASHING, DYING), settle_s=90)
    assert after.stage.digests == {GOOD.digest}, after.pages
    assert {m.state for m in after.stage.app.machines.values()} == {"started"}, "restored, and nobody serves"


def test_a_crash_loop_is_seen_by_a_guard_whose_clock_is_ten_minutes_ahead_of_the_platforms() -> None:
    async def story(siege: Siege) -> None:
        await siege.die()
        siege.stage.watches.skew_s = 600.0
        siege.rise()
        await asyncio.sleep(30)
        await siege.stage.deploy(DYING)
        await siege.ended()

    policy = replace(QUICK, rules=(CRASHES,), verify=replace(QUICK.verify, require=()))
    after = besiege(story, policy, images=(GOOD, BAD, FINE, DYING), settle_s=90)
    assert after.stage.digests == {GOOD.digest}, after.pages


def test_a_restored_image_that_crashes_stops_the_rollback_at_the_first_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def the_good_one_dies(behaviour: Behaviour) -> tuple[float, int] | None:
        return (1.0, 1) if behaviour == GOOD.behaviour else None

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        monkeypatch.setattr(lifespan, "dies_after", the_good_one_dies)
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["failed"]
    assert "crashes on the restored image" in " ".join(after.pages)
    assert sum(after.stage.updates(GUARD).values()) == 1


def test_checks_that_flap_on_the_restored_image_never_count_as_well() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        machine = next(iter(siege.updated))
        here = siege.stage.app.machines[machine]

        async def flap() -> None:
            while True:
                await asyncio.sleep(2.5)
                for name in list(here.checks):
                    now = siege.guard.clock.now()
                    status = "critical" if here.checks[name].status == "passing" else "passing"
                    siege.stage.world.check_result(APP, machine, name, status, "flap", now)

        siege.aside(flap())
        await siege.ended()

    after = besiege(story, replace(QUICK, rollback=replace(QUICK.rollback, wait_timeout_s=60.0)))
    assert after.outcomes == ["failed"]
    assert len(after.stage.updates(GUARD)) == 1


def test_sleepers_go_last_and_stay_asleep_and_who_wakes_meanwhile_is_not_put_to_sleep() -> None:
    async def story(siege: Siege) -> None:
        sleepers = siege.machines[-2:]
        await siege.stage.deploy(BAD)
        await asyncio.sleep(4)
        for machine in sleepers:
            assert await siege.machine(machine, "stop")

        async def wake() -> None:
            if len(siege.updated) == 4:
                await siege.machine(sleepers[0], "start")
                await asyncio.sleep(1)

        siege.trouble.on("lease", times=10, act=wake)
        await siege.ended()

    after = besiege(story, machines=6)
    assert after.stage.digests == {GOOD.digest}
    states = [m.state for m in after.stage.app.machines.values()]
    assert sorted(states) == ["started"] * 5 + ["stopped"]


def test_every_machine_falls_asleep_in_the_middle_and_all_of_them_get_back() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        for machine in siege.machines:
            await siege.machine(machine, "stop")
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_workers_standbys_and_strangers_each_get_what_is_theirs() -> None:
    made: dict[str, str] = {}

    async def story(siege: Siege) -> None:
        made["worker"] = await siege.add_machine(GOOD, group="worker", services=None)
        made["standby"] = await siege.add_machine(
            GOOD, group="worker", services=None, standbys=[made["worker"]], launch=False
        )
        made["active"] = await siege.add_machine(GOOD, group="worker", services=None, standbys=[made["worker"]])
        made["stranger"] = await siege.add_machine(GOOD, metadata={"fly_platform_version": "mine"})
        await asyncio.sleep(15)
        stranger = siege.stage.app.machines.pop(made["stranger"])
        await siege.stage.deploy(BAD)
        await siege.machine(made["standby"], "stop")
        siege.stage.app.machines[stranger.id] = stranger
        await siege.ended()

    after = besiege(story, settle_s=30)
    machines = after.stage.app.machines
    assert after.outcomes == ["restored"], after.pages
    assert {m.image.digest for m in machines.values()} == {GOOD.digest}
    assert machines[made["active"]].state == "started", "a standby at work was put to rest"
    assert made["stranger"] not in after.stage.updates(GUARD)


def test_one_machine_alone_is_down_while_it_changes_and_no_longer() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.ended()

    assert besiege(story, machines=1).stage.digests == {GOOD.digest}


@pytest.mark.parametrize("deadline_s", [5.0, 12.0, 20.0])
def test_a_deadline_in_the_middle_of_a_wave_lets_the_machines_in_flight_finish(deadline_s: float) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.ended()

    policy = replace(QUICK, rollback=replace(QUICK.rollback, deadline_s=deadline_s, first=2))
    after = besiege(story, policy, machines=8)
    assert after.outcomes == ["deadline"]
    done = {e.machine for e in after.of(ev.StepDone) if e.phase == "healthy"}
    assert done == set(after.stage.updates(GUARD))


def test_an_app_that_comes_and_goes_is_no_storm_of_pages() -> None:
    async def story(siege: Siege) -> None:
        for number in range(60):
            for machine in siege.machines:
                await siege.machine(machine, "uncordon" if number % 2 else "cordon")
            await asyncio.sleep(24)

    after = besiege(story)
    assert len(after.pages) <= PAGES_MAX, after.pages


def test_the_same_reason_in_another_incident_is_said_again() -> None:
    wobbly = Rule(name="wobbly", condition=Failing(signal="home", k=2), then=Action.PAGE, quorum=EITHER)
    locks = Interlocks(furthest_releases=9, onset_after_release=False)

    async def story(siege: Siege) -> None:
        await siege.acts.pause("bob", "mine")
        for image in (BAD, WORSE):
            await siege.stage.deploy(image)
            await asyncio.sleep(60)

    policy = replace(QUICK, rules=(wobbly, *QUICK.rules), interlocks=locks)
    after = besiege(story, policy, images=(GOOD, BAD, FINE, WORSE))
    assert sum("bad and was not rolled back" in page for page in after.pages) == 2, after.pages
