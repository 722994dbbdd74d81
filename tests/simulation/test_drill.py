"""A rollback rehearsed: there and back, of one machine and of a whole app. ``rehearsed`` checks the promises."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.drill import last_proven
from rollguard.core.rehearsal import Wish
from tests.simulation.rehearsals import (
    ALL,
    BRISK,
    BY_MACHINE,
    ONE,
    SOUR,
    begun,
    drill,
    last,
    mood,
    one,
    over,
    rehearsed,
    results,
    way,
)
from tests.simulation.siege import Siege
from tests.simulation.stage import FINE, GOOD, GUARD
from tests.virtual_time import wall_clock

# -- there and back --------------------------------------------------------------------------------------------------


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


# -- the whole app ---------------------------------------------------------------------------------------------------


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
