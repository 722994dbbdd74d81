"""Attacks by people and by the fleet: deployers, hands, sleepers, crash loops. ``besiege`` checks the promises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.pages import Page
from rollguard.core.policy import (
    Action,
    Crashed,
    Failing,
    HttpSignal,
    Interlocks,
    Quorum,
    Reported,
    Rollback,
    Rule,
    Scope,
    Signal,
)
from rollguard.localfly import host
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.siege import PAGES_MAX, QUICK, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD, GUARD
from tests.simulation.trouble import WRITES

NONE = {"rollguard.migration": "none"}
CRASHING = Image.build(f"registry.fly.io/{APP}:deployment-CRASH", Behaviour(crash_after_s=1.0), labels=NONE)
DYING = Image.build(f"registry.fly.io/{APP}:deployment-DYING", Behaviour(crash_after_s=7.0), labels=NONE)

WORSE = Image.build(f"registry.fly.io/{APP}:deployment-WORSE", Behaviour(error_share=1.0, latency_s=0.2), labels=NONE)
EITHER = Quorum(machines=0.5, or_edge=True)

# -- deployers ---------------------------------------------------------------------------------------------------------


def test_a_deploy_that_begins_in_the_middle_wins_and_the_guard_yields_within_the_machine_in_flight() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        siege.aside(siege.flyctl(FINE))
        await siege.ended()
        assert len(siege.updated) == 1
        await siege.until(lambda: siege.stage.digests == {FINE.digest})

    after = besiege(story, settle_s=200)
    assert after.outcomes == ["yielded"]
    assert after.stage.digests == {FINE.digest}


def test_a_deploy_from_start_to_end_with_a_bad_release_is_waited_for_and_then_rolled_back() -> None:
    async def story(siege: Siege) -> None:
        await siege.flyctl(BAD)
        done_at = asyncio.get_running_loop().time()
        await siege.until(lambda: siege.guard.record.state.goal)
        assert asyncio.get_running_loop().time() - done_at < 20
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


@pytest.mark.parametrize("dies_after", [1, 2, 3])
def test_a_deployer_killed_half_way_is_found_dead_and_its_machines_go_back(dies_after: int) -> None:
    async def story(siege: Siege) -> None:
        await siege.flyctl(BAD, dies_after=dies_after)
        await siege.ended()

    per_machine = replace(QUICK, signals=tuple(_everywhere(s) for s in QUICK.signals))
    after = besiege(story, per_machine, settle_s=120)
    assert after.stage.digests == {GOOD.digest}
    assert len(after.stage.updates(GUARD)) == dies_after


def test_a_second_try_of_a_half_done_deploy_is_no_configuration_only_release() -> None:
    async def story(siege: Siege) -> None:
        await siege.flyctl(BAD, dies_after=1, step_s=1)
        await asyncio.sleep(3)
        await siege.flyctl(BAD, step_s=1)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_a_release_of_secrets_alone_is_paged_before_and_after_a_rollback() -> None:
    sick: list[str] = []

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.ended()
        await asyncio.sleep(60)
        await siege.stage.deploy(FINE)
        await siege.acts.adopt("alice", "looks well", None)
        await asyncio.sleep(2000)
        await siege.stage.deploy(FINE)  # the same image, other secrets
        for machine in siege.machines:
            await siege.machine(machine, "cordon")
        await asyncio.sleep(120)
        sick.extend(siege.guard.record.state.incident.said)  # type: ignore[union-attr]

    after = besiege(story)
    assert after.stage.digests == {FINE.digest}
    assert "held by config-only release" in sick


def test_a_release_command_machine_that_was_left_behind_holds_nobody_for_ever() -> None:
    async def story(siege: Siege) -> None:
        await siege.add_machine(BAD, group="fly_app_release_command", services=None)
        await siege.stage.deploy(BAD)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest, BAD.digest}


def test_blue_green_between_decision_and_end_is_a_foreign_release() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        blue = list(siege.machines)
        await siege.call(
            "POST",
            "/api/v1/releases",
            {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": FINE.ref, "strategy": "BLUEGREEN"},
        )
        for _ in blue:
            await siege.add_machine(FINE)
        await asyncio.sleep(15)
        for machine in blue:
            await siege.call("DELETE", f"/v1/apps/{APP}/machines/{machine}?kill=true")
        await siege.ended()

    after = besiege(story, settle_s=200)
    assert after.outcomes == ["yielded"]


# -- hands on machines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["stop", "suspend", "restart", "cordon", "destroy"])
@pytest.mark.parametrize("which", [0, -1])
def test_hands_on_a_machine_in_the_middle_of_a_rollback_break_nothing(what: str, which: int) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        machine = siege.machines[which]
        if what == "destroy":
            await siege.call("DELETE", f"/v1/apps/{APP}/machines/{machine}?kill=true")
        else:
            await siege.machine(machine, what)
        await siege.ended()

    after = besiege(story)
    if what == "cordon":  # 3 of 4 healthy: the floor keeps them all, and that is said
        assert after.outcomes == ["deadline"]
    else:
        assert {m.image.digest for m in after.stage.app.present()} == {GOOD.digest}, after.pages


def test_a_machine_destroyed_while_it_changes_ends_the_goal_at_once() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        machine = next(iter(siege.updated))
        lease = siege.stage.app.machines[machine].lease
        assert lease is not None
        await siege.call("DELETE", f"/v1/apps/{APP}/machines/{machine}?kill=true", nonce=lease.nonce)
        await siege.until(lambda: siege.guard.record.state.goal is None, for_s=90)

    assert besiege(story).outcomes == ["yielded"]


def test_a_peer_stopped_while_the_guard_waits_for_its_lease_keeps_the_floor() -> None:
    async def story(siege: Siege) -> None:
        async def somebody_stops_a_peer() -> None:
            await siege.machine(siege.machines[-1], "stop")
            await asyncio.sleep(3)

        await siege.stage.deploy(BAD)
        siege.trouble.on("lease", act=somebody_stops_a_peer, skip=1)
        await siege.ended()

    besiege(story)


@pytest.mark.parametrize("image", [GOOD, BAD], ids=["good", "bad"])
def test_machines_added_in_the_middle_go_along(image: Image) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        await siege.add_machine(image)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


@pytest.mark.parametrize("kind", sorted(WRITES | {"list", "get", "wait"}))
def test_a_pause_at_any_request_stops_before_the_next_machine(kind: str) -> None:
    updates: list[int] = []

    async def story(siege: Siege) -> None:
        async def pause() -> None:
            updates.append(sum(siege.updated.values()))
            await siege.acts.pause("bob", "let me look")

        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        siege.trouble.on(kind, act=pause)
        await siege.ended()
        await asyncio.sleep(30)
        updates.append(sum(siege.updated.values()))
        await siege.acts.resume("bob", "seen")
        await asyncio.sleep(60)
        assert sum(siege.updated.values()) == updates[1]

    after = besiege(story)
    assert after.outcomes == ["paused"]
    assert updates[1] - updates[0] <= (kind == "update")


def test_a_pause_that_came_first_by_a_hair_holds_the_decision_made_without_it() -> None:
    async def story(siege: Siege) -> None:
        add = siege.guard.record.add

        async def pause_comes_first(*events: ev.Event, pages: Sequence[Page] = ()) -> None:
            if any(isinstance(e, ev.GoalSet) for e in events):
                await add(ev.PauseSet(at=events[0].at - 0.001, by="bob", reason="not now"))
            await add(*events, pages=pages)

        siege.guard.record.add = pause_comes_first  # type: ignore[method-assign]
        await siege.stage.deploy(BAD)
        await siege.ended()
        assert not siege.updated

    assert besiege(story).outcomes == ["paused"]


def test_a_hold_in_the_middle_of_a_rollback_holds_the_next_one_only() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        await siege.acts.hold("bob", "hotfix", 600)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_another_policy_in_the_middle_of_a_rollback_changes_nothing_about_it() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        other = replace(QUICK, mode=Mode.PAGE, rules=(), rollback=Rollback(max_unavailable=1.0, healthy_floor=0.0))
        siege.guard.obey(other)
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def test_reports_in_the_middle_of_a_rollback_begin_no_other() -> None:
    reported = Rule(name="corruption", condition=Reported(kinds=("data-corruption",)), then=Action.ROLLBACK)

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        for number in range(5):
            await siege.acts.report("eve", f"it is broken {number}", "data-corruption", None)
        await siege.ended()
        for number in range(5):
            await siege.acts.report("eve", f"still broken {number}", "data-corruption", None)
            await asyncio.sleep(60)

    after = besiege(story, replace(QUICK, rules=(*QUICK.rules, reported)))
    assert after.stage.digests == {GOOD.digest}
    assert len(after.of(ev.GoalSet)) == 1


def test_a_hand_over_page_shows_the_machines_as_they_are_then() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        await asyncio.sleep(15)
        await siege.acts.pause("bob", "let me look")
        await siege.ended()

    after = besiege(story)
    page = next(i.page for i in after.stage.disk.waiting.values() if "handed over" in i.page.summary)
    mix = dict(page.details)["machines"]
    assert mix.count(" on ") == 2, mix


def test_the_next_bad_release_in_an_unfinished_incident_is_said_too() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(FINE)
        await asyncio.sleep(15)
        await siege.acts.adopt("alice", "well", None)
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        await siege.acts.pause("bob", "mine")
        await siege.ended()
        for machine in siege.machines:
            await siege.machine(machine, "cordon")
        await siege.stage.deploy(GOOD)
        await asyncio.sleep(120)

    after = besiege(story, replace(QUICK, rollback=replace(QUICK.rollback, stability_s=15.0)))
    assert any("v1 (" in page and "is bad" in page for page in after.pages), after.pages


# -- the fleet ---------------------------------------------------------------------------------------------------------


def _everywhere(signal: Signal) -> Signal:
    return replace(signal, scopes=frozenset({Scope.MACHINE, Scope.EDGE})) if isinstance(signal, HttpSignal) else signal


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


def test_a_restored_image_that_crashes_stops_the_rollback_at_the_first_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def the_good_one_dies(behaviour: Behaviour) -> tuple[float, int] | None:
        return (1.0, 1) if behaviour == GOOD.behaviour else None

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        monkeypatch.setattr(host, "dies_after", the_good_one_dies)
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
