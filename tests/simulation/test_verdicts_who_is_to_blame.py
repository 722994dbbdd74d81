"""Whom the shipped policy blames: the release, one machine, or nobody.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.shop import (
    FINE,
    Shop,
    open_shop,
    shipped,
)


@pytest.mark.parametrize("rps", [20.0, 1.0])
def test_one_sick_machine_of_four_is_named_and_never_a_bad_release(rps: float) -> None:
    sick: list[str] = []

    async def story(shop: Shop) -> None:
        await shipped(shop)
        sick.append(shop.machines[1])
        shop.town.mood(sick[0], error_share=1.0)
        await shop.wait(4)

    open_shop(story, rps=rps).blames_one(sick[0])


def test_one_slow_machine_of_four_is_named() -> None:
    sick: list[str] = []

    async def story(shop: Shop) -> None:
        await shipped(shop)
        sick.append(shop.machines[2])
        shop.town.mood(sick[0], added_latency_s=3.5)
        await shop.wait(4)

    open_shop(story).blames_one(sick[0])


@pytest.mark.parametrize("sick", [2, 3])
def test_half_of_the_machines_are_the_release(sick: int) -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines[:sick]:
            shop.town.mood(machine, error_share=0.7)
        await shop.wait(4)

    open_shop(story).takes_back(FINE)


def test_while_old_and_new_machines_fail_alike_it_is_not_the_release() -> None:
    async def story(shop: Shop) -> None:
        shop.aside(shop.flyctl(FINE, step_s=40))
        await asyncio.sleep(60)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)
        await asyncio.sleep(30)
        for machine in shop.machines:
            shop.town.mood(machine)
        await shop.wait(5)

    books = open_shop(story)
    books.leaves_alone(pages=5)
    assert all("not the release" in page for page in books.pages[:2]), books.pages


def test_what_was_bad_before_the_release_is_not_its_doing_until_it_has_run_clean() -> None:
    """An outage, a release in the middle of it, its end, a proof; what comes then is the release's own."""

    async def outage(shop: Shop, *, down: bool) -> None:
        shop.town.proxy_down = down
        await shop.wait(1)

    async def story(shop: Shop) -> None:
        await outage(shop, down=True)
        await shop.flyctl(FINE)
        await shop.wait(1)
        assert not shop.guard.record.state.rollbacks
        await outage(shop, down=False)
        await shop.wait(15)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)
        await shop.wait(3)

    books = open_shop(story)
    assert any("fired already before the release came" in page for page in books.pages), books.pages
    books.takes_back(FINE)


@pytest.mark.parametrize("cut_s", [16.0, 30.0, 120.0])
def test_a_guard_that_is_cut_off_itself_holds_nothing_against_the_app(cut_s: float) -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for _ in range(2):
            await shop.cut_off(cut_s)
            await asyncio.sleep(61.7)

    books = open_shop(story)
    books.leaves_alone(pages=9)
    assert not any("is bad" in page for page in books.pages), books.pages


def test_an_app_that_cannot_be_reached_though_the_platform_can_is_down() -> None:
    async def story(shop: Shop) -> None:
        await shop.stage.deploy(FINE)
        await shop.wait(1)
        shop.town.no_wire = True
        await shop.wait(3)

    assert open_shop(story).rolled_back == [FINE.digest]


def test_list_polls_that_fail_for_a_minute_are_no_evidence() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.trouble.outage(60)
        await shop.wait(4)

    books = open_shop(story)
    books.leaves_alone(pages=1)
    assert all("blind" in page for page in books.pages)
