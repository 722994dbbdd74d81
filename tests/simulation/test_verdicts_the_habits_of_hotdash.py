"""The habits of HotDash's own numbers that a naive guard gets wrong.

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rollguard.localfly.simulated_app import Answer
from tests.simulation.shop import (
    FINE,
    MONITORED,
    PART,
    Shop,
    open_shop,
    shipped,
    zeros,
)

MONITORING = "/api/monitoring/health"


def tells(answer: Callable[[], Answer]) -> Callable[[str, str | None], Answer | None]:
    """Every machine's monitoring tells this."""
    return lambda path, machine: answer() if path == MONITORING else None


def test_habit_1_every_machine_is_asked_by_name_and_a_restart_starts_at_zero() -> None:
    """One process remembers an alert for ever; a poll that lands anywhere would see it now and then."""
    sick: list[str] = []

    async def story(shop: Shop) -> None:
        await shipped(shop)
        sick.append(shop.machines[0])
        shop.inside(sick[0]).monitor.alerted("critical")
        await shop.wait(2)
        await shop.machine(sick[0], "restart")
        await shop.wait(7)

    books = open_shop(story)
    books.blames_one(sick[0])
    assert "recovered" in books.pages[-1]


def test_habit_2_errors_of_a_process_that_only_grow_are_no_rate() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            for number in range(500):
                shop.inside(machine).monitor.failed(0.0, f"handled {number % 7}", "/")
        await shop.wait(4)

    open_shop(story).leaves_alone()


def test_habits_3_and_4_an_hour_that_has_no_request_yet_is_no_p95_of_zero() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop, 3)
        reading = list(shop.guard.watch.windows.newest_first("monitoring.route_p95", shop.machines[0]))
        assert any(r.value for r in reading)
        assert not any(r.value == 0.0 for r in reading), "0 with count 0 is a gap"

    open_shop(story, rps=0.0).leaves_alone()


def test_habit_5_uptime_0_of_a_handler_that_failed_is_a_gap() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.town.app_answer = tells(lambda: (503, {}, zeros()))
        await asyncio.sleep(45)
        shop.town.app_answer = tells(lambda: (200, {}, b"<html>not JSON</html>"))
        await asyncio.sleep(45)
        assert not shop.guard.record.state.rollbacks

    books = open_shop(story)
    books.leaves_alone(pages=1)
    assert "health-degraded" not in books.fired
    assert all("blind" in page for page in books.pages)


def test_habit_6_degraded_answers_200_and_is_for_people_to_look_at() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            for number in range(100):
                shop.inside(machine).monitor.checked("payments", "degraded" if number % 25 == 0 else "up")
        await shop.wait(4)

    books = open_shop(story)
    books.leaves_alone(pages=1)
    assert "health-degraded" in books.pages[0]


def test_habit_7_no_cache_is_between_the_guard_and_the_numbers() -> None:
    async def story(shop: Shop) -> None:
        shop.inside(shop.machines[0]).monitor.alerted("critical")
        await shop.wait(2)

    assert "critical-alerts" in open_shop(story).fired


def test_habit_8_an_app_without_a_request_counter_is_judged_by_what_the_proxy_counted() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(PART)
        await shop.wait(3)

    assert "errors-blatant" in open_shop(story).fired


def test_habit_9_one_degraded_check_right_after_a_deploy_is_not_the_release() -> None:
    sick: list[str] = []

    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        sick.append(shop.machines[0])
        monitor = shop.inside(sick[0]).monitor
        monitor._services.clear()
        monitor.checked("database", "degraded")
        monitor.checked("database", "up")
        await shop.wait(5)

    open_shop(story, check=MONITORED).blames_one(sick[0])


def test_habit_10_one_critical_error_takes_a_machine_out_and_nothing_more() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        shop.inside(shop.machines[0]).monitor.failed(0.0, "out of disk", "/", "critical")
        await shop.wait(4)
        assert sum(m.routable for m in shop.stage.app.machines.values()) == 3

    open_shop(story, check=MONITORED).leaves_alone()


def test_habit_10_critical_errors_everywhere_end_the_app_and_going_back_starts_it_again() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            shop.inside(machine).monitor.failed(0.0, "out of disk", "/", "critical")
        await shop.wait(9)

    books = open_shop(story, check=MONITORED)
    books.takes_back(FINE)
    assert "restored" in books.pages[-1]
