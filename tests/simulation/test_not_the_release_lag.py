"""A guard whose own loop stands still, or is starved, holds nothing against a release that it missed itself.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from rollguard.core.model import Reading
from rollguard.core.signals import Signal
from rollguard.engine import watch
from tests.simulation.shop import BAD, FINE, Shop, open_shop, shipped
from tests.virtual_time import VirtualTimeLoop


def starve(shop: Shop, still_s: float) -> Callable[[], None]:
    """From now on the guard stands still whenever a probe of the home page is on its way; the answer ends it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    stood: set[float] = set()

    def still(path: str, machine: str | None) -> None:
        if path == "/" and machine is None and round(loop.now_s) not in stood:
            loop.now_s += still_s
            stood.add(round(loop.now_s))

    shop.town.app_answer = still

    def mend() -> None:
        shop.town.app_answer = lambda path, machine: None

    return mend


async def starved(shop: Shop, still_s: float = 6.0, for_s: float = 60.0) -> None:
    mend = starve(shop, still_s)
    await asyncio.sleep(for_s)
    mend()


@pytest.mark.parametrize("still_s", [6.0, 20.0])
def test_a_loop_that_stands_still_again_and_again_blames_no_release(still_s: float) -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await starved(shop, still_s)
        await shop.wait(3)

    books = open_shop(story)
    books.leaves_alone(pages=1)
    assert all("blind" in page for page in books.pages), books.pages


def test_without_the_excuse_rules_would_have_fired(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_said(readings: Sequence[Reading], signal: Signal | None, late_s: float) -> list[Reading]:
        return list(readings)

    monkeypatch.setattr(watch, "excused", as_said)

    async def story(shop: Shop) -> None:
        await shipped(shop)
        await starved(shop)
        await shop.wait(3)

    books = open_shop(story)
    assert books.fired, "the story proves nothing"


def test_one_standstill_of_twenty_seconds_during_a_bad_release_only_delays_the_rollback() -> None:
    async def story(shop: Shop) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        await shop.stage.deploy(BAD)
        await asyncio.sleep(7)
        loop.now_s += 20.0
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=40)
        await shop.ended()

    open_shop(story).takes_back(BAD)


def test_an_app_that_is_down_is_found_by_a_guard_on_a_slow_machine_too() -> None:
    """Its loop is late by half a second each time, and the app answers with errors: those are its own."""

    async def story(shop: Shop) -> None:
        await shop.stage.deploy(FINE)
        await shop.wait(1)
        shop.town.proxy_down = True
        mend = starve(shop, 0.5)
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=60)
        mend()

    assert open_shop(story).rolled_back == [FINE.digest]
