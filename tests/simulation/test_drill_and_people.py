"""A rehearsal and people: whoever comes in the middle wins, and what stands against it holds it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.policy import Migration
from rollguard.core.rehearsal import Wish
from rollguard.errors import Refused
from rollguard.localfly.images import Image
from tests.simulation.rehearsals import (
    ALL,
    BRISK,
    NONE,
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

# -- people win ------------------------------------------------------------------------------------------------------


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


# -- what holds it ---------------------------------------------------------------------------------------------------


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
