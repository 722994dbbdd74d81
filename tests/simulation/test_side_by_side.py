"""Machines on the old image beside those on the new one, under the same users, while a deploy rolls."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.policy import Action, Policy
from tests.simulation.shop import POLICY, Shop, first, image, open_shop
from tests.simulation.stage import GOOD

LEARNS_MINUTES = 6.0
FAILS = image("FAILS", error_share=0.06)
SAME = image("SAME", latency_s=0.12)
IMAGES = (GOOD, FAILS, SAME)


def acting(policy: Policy) -> Policy:
    """As shipped, but that more errors take a release back, and a block is learnt in a minute."""
    rules = tuple(replace(r, then=Action.ROLLBACK) if r.name == "more-errors" else r for r in policy.rules)
    return replace(policy, rules=rules, comparing=replace(policy.comparing, block_s=60.0, settle_s=0.0))


def test_a_release_that_fails_more_often_is_convicted_by_the_machines_that_have_not_got_it_yet() -> None:
    began: list[float] = []

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        began.append(shop.guard.clock.now())
        await shop.flyctl(FAILS, step_s=40.0)
        await shop.wait(8)

    books = open_shop(story, images=IMAGES, policy=acting(POLICY), rps=80.0)
    books.takes_back(FAILS)
    fired = next(e for e in books.of(ev.RuleChanged) if e.rule == "more-errors" and e.after == "firing")
    assert fired.at - began[0] <= 60.0 + 15.0  # the first machine needs some 10 s to be up
    (goal,) = books.of(ev.GoalSet)
    assert not goal.prove, "the deploy was the experiment"
    assert "machines on the old image" in "".join(books.pages)
    assert first(books, ev.GoalSet) > 0


def test_a_healthy_release_that_rolls_out_is_left_alone() -> None:
    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.flyctl(SAME, step_s=40.0)
        await shop.wait(8)

    books = open_shop(story, images=IMAGES, policy=acting(POLICY), rps=80.0)
    books.leaves_alone()


def test_trouble_of_all_machines_alike_is_not_blamed_on_the_release_that_rolls_out() -> None:
    """Something that all of them need fails for 6 % of the users, from the middle of the deploy on."""

    async def outage(shop: Shop) -> None:
        await asyncio.sleep(60.0)
        while True:
            for machine in shop.machines:
                if shop.stage.host.app_of(machine) is not None:
                    shop.town.mood(machine, error_share=0.06)
            await asyncio.sleep(1.0)

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        shop.aside(outage(shop))
        await shop.flyctl(SAME, step_s=40.0)
        await shop.wait(8)

    books = open_shop(story, images=IMAGES, policy=acting(POLICY), rps=80.0)
    assert "more-errors" in books.fired
    assert len(books.wrote) <= 1, "the first machine at most: it did no better"
    assert books.stage.digests != {GOOD.digest}


def test_one_sick_machine_of_a_release_that_is_out_everywhere_is_paged_as_that_machine() -> None:
    sick: list[str] = []

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SAME)
        await shop.wait(2)
        sick.append(shop.machines[1])
        shop.town.mood(sick[0], error_share=0.15)
        await shop.wait(5)

    books = open_shop(story, images=IMAGES, policy=acting(POLICY), rps=80.0)
    books.blames_one(sick[0])
