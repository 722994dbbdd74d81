"""Attacks on what the guard does beside the rollback itself: proofs, approvals, restarts; and people who cut in."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.lifecycle import replay
from rollguard.core.model import Mode
from rollguard.errors import GuardError, Refused
from tests.simulation.shop import BAD, FINE, POLICY, Books, Shop, image, open_shop, shipped
from tests.simulation.stage import GOOD, GUARD
from tests.simulation.test_aftercare import LIMITED, ends, ill, restarts, restored

PAGING_ONLY = replace(POLICY, mode=Mode.PAGE)
FLAKY = image("FLAKY", error_share=0.3)


def approvals(books: Books) -> list[str]:
    return [e.outcome for e in books.of(ev.ApprovalEnded)]


# -- approvals ---------------------------------------------------------------------------------------------------------


async def asked(shop: Shop) -> None:
    await shop.flyctl(BAD)
    await shop.until(lambda: (i := shop.guard.record.state.incident) and i.approval, for_s=200)


def test_two_people_say_yes_at_once_and_one_yes_is_used() -> None:
    async def story(shop: Shop) -> None:
        await asked(shop)
        answers = await asyncio.gather(
            shop.consent.approve("ann", "agreed"), shop.consent.approve("bob", "agreed"), return_exceptions=True
        )
        assert sum(isinstance(a, Refused) for a in answers) == 1, answers
        await shop.wait(3)

    books = open_shop(story, policy=PAGING_ONLY)
    books.takes_back(BAD)
    assert approvals(books) == ["approved"]


def test_a_yes_that_was_overtaken_by_a_pause_in_the_same_goal_begins_no_second_one() -> None:
    """The first yes began a rollback that a person stopped while the second one still looked around."""

    async def story(shop: Shop) -> None:
        await asked(shop)
        both = {asyncio.ensure_future(shop.consent.approve(name, "agreed")) for name in ("ann", "bob")}
        shop.trouble.on("image", skip=1, late_s=8.0)
        (first,), (second,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        await first
        await shop.acts.pause("eve", "stop")
        await shop.until(lambda: shop.guard.record.state.goal is None, for_s=60)
        await shop.acts.resume("eve", "go on")
        with pytest.raises(GuardError):
            await second
        await shop.wait(2)

    books = open_shop(story, policy=PAGING_ONLY)
    assert len(books.of(ev.GoalSet)) == 1
    assert approvals(books) == ["approved"]


def test_a_yes_that_expires_while_the_guard_looks_once_more_is_too_late() -> None:
    async def story(shop: Shop) -> None:
        await asked(shop)
        question = shop.guard.record.state.incident.approval  # type: ignore[union-attr]
        assert question is not None
        await asyncio.sleep(question.until - shop.guard.clock.now() - 2.0)
        shop.trouble.on("image", late_s=6.0)
        with pytest.raises(Refused):
            await shop.consent.approve("ann", "agreed")

    books = open_shop(story, policy=PAGING_ONLY)
    assert approvals(books) == ["expired"]
    assert not books.wrote


def test_who_was_told_during_the_deploy_is_asked_once_it_is_over() -> None:
    only_pages = replace(POLICY, rules=tuple(r for r in POLICY.rules if r.name == "error-rate"))

    async def story(shop: Shop) -> None:
        await shop.flyctl(FLAKY, step_s=20.0)
        assert shop.guard.record.state.incident, "people were told while it was deployed"
        await shop.wait(1)
        await shop.consent.approve("ann", "agreed")
        await shop.wait(4)

    books = open_shop(story, policy=only_pages, images=(GOOD, FLAKY))
    books.takes_back(FLAKY)
    assert len([p for p in books.pages if "error-rate" in p and "rolling back" not in p]) == 2


# -- restarts ----------------------------------------------------------------------------------------------------------


def test_a_hold_keeps_the_guard_from_restarting_anything() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        await shop.acts.hold("ann", "I am at it", 1200)
        await shop.wait(7)

    books = open_shop(story, policy=LIMITED)
    assert restarts(books.stage) == []
    assert ends(books) == ["not better"]


def test_a_release_row_that_appears_right_before_a_restart_ends_the_restarts() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        await shop.until(lambda: restarts(shop.stage))
        wanted = {"app_name": "hotdash-production", "build_id": 0, "definition": {"app": "x"}, "image": FINE.ref}
        assert await shop.call("POST", "/api/v1/releases", wanted | {"strategy": "ROLLING"})
        await shop.wait(1)

    assert len(restarts(open_shop(story, policy=LIMITED).stage)) == 1


def test_a_rollback_by_hand_in_the_middle_of_the_restarts_is_driven_to_its_end() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await shop.acts.adopt("alice", "well", None)
        await restored(shop)
        ill(shop)
        await shop.until(lambda: restarts(shop.stage))
        answer = await shop.acts.rollback("ann", "further back", 1, (), dry_run=False)
        assert not answer.refusals
        await shop.until(lambda: shop.stage.digests == {GOOD.digest}, for_s=600)
        await shop.until(lambda: shop.guard.record.state.goal is None, for_s=60)

    books = open_shop(story, policy=LIMITED)
    assert [e.outcome for e in books.of(ev.GoalEnded)] == ["restored", "restored"]
    assert len(restarts(books.stage)) == 1


def test_a_machine_that_somebody_cordoned_is_neither_judged_nor_restarted() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        await shop.machine(shop.machines[0], "cordon")
        await shop.wait(17)

    books = open_shop(story, policy=LIMITED, machines=8)
    assert sorted(restarts(books.stage)) == sorted(books.stage.app.machines)[1:]
    assert ends(books) == ["restored"], books.pages


def test_a_sick_machine_that_may_not_be_restarted_is_told_once_and_not_tried_every_second() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await shop.acts.hold("ann", "I am at it", 3600)
        shop.town.mood(shop.machines[0], error_share=1.0)
        await shop.wait(4)

    books = open_shop(story, policy=replace(POLICY, rollback=replace(POLICY.rollback, restart_sick=True)))
    assert restarts(books.stage) == []
    assert len([p for p in books.pages if "not restarted" in p]) == 1


# -- the proof ---------------------------------------------------------------------------------------------------------


def test_a_machine_that_somebody_cordoned_goes_first_and_proves_nothing() -> None:
    async def story(shop: Shop) -> None:
        await shop.machine(shop.machines[2], "cordon")
        await shop.flyctl(FLAKY)
        await shop.wait(5)

    books = open_shop(story, images=(GOOD, FLAKY), machines=8)
    books.takes_back(FLAKY)
    assert [e.result for e in books.of(ev.FirstJudged)] == ["better"], books.pages


def test_one_check_that_fails_once_during_the_proof_is_no_verdict() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FLAKY)
        await shop.until(lambda: (g := shop.guard.record.state.goal) and any(u.healthy for u in g.updates.values()))
        first = next(iter(shop.updated))
        shop.town.mood(first, health_fails=True)
        await asyncio.sleep(16)  # one check every 15 s
        shop.town.mood(first)
        await shop.wait(5)

    books = open_shop(story, images=(GOOD, FLAKY))
    assert [e.result for e in books.of(ev.FirstJudged)] == ["better"], books.pages


# -- the journal -------------------------------------------------------------------------------------------------------


def test_whoever_closes_an_incident_late_takes_nobodys_goal_away() -> None:
    def goal(at: float) -> ev.GoalSet:
        return ev.GoalSet(
            at=at, incident="i1", candidate="bad", target="good", target_ref="good", target_version=1, after_version=2,
            trigger="manual", by="ann", reason="now", deadline_at=at + 900.0,
        )  # fmt: skip

    opened = ev.IncidentOpened(at=1.0, incident="i1", candidate="bad", sentence="bad")
    late: list[list[ev.Event]] = [
        [opened, goal(2.0), ev.Verified(at=2.1, incident="i1", result="not better", sentence="")],
        [opened, goal(2.0), ev.IncidentClosed(at=2.1, incident="i1", outcome="recovered", sentence="")],
        [opened, ev.IncidentClosed(at=2.0, incident="i1", outcome="recovered", sentence=""), goal(2.1)],
    ]
    for events in late:
        state = replay([ev.Recorded(seq=n, event=e) for n, e in enumerate(events)])
        assert state.goal is not None
        assert state.goal.by == "ann"


def test_a_guard_that_may_only_page_still_restarts_nothing() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        shop.guard.obey(replace(LIMITED, mode=Mode.PAGE))
        await shop.wait(7)

    books = open_shop(story, policy=LIMITED)
    assert restarts(books.stage) == []
    assert GUARD in {r.user for r in books.stage.app.releases}
