"""A bad release is taken back, to the right place, and only once.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio

import pytest

from rollguard.core import events as ev
from tests.simulation.shop import (
    BAD,
    BEGINS_S,
    FINE,
    GOOD,
    PART,
    SICK,
    Shop,
    Town,
    first,
    open_shop,
    shipped,
)
from tests.simulation.stage import Stage


def test_a_bad_release_is_taken_back_and_the_restored_one_is_called_restored() -> None:
    async def story(shop: Shop) -> None:
        await shop.stage.deploy(BAD)
        await shop.wait(8)

    books = open_shop(story)
    books.takes_back(BAD)
    assert first(books, ev.GoalSet) < BEGINS_S + 20
    assert "restored: all machines" in books.pages[-1]


def test_without_any_user_a_page_that_fails_is_enough() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(BAD)
        await shop.wait(3)

    open_shop(story, rps=0.0).takes_back(BAD)


def test_a_long_deploy_whose_first_machine_is_bad_is_paged_at_once_and_acted_on_after_its_end() -> None:
    ended: list[float] = []

    async def story(shop: Shop) -> None:
        await shop.flyctl(BAD, step_s=150)
        ended.append(asyncio.get_running_loop().time())
        await shop.wait(3)

    books = open_shop(story)
    books.takes_back(BAD)
    assert first(books, ev.PageQueued) < BEGINS_S + 30
    assert 0 <= first(books, ev.GoalSet) - ended[0] < 20


@pytest.mark.parametrize("dies_after", [1, 3])
def test_a_deploy_that_dies_half_way_leaves_no_bad_half_behind(dies_after: int) -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(SICK, dies_after=dies_after)
        await shop.wait(5)

    open_shop(story).takes_back(SICK)


def test_a_release_that_proved_itself_and_goes_bad_at_minute_20_goes_back_to_its_predecessor() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop, 20)
        assert shop.guard.record.state.digests[-1].proven_at is not None
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)
        await shop.wait(3)

    open_shop(story, calm_s=0).takes_back(FINE)


def test_a_release_that_people_went_back_from_is_no_place_to_go_to() -> None:
    """v2 ran well for long enough; people went back to v1 all the same; v4 is bad: v1 it is."""

    async def story(shop: Shop) -> None:
        await shipped(shop, 11)
        await shop.flyctl(GOOD)
        await shop.wait(1)
        await shop.flyctl(BAD)
        await shop.wait(4)

    open_shop(story, calm_s=0).takes_back(BAD, GOOD)


def test_people_who_went_back_by_hand_are_let_be() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(PART)
        await asyncio.sleep(2)
        await shop.flyctl(GOOD)
        await shop.wait(6)

    books = open_shop(story)
    assert not books.rolled_back
    assert books.stage.digests == {GOOD.digest}


def test_the_same_image_again_is_configuration_and_paged() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await shop.flyctl(FINE)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)
        await shop.wait(2)

    books = open_shop(story)
    books.leaves_alone(pages=4)
    assert "changed configuration or secrets only" in books.pages[0]


def test_an_app_that_was_bad_at_first_sight_is_paged_and_left_as_it_is() -> None:
    async def found(stage: Stage, town: Town) -> None:
        await stage.deploy(BAD)

    async def story(shop: Shop) -> None:
        await shop.wait(12)

    books = open_shop(story, before=found, proven=False, calm_s=0)
    books.leaves_alone(pages=3)
    assert all("was there before the guard" in page for page in books.pages), books.pages


def test_a_target_that_is_gone_from_the_registry_is_paged() -> None:
    async def story(shop: Shop) -> None:
        shop.stage.world.images.prune(GOOD.digest)
        await shop.stage.deploy(BAD)
        await shop.wait(2)

    books = open_shop(story)
    books.leaves_alone(pages=3)
    assert any("gone from the registry" in page for page in books.pages)


def test_a_guard_that_is_killed_in_a_breach_judges_anew_and_acts() -> None:
    async def story(shop: Shop) -> None:
        await shop.stage.deploy(BAD)
        await asyncio.sleep(13)
        await shop.die_and_rise()
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=30)
        await shop.wait(3)

    open_shop(story, calm_s=0).takes_back(BAD)


def test_a_release_that_comes_in_the_last_moment_is_not_rolled_back_for_the_one_before() -> None:
    """The look right before acting finds another release: people repaired it a second ago."""

    async def story(shop: Shop) -> None:
        async def repair() -> None:
            await shop.stage.deploy(FINE)
            await asyncio.sleep(6)

        await shop.stage.deploy(BAD)
        await asyncio.sleep(12)
        shop.trouble.on("list", act=repair, times=1)
        await shop.wait(4)

    books = open_shop(story)
    assert books.stage.digests == {FINE.digest}, books.pages
