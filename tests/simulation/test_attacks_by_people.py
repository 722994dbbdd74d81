"""Attacks by people: deployers, hands on machines, pauses, reports. ``besiege`` checks the promises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.pages import Page
from rollguard.core.policy import Action, Reported, Rollback, Rule
from rollguard.core.signals import HttpSignal, Scope, Signal
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.siege import QUICK, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD, GUARD
from tests.simulation.trouble import WRITES

NONE = {"rollguard.migration": "none"}
DYING = Image.build(f"registry.fly.io/{APP}:deployment-DYING", Behaviour(crash_after_s=7.0), labels=NONE)

WORSE = Image.build(f"registry.fly.io/{APP}:deployment-WORSE", Behaviour(error_share=1.0, latency_s=0.2), labels=NONE)

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
    if what == "cordon":  # 3 of 4 healthy: the floor keeps them all, and that is said within a minute or so
        assert after.outcomes == ["failed"]
        assert any("the floor keeps them" in page for page in after.pages)
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


def test_a_peer_that_falls_while_the_guard_waits_for_a_lease_keeps_the_floor() -> None:
    async def story(siege: Siege) -> None:
        async def somebody_cordons_a_peer() -> None:
            await siege.machine(siege.machines[-1], "cordon")

        await siege.stage.deploy(BAD)
        siege.trouble.on("lease", act=somebody_cordons_a_peer, skip=1)
        await siege.until(lambda: siege.updated)
        await asyncio.sleep(60)
        await siege.machine(siege.machines[-1], "uncordon")
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


@pytest.mark.parametrize("request_", ["lease", "update"])
def test_a_machine_that_somebody_changed_a_moment_before_stays_theirs(request_: str) -> None:
    """Even where the guard's lease was cleared, as ``fly machine leases clear`` does."""
    theirs: list[str] = []

    async def story(siege: Siege) -> None:
        async def change() -> None:
            held = next((m for m in siege.stage.app.machines.values() if m.lease), None)
            machine = held or siege.stage.app.machines[siege.machines[1]]
            machine.lease = None
            theirs.append(machine.id)
            body = {"config": dict(machine.config) | {"image": FINE.ref}}
            assert await siege.call("POST", f"/v1/apps/{APP}/machines/{machine.id}", body)
            await asyncio.sleep(5)

        await siege.stage.deploy(BAD)
        siege.trouble.on(request_, act=change, skip=1)
        await siege.ended()

    after = besiege(story, settle_s=120)
    assert after.outcomes == ["yielded"]
    assert after.stage.app.machines[theirs[0]].image == FINE


def test_a_machine_that_somebody_changed_after_the_guard_ends_the_goal_though_its_image_is_right() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: len(siege.updated) == 2)
        machine = siege.stage.app.machines[siege.machines[0]]
        assert machine.image == GOOD
        body = {"config": dict(machine.config) | {"env": {"DEBUG": "1"}}}
        assert await siege.call("POST", f"/v1/apps/{APP}/machines/{machine.id}", body)
        await siege.ended()

    assert besiege(story, settle_s=120).outcomes == ["yielded"]


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


def test_a_tag_that_was_moved_meanwhile_brings_back_the_proven_digest_all_the_same() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.stage.world.images.push(replace(WORSE, ref=GOOD.ref))
        await siege.ended()

    assert besiege(story).stage.digests == {GOOD.digest}


def _everywhere(signal: Signal) -> Signal:
    return replace(signal, scopes=frozenset({Scope.MACHINE, Scope.EDGE})) if isinstance(signal, HttpSignal) else signal
