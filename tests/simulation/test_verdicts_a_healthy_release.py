"""A healthy release is left alone, whatever its deploy looks like.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation.shop import (
    APP,
    FINE,
    GOOD,
    NEXT,
    Shop,
    open_shop,
    shipped,
)


def test_a_rolling_deploy_with_cold_machines_is_no_trouble() -> None:
    async def story(shop: Shop) -> None:
        shop.town.cold_s = 8.0
        await shipped(shop, 2)

    open_shop(story).leaves_alone()


def test_machines_that_are_all_cold_at_once_for_less_than_the_checks_grace_are_no_trouble() -> None:
    async def story(shop: Shop) -> None:
        shop.town.cold_s = 8.0
        await shop.stage.deploy(FINE)
        await shop.wait(3)

    open_shop(story).leaves_alone()


def test_a_known_image_that_comes_back_slowly_is_no_blindness() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await shop.flyctl(NEXT, step_s=20)
        await shop.flyctl(GOOD, step_s=20)
        await shop.wait(1)

    open_shop(story).leaves_alone()


def test_restarts_that_reset_everything_in_the_middle_of_a_window_are_no_trouble() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            await shop.machine(machine, "restart")
            await asyncio.sleep(14)
        await shop.wait(2)

    open_shop(story).leaves_alone()


@pytest.mark.parametrize("phase_s", [0.0, 4.0])
def test_a_restart_of_every_machine_at_once_is_a_few_bad_seconds_and_no_share_of_a_window(phase_s: float) -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await asyncio.sleep(phase_s)
        for machine in shop.machines:
            await shop.machine(machine, "restart")
        await shop.wait(2)

    open_shop(story).leaves_alone()


def test_machines_that_are_replaced_and_added_are_no_trouble() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        await shop.call("DELETE", f"/v1/apps/{APP}/machines/{shop.machines[0]}?force=true")
        for _ in range(3):
            await shop.add_machine(FINE)
            await asyncio.sleep(7)
        await shop.wait(3)

    open_shop(story).leaves_alone()


def test_machines_that_stop_and_start_with_next_to_no_traffic_are_no_trouble() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for what in ("stop", "start"):
            for machine in shop.machines[1:]:
                await shop.machine(machine, what)
            await shop.wait(2)

    open_shop(story, rps=0.05).leaves_alone()


def test_a_look_that_times_out_everywhere_at_once_is_one_failure() -> None:
    """The guard's own event loop stalled for five seconds."""

    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.town.no_wire = True
        await asyncio.sleep(5)
        shop.town.no_wire = False
        await shop.wait(2)

    open_shop(story).leaves_alone()
