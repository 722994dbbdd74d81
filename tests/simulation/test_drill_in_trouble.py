"""A rehearsal in which something goes wrong: images, the platform, a rule that fires, a guard that dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.rehearsal import Wish
from rollguard.localfly.images import Image
from tests.simulation.rehearsals import (
    BRISK,
    BY_MACHINE,
    DYING,
    SICK,
    begun,
    last,
    mood,
    one,
    over,
    rehearsed,
    results,
    there,
    way,
)
from tests.simulation.siege import Siege
from tests.simulation.stage import APP, FINE, GOOD, GUARD
from tests.simulation.trouble import WRITES
from tests.virtual_time import wall_clock

# -- what goes wrong on the way --------------------------------------------------------------------------------------


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


# -- a rule that fires -----------------------------------------------------------------------------------------------


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
    assert turned.why.startswith("rule pages-fail fires: home fail")
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


# -- lives -----------------------------------------------------------------------------------------------------------


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
