"""A rollback rehearsed: there, back, and whatever comes in between. ``rehearsed`` checks the promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.drill import last_proven
from rollguard.core.model import Mode
from rollguard.core.policy import Migration
from rollguard.core.rehearsal import Wish
from rollguard.core.signals import HttpSignal, Scope
from rollguard.errors import Refused
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.rehearsals import (
    ALL,
    BRISK,
    ONE,
    begun,
    drill,
    last,
    mood,
    over,
    rehearsed,
    results,
    there,
    way,
)
from tests.simulation.siege import Siege
from tests.simulation.stage import APP, CI, FINE, GOOD, GUARD
from tests.simulation.trouble import WRITES
from tests.virtual_time import wall_clock

NONE = {"rollguard.migration": "none"}
SICK = Image.build(f"registry.fly.io/{APP}:deployment-SICK", Behaviour(health_fails=True), labels=NONE)
SOUR = Image.build(f"registry.fly.io/{APP}:deployment-SOUR", Behaviour(error_share=1.0), labels=NONE)
DYING = Image.build(f"registry.fly.io/{APP}:deployment-DYING", Behaviour(crash_after_s=2.0), labels=NONE)
BY_MACHINE = replace(
    BRISK,
    signals=tuple(
        replace(s, scopes=frozenset({Scope.MACHINE})) if isinstance(s, HttpSignal) else s for s in BRISK.signals
    ),
)
"""Every machine is probed, and one that fails alone is paged as sick."""


async def one(siege: Siege) -> None:
    await begun(siege)
    await over(siege)


# -- there and back ----------------------------------------------------------------------------------------------------


def test_one_machine_goes_to_the_target_and_back_and_each_part_of_the_way_is_timed() -> None:
    after = rehearsed(one)
    assert results(after) == ["ok"]
    ended, began = last(after), after.of(ev.DrillBegan)[0]
    there_, back = after.of(ev.DrillMoved)
    assert (there_.way, back.way, there_.machine, back.machine) == ("there", "back", *began.machines * 2)
    for moved in (there_, back):
        parts = [moved.lease_s, moved.accepted_s, moved.started_s, moved.healthy_s, moved.stable_s]
        assert parts == sorted(parts)
        assert moved.stable_s - moved.healthy_s >= BRISK.rollback.stability_s
    assert ended.there_s is not None
    assert ended.back_s is not None
    assert there_.stable_s <= ended.there_s < there_.stable_s + 5
    assert back.stable_s <= ended.back_s < back.stable_s + 5
    assert after.pages == [], "a drill that goes well wakes nobody"
    changes = [e.summary for e in after.of(ev.PageQueued) if e.kind == "change"]
    assert any("a drill begins, by bob" in change for change in changes)
    assert any("the drill ended (ok)" in change for change in changes)


def test_the_machine_runs_what_it_ran_as_it_was_configured_and_of_the_release_that_it_was_of() -> None:
    before: dict[str, object] = {}

    async def story(siege: Siege) -> None:
        before.update({m.id: dict(m.config) for m in siege.stage.app.machines.values()})
        await one(siege)

    after = rehearsed(story)
    (machine,) = after.of(ev.DrillBegan)[0].machines
    for known in after.stage.app.machines.values():
        was, now = dict(before[known.id]), dict(known.config)  # type: ignore[call-overload]
        assert known.image.digest == FINE.digest
        if known.id == machine:
            assert now.pop("image").endswith(f"@{FINE.digest}")
            was.pop("image")
            assert now["metadata"].pop("rollguard_drill").endswith("/back")
        assert now == was
    assert after.rows == [], "no release row for one machine"


def test_a_drill_is_no_release_no_incident_and_no_mixed_fleet() -> None:
    seen: list[str] = []

    async def story(siege: Siege) -> None:
        mixed = replace(BRISK, rollback=replace(BRISK.rollback, stability_s=700.0, wait_timeout_s=2000.0))
        siege.guard.obey(replace(mixed, rollback=replace(mixed.rollback, deadline_s=4000.0)))
        await begun(siege)
        await over(siege, 6000)
        seen.append(siege.guard.record.state.serving)

    after = rehearsed(story)
    assert results(after) == ["ok"], last(after)
    assert after.pages == []
    assert after.of(ev.IncidentOpened) == []
    assert [e.digest for e in after.of(ev.FullyDeployed)] == [GOOD.digest, FINE.digest]
    assert after.of(ev.DeployBegan) == []
    assert seen == [FINE.digest]


def test_what_the_machine_does_on_the_target_says_nothing_about_the_release_that_serves() -> None:
    """Its checks pass and its pages fail: nobody is to blame for that but the old image."""
    after = rehearsed(one, BY_MACHINE, images=(SOUR, FINE, GOOD), serving=FINE)
    assert results(after) == ["ok"]
    firing = [e for e in after.of(ev.RuleChanged) if e.after == "firing"]
    (began,) = after.of(ev.DrillBegan)
    assert [e for e in firing if e.at >= began.at] == []
    assert after.of(ev.IncidentOpened)[1:] == []


def test_a_machine_is_named_and_a_version_is_named() -> None:
    async def story(siege: Siege) -> None:
        assert await begun(siege, Wish(machine=siege.machines[0], version=1)) == siege.machines[0]
        await over(siege)

    assert results(rehearsed(story)) == ["ok"]


def test_a_drill_does_not_count_as_a_rollback_of_the_release() -> None:
    async def story(siege: Siege) -> None:
        await one(siege)
        await asyncio.sleep(20)
        mood(siege, error_share=1.0)
        await siege.ended()
        await siege.until(lambda: siege.stage.digests == {GOOD.digest})

    after = rehearsed(story)
    assert [e.outcome for e in after.of(ev.GoalEnded)] == ["restored"]


def test_the_newest_proof_is_told_whether_a_drill_gave_it_or_a_rollback() -> None:
    told: list[str] = []

    async def story(siege: Siege) -> None:
        told.append(last_proven(siege.guard.record.state.works, wall_clock()))
        await one(siege)
        await asyncio.sleep(600)
        told.append(last_proven(siege.guard.record.state.works, wall_clock()))
        await siege.acts.rollback("ann", "customers call", None, (), dry_run=False)
        await siege.ended()
        told.append(last_proven(siege.guard.record.state.works, wall_clock()))

    rehearsed(story, replace(BRISK, signals=BRISK.signals[1:], rules=(), verify=replace(BRISK.verify, require=())))
    assert told[0] == "rollback last proven: never"
    assert told[1].startswith("rollback last proven: 10 m ago by drill (1 machine, ")
    assert " by rollback (4 machines, " in told[2]


# -- what goes wrong on the way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [SICK, DYING], ids=["checks fail", "it dies"])
def test_a_target_image_that_is_not_well_fails_the_drill_and_the_machine_comes_back(image: Image) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(image)
        await asyncio.sleep(20)
        await siege.acts.adopt("eve", "it must be fine", None)
        await siege.stage.deploy(FINE)
        await asyncio.sleep(60)
        await siege.acts.adopt("eve", "this one too", None)
        await begun(siege, Wish(version=3))
        await over(siege)

    after = rehearsed(story, replace(BRISK, rules=()), images=(GOOD, image, FINE))
    assert results(after) == ["failed"]
    assert after.stage.digests == {FINE.digest}
    assert any("the drill ended (failed)" in page for page in after.pages)


def test_checks_that_fail_on_the_way_back_fail_the_drill_and_are_paged() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await siege.until(lambda: way(siege) == "back")
        mood(siege, health_fails=True)
        await over(siege)
        mood(siege)
        assert siege.stage.app.machines[machine].image.digest == FINE.digest

    after = rehearsed(story, replace(BRISK, rules=()), settle_s=60)
    assert results(after) == ["failed"]
    assert last(after).left == ()
    assert any("is not healthy within" in page for page in after.pages)


def test_an_image_that_cannot_be_pulled_any_more_is_found_out() -> None:
    async def story(siege: Siege) -> None:
        siege.stage.faults.change({"pull": "fails"})
        await one(siege)
        siege.stage.faults.change({"pull": None})

    after = rehearsed(story)
    assert results(after) == ["failed"]
    assert "previous version" in last(after).sentence
    assert after.stage.digests == {FINE.digest}
    assert sum(after.stage.updates(GUARD).values()) == 1


def test_a_way_back_that_cannot_be_pulled_is_paged_with_the_command() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.until(lambda: siege.stage.app.machines[machine].state == "started")
        siege.stage.faults.change({"pull": "fails"})
        await over(siege)
        siege.stage.faults.change({"pull": None})

    after = rehearsed(story)
    assert results(after) == ["failed"]
    (machine,) = last(after).left
    (page,) = [item.page for item in after.stage.disk.waiting.values() if item.page.about == "drill"]
    assert dict(page.details)["put back"] == (
        f"flyctl machine update {machine} --app {APP} --image registry.fly.io/{APP}@{FINE.digest} --yes"
    )


@pytest.mark.parametrize("fault", ["408-after-effect", "503-after-effect", "409-concurrent", "412"])
def test_a_write_without_a_clear_answer_is_looked_for_and_made_once(fault: str) -> None:
    async def story(siege: Siege) -> None:
        siege.stage.faults.change({"update": fault, "owner": GUARD, "times": 1})
        await one(siege)

    after = rehearsed(story)
    assert after.stage.digests == {FINE.digest}
    assert results(after) == (["failed"] if fault == "412" else ["ok"]), last(after)


@pytest.mark.parametrize("kind", sorted(WRITES | {"list", "get", "wait", "rows"}))
def test_a_lost_answer_anywhere_changes_nothing_about_the_end(kind: str) -> None:
    async def story(siege: Siege) -> None:
        await begun(siege)
        for skip in (0, 2):
            siege.trouble.on(kind, lost=True, takes_effect=True, skip=skip)
        await over(siege)

    after = rehearsed(story)
    assert after.stage.digests == {FINE.digest}
    assert results(after) == ["ok"], last(after)


def test_an_outage_of_the_platform_is_sat_out_on_either_way() -> None:
    async def story(siege: Siege) -> None:
        for goes in ("there", "back"):
            await begun(siege)
            await siege.until(lambda goes=goes: way(siege) == goes and siege.updated)  # type: ignore[misc]
            siege.trouble.outage(90.0)
            await over(siege)
            await asyncio.sleep(30)

    after = rehearsed(story)
    assert results(after) == ["ok", "ok"]


def test_past_its_deadline_the_machine_comes_back_all_the_same() -> None:
    short = replace(BRISK, rollback=replace(BRISK.rollback, deadline_s=60.0))

    async def story(siege: Siege) -> None:
        await begun(siege)
        siege.trouble.on("lease", lost=True, times=1000, until=asyncio.get_running_loop().time() + 70)
        await over(siege)

    after = rehearsed(story, short)
    assert results(after) == ["failed"]
    assert after.stage.digests == {FINE.digest}


# -- people win --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes", ["there", "back"])
def test_a_deploy_that_begins_in_the_middle_wins(goes: str) -> None:
    async def story(siege: Siege) -> None:
        await begun(siege)
        await siege.until(lambda: way(siege) == goes)
        siege.aside(siege.flyctl(FINE))
        await over(siege)
        await siege.until(lambda: siege.stage.digests == {FINE.digest})
        await asyncio.sleep(60)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert after.stage.digests == {FINE.digest}


@pytest.mark.parametrize("goes", ["there", "back"])
def test_a_machine_that_somebody_changed_meanwhile_stays_theirs(goes: str) -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        if goes == "back":
            await siege.until(lambda: way(siege) == goes)
        await siege.until(lambda: siege.stage.app.machines[machine].state == "started")
        here = siege.stage.app.machines[machine]
        here.lease = None
        body = {"config": dict(here.config) | {"env": {"DEBUG": "1"}}}
        assert await siege.call("POST", f"/v1/apps/{APP}/machines/{machine}", body)
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    (machine,) = after.of(ev.DrillBegan)[0].machines
    assert after.stage.app.machines[machine].config["env"] == {"DEBUG": "1"}
    assert last(after).left == (machine,)
    assert "was changed by somebody else" in last(after).sentence


def test_a_foreign_change_of_any_machine_stops_it() -> None:
    async def story(siege: Siege) -> None:
        await begun(siege, Wish(machine=siege.machines[-1]))
        await siege.until(lambda: siege.updated)
        other = siege.stage.app.machines[siege.machines[0]]
        body = {"config": dict(other.config) | {"env": {"DEBUG": "1"}}}
        assert await siege.call("POST", f"/v1/apps/{APP}/machines/{other.id}", body)
        await over(siege)

    assert results(rehearsed(story)) == ["stopped"]


def test_a_machine_that_somebody_destroys_is_not_called_a_proof() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await siege.until(lambda: way(siege) == "back")
        while (here := siege.stage.app.machines[machine]).state == "started":
            here.lease = None
            await siege.call("DELETE", f"/v1/apps/{APP}/machines/{machine}?kill=true")
        await over(siege)

    assert results(rehearsed(story)) != ["ok"]


def test_a_machine_that_falls_asleep_on_the_target_proves_nothing() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.until(lambda: siege.stage.app.machines[machine].state == "started")
        siege.stage.app.machines[machine].lease = None
        await siege.machine(machine, "stop")
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert "fell asleep" in last(after).sentence
    assert after.stage.digests == {FINE.digest}


def test_a_pause_stops_it_where_it_is_and_says_so() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.acts.pause("ann", "let me look")
        await over(siege)
        await siege.acts.resume("ann", "seen")
        await asyncio.sleep(60)
        assert sum(siege.updated.values()) == 1, "nothing is resumed"

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert "paused by ann" in last(after).sentence
    assert len(last(after).left) == 1


def test_a_hold_calls_it_back() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.acts.hold("ann", "hotfix on its way", 600.0)
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert after.stage.digests == {FINE.digest}
    assert after.of(ev.DrillTurned)[0].why == "held by ann: hotfix on its way"
    assert after.pages == []


def test_nobody_rolls_back_or_rehearses_in_the_middle_of_a_drill() -> None:
    async def story(siege: Siege) -> None:
        await begun(siege)
        with pytest.raises(Refused, match="rollguard hold calls it back"):
            await siege.acts.rollback("ann", "customers call", None, (), dry_run=True)
        with pytest.raises(Refused, match="a drill is under way already"):
            await drill(siege)
        await over(siege)
        await siege.acts.rollback("ann", "customers call", None, (), dry_run=False)
        with pytest.raises(Refused, match="a rollback is under way"):
            await drill(siege)
        await siege.ended()

    assert results(rehearsed(story)) == ["ok"]


# -- a rule that fires -------------------------------------------------------------------------------------------------


def test_a_rule_that_fires_takes_the_machine_back_first_and_is_acted_on_then() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        mood(siege, error_share=1.0)  # whatever the image: only the guard does not know that
        await over(siege)
        assert siege.stage.app.machines[machine].image.digest == FINE.digest
        mood(siege)
        for each in siege.stage.app.present():
            siege.stage.world.set_mood(APP, {"error_share": 1.0}, wall_clock(), each.id)
        await siege.ended()

    slow = replace(BRISK, rollback=replace(BRISK.rollback, stability_s=60.0, wait_timeout_s=200.0))
    after = rehearsed(story, slow)
    (turned,) = after.of(ev.DrillTurned)
    assert (turned.result, turned.hurried) == ("stopped", True)
    assert turned.why.startswith("rule pages-fail fires: home failed 3 in a row")
    fired = next(e.at for e in after.of(ev.RuleChanged) if e.after == "firing")
    assert last(after).at - fired < 20, "nobody waits for the checks of what may be bad"
    assert any("in the middle of a drill rule pages-fail fires" in page for page in after.pages)
    assert [e.at > last(after).at for e in after.of(ev.GoalSet)] == [True]
    assert [e.outcome for e in after.of(ev.GoalEnded)] == ["restored"]


def test_errors_of_the_image_that_is_rehearsed_are_not_held_against_the_one_that_serves() -> None:
    """The edge sees them, so the drill ends; they are out of mind before anybody is judged again."""

    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.until(lambda: siege.stage.app.machines[machine].state == "started")
        for other in siege.machines:  # users reach nobody but the machine that is away
            if other != machine:
                await siege.machine(other, "cordon")
        siege.stage.world.set_mood(APP, {"error_share": 1.0}, wall_clock(), machine)
        await siege.until(lambda: siege.guard.watch.firing or way(siege) != "there", 120)
        for other in siege.machines:
            if other != machine:
                await siege.machine(other, "uncordon")
        await over(siege)
        await asyncio.sleep(120)

    slow = replace(BRISK, rollback=replace(BRISK.rollback, stability_s=60.0, wait_timeout_s=200.0))
    after = rehearsed(story, slow)
    assert results(after) == ["stopped"]
    assert after.of(ev.GoalSet) == []
    assert after.stage.digests == {FINE.digest}


def test_the_last_healthy_machine_is_not_taken_back_and_that_is_said() -> None:
    """What serves has gone bad everywhere but where the target runs: there the floor keeps it."""

    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        for other in siege.machines:
            if other != machine:
                siege.stage.world.set_mood(APP, {"health_fails": True, "error_share": 1.0}, wall_clock(), other)
        await over(siege)
        await siege.until(lambda: siege.guard.record.state.rollbacks, 600)
        await siege.ended()

    slow = replace(BY_MACHINE, rollback=replace(BRISK.rollback, stability_s=60.0, wait_timeout_s=400.0))
    after = rehearsed(story, slow)
    assert results(after) == ["stopped"] or last(after).left
    assert len(last(after).left) == 1
    assert "the floor keeps machine" in last(after).sentence
    assert after.of(ev.GoalEnded)[-1].outcome == "restored"
    assert after.stage.digests == {GOOD.digest}


# -- the whole app -----------------------------------------------------------------------------------------------------


async def whole(siege: Siege) -> None:
    await begun(siege, ALL)
    await over(siege)


def test_the_whole_app_goes_there_and_back_under_the_floor_with_a_row_for_each_way() -> None:
    after = rehearsed(whole, settle_s=60)
    assert results(after) == ["ok"], last(after)
    assert last(after).machines == 4
    assert after.rows == [(3, "complete"), (4, "complete")]
    assert set(after.stage.updates(GUARD).values()) == {2}
    assert {m.config["metadata"]["fly_release_version"] for m in after.stage.app.machines.values()} == {"4"}
    assert after.pages == []
    assert after.of(ev.DeployBegan) == []
    assert after.state.serving == FINE.digest


def test_a_whole_app_that_fails_at_its_first_machine_moves_no_second() -> None:
    async def story(siege: Siege) -> None:
        siege.stage.faults.change({"pull": "fails"})
        await begun(siege, ALL)
        await siege.until(lambda: way(siege) == "back")
        siege.stage.faults.change({"pull": None})
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["failed"]
    assert after.rows[0] == (3, "failed")
    assert len(after.stage.updates(GUARD)) == 1
    assert after.stage.digests == {FINE.digest}


@pytest.mark.parametrize("wish", [ONE, ALL], ids=["one", "all"])
def test_a_later_release_of_secrets_alone_is_still_known_for_what_it_is(wish: Wish) -> None:
    sick: list[str] = []

    async def story(siege: Siege) -> None:
        await begun(siege, wish)
        await over(siege)
        await asyncio.sleep(2000)
        await siege.stage.deploy(FINE)  # the same image, other secrets
        mood(siege, error_share=1.0)
        await siege.until(lambda: siege.guard.record.state.incident, 300)
        await asyncio.sleep(20)
        sick.extend(siege.guard.record.state.incident.said)  # type: ignore[union-attr]

    after = rehearsed(story)
    assert results(after) == ["ok"]
    assert "held by config-only release" in sick


@pytest.mark.parametrize("wish", [Wish(accept_gap=True), Wish(whole=True, accept_gap=True)], ids=["one", "all"])
def test_an_app_of_one_machine_is_rehearsed_with_its_gap_accepted(wish: Wish) -> None:
    async def story(siege: Siege) -> None:
        held = await drill(siege, replace(wish, accept_gap=False))
        assert [r.name for r in held.refusals] == ["gap"]
        assert "down while it changes, twice" in held.refusals[0].sentence
        answer = await drill(siege, wish, dry_run=True)
        assert "gap" in [w.name for w in answer.warnings]
        await begun(siege, wish)
        await over(siege)

    after = rehearsed(story, replace(BRISK, rules=()), machines=1, gap=True)
    assert results(after) == ["ok"], last(after)
    assert after.stage.digests == {FINE.digest}


# -- lives -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes", ["there", "back"])
def test_the_next_life_takes_back_what_the_last_one_took_away_and_goes_nowhere(goes: str) -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        if goes == "back":
            await siege.until(lambda: way(siege) == "back")
        await siege.die_and_rise()
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert "the guard was restarted in the middle of it" in last(after).sentence
    assert after.stage.digests == {FINE.digest}
    assert sum(after.stage.updates(GUARD).values()) == 2


def test_a_life_that_comes_hours_later_takes_it_back_all_the_same() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.die_and_rise(after_s=5 * 3600.0)
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert after.stage.digests == {FINE.digest}


def test_a_life_that_may_not_write_pages_what_was_left() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.die()
        await asyncio.sleep(2)
        siege.rise(limit=Mode.OBSERVE)
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert len(last(after).left) == 1
    assert sum(after.stage.updates(GUARD).values()) == 1


def test_people_who_came_while_nobody_guarded_win_too() -> None:
    async def story(siege: Siege) -> None:
        machine = await begun(siege)
        await there(siege, machine)
        await siege.die()
        await siege.flyctl(FINE, step_s=1)
        siege.rise()
        await over(siege)

    after = rehearsed(story)
    assert results(after) == ["stopped"]
    assert last(after).left == ()
    assert sum(after.stage.updates(GUARD).values()) == 1


# -- what holds it -----------------------------------------------------------------------------------------------------


async def held_by(siege: Siege, wish: Wish = Wish()) -> list[str]:  # noqa: B008  (frozen)
    return [r.name for r in (await drill(siege, wish)).refusals]


def test_a_drill_waits_until_nothing_else_is_going_on() -> None:
    async def story(siege: Siege) -> None:
        await siege.acts.pause("ann", "night")
        assert await held_by(siege) == ["pause"]
        overridden = await drill(siege, Wish(overrides=("pause",)), dry_run=True)
        assert overridden.refusals == ()
        assert "pause" in [w.name for w in overridden.warnings]
        await siege.acts.resume("ann", "day")
        await siege.acts.hold("ann", "hotfix", 600.0)
        assert await held_by(siege) == ["hold"]
        await siege.acts.resume("ann", "shipped")
        await siege.acts.floor("ann", "a hole", 2)
        assert await held_by(siege) == ["release floor"]
        await siege.acts.floor("ann", "closed", None)
        await siege.stage.hold_machine(CI)
        assert "deploy in progress" in await held_by(siege)
        await asyncio.sleep(70)
        siege.guard.policy = replace(siege.policy, mode=Mode.OBSERVE)
        assert await held_by(siege) == ["mode"]
        siege.guard.policy = replace(siege.policy, mode=Mode.PAGE)
        assert (await drill(siege, dry_run=True)).refusals == (), "a person's act, as a rollback by hand is"

    rehearsed(story)


def test_a_drill_is_held_where_a_rollback_would_be_or_the_way_back_is_not_sure() -> None:
    async def story(siege: Siege) -> None:
        siege.stage.world.images.prune(GOOD.digest)
        assert "target image" in await held_by(siege)
        siege.stage.world.images.push(GOOD)
        siege.stage.world.images.prune(FINE.digest)
        assert await held_by(siege) == ["way back"]
        siege.stage.world.images.push(FINE)
        assert await held_by(siege, Wish(machine="nobody")) == ["machine"]
        await siege.machine(siege.machines[0], "cordon")
        await asyncio.sleep(15)
        assert await held_by(siege) == ["floor"]
        await siege.machine(siege.machines[0], "uncordon")

    rehearsed(story)


def test_a_release_on_trial_is_not_disturbed_and_a_rule_that_stirs_holds_it() -> None:
    async def story(siege: Siege) -> None:
        third = Image.build(f"registry.fly.io/{APP}:deployment-THIRD", labels=NONE)
        siege.stage.world.images.push(third)
        await siege.stage.deploy(third)
        await asyncio.sleep(20)
        assert await held_by(siege) == ["release not proven"]
        await siege.acts.adopt("ann", "fine", None)
        mood(siege, error_share=1.0)
        await siege.until(lambda: siege.guard.findings[0].state == "pending")
        assert "rules" in await held_by(siege)
        mood(siege)

    rehearsed(story)


def test_a_migration_holds_it_unless_a_person_overrides_that() -> None:
    changed = Image.build(f"registry.fly.io/{APP}:deployment-CHANGED", labels={"rollguard.migration": "breaking"})

    async def story(siege: Siege) -> None:
        assert await held_by(siege) == ["migration"]
        await begun(siege, Wish(overrides=("migration",)))
        await over(siege)

    migration = Migration(label="rollguard.migration", allow=("none",))
    policy = replace(BRISK, interlocks=replace(BRISK.interlocks, migration=migration))
    assert results(rehearsed(story, policy, images=(GOOD, changed, FINE), serving=changed)) == ["ok"]


def test_a_dry_run_writes_nothing() -> None:
    async def story(siege: Siege) -> None:
        answer = await drill(siege, dry_run=True)
        assert answer.machines == (siege.machines[-1],)
        assert answer.typed == "yes"
        assert (await drill(siege, ALL, dry_run=True)).typed == APP
        assert len(answer.steps) == 3

    after = rehearsed(story)
    assert after.of(ev.DrillBegan) == []
    assert not after.stage.app.ledger.writes[GUARD]
