"""Right and wrong verdicts of the shipped policy: a healthy release is left alone, a bad one is not.

Every story runs the whole guard with every signal of ``config/hotdash-production.yaml`` (in the mode ``enforce``)
against a simulated HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from rollguard.core import events as ev
from rollguard.localfly.simulated_app import Answer
from tests.simulation.shop import (
    APP,
    BAD,
    BEGINS_S,
    FINE,
    GOOD,
    MONITORED,
    NEXT,
    PART,
    SICK,
    Books,
    Lie,
    Shop,
    Town,
    open_shop,
    replaced,
    zeros,
)
from tests.simulation.stage import Stage
from tests.virtual_time import EPOCH

MONITORING = "/api/monitoring/health"


async def shipped(shop: Shop, minutes: float = 1.5) -> None:
    """A good release, by a real deploy, with a while to watch it."""
    await shop.flyctl(FINE)
    await shop.wait(minutes)


def first(books: Books, kind: type[ev.Event]) -> float:
    """When it first happened, in seconds of the story."""
    return float(books.of(kind)[0].at) - EPOCH


# -- a healthy release -------------------------------------------------------------------------------------------------


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


# -- who is to blame ---------------------------------------------------------------------------------------------------


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
    books.leaves_alone(pages=4)
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


# -- the metrics store -------------------------------------------------------------------------------------------------

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

    open_shop(story, rps=1.0).takes_back(PART)


def test_probes_that_are_all_of_the_traffic_are_no_users() -> None:
    """Half of them fail; no share of errors is made of that."""

    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines:
            shop.town.mood(machine, error_share=0.4)
        await shop.wait(3)

    fired = open_shop(story, rps=0.0).fired
    assert not fired & {"errors-blatant", "users-see-errors", "error-rate", "p95-over-target"}


# -- the habits of HotDash's numbers -----------------------------------------------------------------------------------


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


# -- clocks ------------------------------------------------------------------------------------------------------------


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


# -- a bad release -----------------------------------------------------------------------------------------------------


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
    books.leaves_alone(pages=3)
    assert "changed configuration or secrets only" in books.pages[0]


def test_an_app_that_was_bad_at_first_sight_is_paged_and_left_as_it_is() -> None:
    async def found(stage: Stage, town: Town) -> None:
        await stage.deploy(BAD)

    async def story(shop: Shop) -> None:
        await shop.wait(12)

    books = open_shop(story, before=found, proven=False, calm_s=0)
    books.leaves_alone(pages=2)
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
