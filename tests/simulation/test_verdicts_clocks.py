"""Clocks that jump or are apart neither hide a breach nor make one.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.simulation.shop import (
    BAD,
    FINE,
    SICK,
    Shop,
    Town,
    open_shop,
)
from tests.simulation.stage import Stage


def skewed(by_s: float) -> Callable[[Stage, Town], Awaitable[None]]:
    async def before(stage: Stage, town: Town) -> None:
        stage.watches.skew_s = by_s

    return before


@pytest.mark.parametrize("ahead_s", [-5.0, 5.0])
def test_a_clock_beside_the_platforms_lends_no_readings_to_the_wrong_release(ahead_s: float) -> None:
    """A bad release is repaired by hand a few seconds after it came; then a bad one stays."""

    async def story(shop: Shop) -> None:
        await shop.stage.deploy(BAD)
        await asyncio.sleep(8)
        await shop.stage.deploy(FINE)
        await shop.wait(3)
        assert not shop.guard.record.state.rollbacks
        await shop.acts.adopt("alice", "it is fine", None)
        await shop.flyctl(SICK)
        await shop.wait(2)

    books = open_shop(story, before=skewed(ahead_s))
    books.takes_back(SICK, FINE)


@pytest.mark.parametrize("jump_s", [-600.0, 3.0])
def test_a_clock_that_jumps_during_a_deploy_blames_nobody(jump_s: float) -> None:
    async def story(shop: Shop) -> None:
        deploy = asyncio.ensure_future(shop.flyctl(FINE))
        await asyncio.sleep(15)
        shop.stage.watches.skew_s = jump_s
        await deploy
        await shop.wait(1)

    books = open_shop(story, calm_s=0)
    books.leaves_alone(pages=int(abs(jump_s) > 60))
    assert all("clock moved by 10 m" in page for page in books.pages)


@pytest.mark.parametrize("jump_s, within_s", [(-600.0, 720.0), (-3.0, 75.0), (3.0, 75.0), (600.0, 75.0)])
def test_a_clock_that_jumps_during_a_breach_delays_and_prevents_nothing(jump_s: float, within_s: float) -> None:
    async def story(shop: Shop) -> None:
        await shop.stage.deploy(BAD)
        await asyncio.sleep(12)
        shop.stage.watches.skew_s = jump_s
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=within_s)

    books = open_shop(story, calm_s=0)
    assert books.rolled_back == [BAD.digest]
    assert not any("blind" in page for page in books.pages), books.pages
