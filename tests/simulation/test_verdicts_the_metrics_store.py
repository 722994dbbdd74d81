"""What the metrics store says, and what it does not, is never held against a release.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.simulation.shop import (
    FINE,
    PART,
    Lie,
    Shop,
    Town,
    open_shop,
    replaced,
    shipped,
)
from tests.simulation.stage import Stage

LIES: Mapping[str, Lie] = {
    "dead": lambda text: None,
    "empty": lambda text: b"",
    "a page of HTML": lambda text: b"<html>Bad Gateway</html>",
    "cut short": lambda text: text[: len(text) // 2],
    "everything twice": lambda text: text + text,
    "NaN": replaced("instance", "NaN"),
    "negative": replaced("instance", "-1"),
    "infinite": replaced("instance", "+Inf"),
    "huge": replaced("instance", "1e300"),
    "huge errors": replaced('status="500"', "9e12"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_metrics_store_that_lies_is_never_believed_against_a_release(what: str) -> None:
    async def past(stage: Stage, town: Town) -> None:
        """Every counter knows errors of long ago."""
        for machine in stage.app.machines:
            town.mood(machine, error_share=0.9)
        await asyncio.sleep(60)
        for machine in stage.app.machines:
            town.mood(machine)
        await asyncio.sleep(200)

    async def story(shop: Shop) -> None:
        await shipped(shop)
        for _ in range(2):
            shop.town.lie = LIES[what]
            await asyncio.sleep(31)
            shop.town.lie = None
            await asyncio.sleep(46)

    open_shop(story, before=past).leaves_alone()


def test_a_store_that_stays_dead_is_said_once() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.town.lie = LIES["dead"]
        await shop.wait(5)

    books = open_shop(story)
    books.leaves_alone(pages=1)
    assert "blind on errors-blatant" in books.pages[0]


def test_a_store_that_is_dead_for_a_minute_and_a_half_wakes_nobody() -> None:
    """Blind after some 50 s without an answer, and told of only when that has lasted for another minute."""

    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.town.lie = LIES["dead"]
        await asyncio.sleep(90)
        shop.town.lie = None
        await shop.wait(3)

    open_shop(story).leaves_alone()


def test_a_replica_that_is_behind_is_no_reset() -> None:
    """Counted from zero again, the errors of long ago would be the release's."""

    async def past(stage: Stage, town: Town) -> None:
        for machine in stage.app.machines:
            town.mood(machine, error_share=0.9)
        await asyncio.sleep(120)
        for machine in stage.app.machines:
            town.mood(machine)

    async def story(shop: Shop) -> None:
        await shipped(shop)
        pages: list[bytes] = []

        def every_third_is_older(text: bytes) -> bytes:
            pages.append(text)
            return pages[-3] if len(pages) % 3 == 0 else text

        shop.town.lie = every_third_is_older
        await shop.wait(4)

    open_shop(story, before=past).leaves_alone()


@pytest.mark.parametrize("lag_s", [20.0, 60.0])
def test_the_errors_of_a_bad_release_are_not_held_against_the_fix_by_a_store_that_lags(lag_s: float) -> None:
    async def story(shop: Shop) -> None:
        shop.town.metrics_lag_s = lag_s
        await shop.wait(1)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)
        await asyncio.sleep(9)
        await shop.stage.deploy(FINE)
        await shop.wait(3)

    books = open_shop(story)
    books.leaves_alone(pages=2)
    assert not any("v2" in page for page in books.pages), books.pages


@pytest.mark.parametrize("lag_s", [0.0, 60.0])
def test_a_page_that_no_probe_looks_at_is_found_broken_by_its_users(lag_s: float) -> None:
    async def story(shop: Shop) -> None:
        shop.town.metrics_lag_s = lag_s
        await shop.flyctl(PART)
        await shop.wait(10)

    books = open_shop(story)
    books.takes_back(PART)
    assert "restored: all machines" in books.pages[-1]


def test_users_errors_are_found_although_probes_are_most_of_the_traffic() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(PART)
        await shop.wait(4)

    assert open_shop(story, rps=2.0).rolled_back == [PART.digest]


def test_probes_that_are_all_of_the_traffic_are_no_users() -> None:
    """Half of them fail; no share of errors is made of that."""

    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=0.4)
        await shop.wait(3)

    fired = open_shop(story, rps=0.0).fired
    assert not fired & {"errors-blatant", "users-see-errors", "error-rate", "p95-over-target"}
