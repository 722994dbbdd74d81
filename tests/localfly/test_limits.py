"""Rate limits: per action and identifier, with a burst, and 429 without advice when to come again."""

from __future__ import annotations

import asyncio

import pytest

from rollguard.localfly.limits import BUCKETS_MAX, Limits
from rollguard.localfly.refusal import Refused
from tests.localfly.simulated import APP, Fly, at, first, live

MACHINES = f"/v1/apps/{APP}/machines"


def allowed(limits: Limits, action: str, identifier: str, now: float, tries: int) -> int:
    """How many of so many requests at one instant get through."""
    for count in range(tries):
        try:
            limits.take(action, identifier, now)
        except Refused:
            return count
    return tries


def test_three_at_once_and_then_one_a_second() -> None:
    limits = Limits()
    assert allowed(limits, "update", "m1", 0.0, 9) == 3
    assert allowed(limits, "update", "m1", 1.0, 9) == 1
    with pytest.raises(Refused, match="rate limit exceeded"):
        limits.take("update", "m1", 1.0)
    assert allowed(limits, "update", "m1", 1.5, 9) == 0
    assert allowed(limits, "update", "m1", 100.0, 9) == 3, "a burst is never more than that"


def test_reading_a_machine_may_be_five_times_as_fast() -> None:
    limits = Limits()
    assert allowed(limits, "get", "m1", 0.0, 20) == 10
    assert allowed(limits, "get", "m1", 1.0, 20) == 5


def test_other_machines_and_other_actions_have_their_own() -> None:
    limits = Limits()
    assert allowed(limits, "update", "m1", 0.0, 9) == 3
    assert allowed(limits, "update", "m2", 0.0, 9) == 3
    assert allowed(limits, "wait", "m1", 0.0, 9) == 3


def test_a_clock_that_goes_back_neither_refills_nor_locks_out() -> None:
    limits = Limits()
    assert allowed(limits, "update", "m1", 1000.0, 9) == 3
    assert allowed(limits, "update", "m1", 10.0, 9) == 0
    assert allowed(limits, "update", "m1", 11.0, 9) == 1


def test_the_buckets_are_bounded_and_the_oldest_is_forgotten() -> None:
    limits = Limits()
    for number in range(BUCKETS_MAX + 1):
        limits.take("update", f"m{number}", 0.0)
    assert allowed(limits, "update", "m0", 0.0, 9) == 3
    assert allowed(limits, "update", f"m{BUCKETS_MAX}", 0.0, 9) == 2


def test_the_interface_says_429_without_advice_and_whoever_waits_gets_through() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(2)
        fly.faults.change({"rate_limits": True})
        answers = [await fly.call("GET", MACHINES) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert "retry-after" not in {name.lower() for name in answers[-1].headers}
        await asyncio.sleep(1)
        assert (await fly.call("GET", MACHINES)).status == 200

    live(story)


def test_machines_of_one_app_are_updated_without_waiting_for_each_other() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(10)
        await asyncio.sleep(30)
        fly.faults.change({"rate_limits": True})
        assert {(await fly.update(machine)).status for machine in list(app.machines.values())} == {200}
        answers = [await fly.call("GET", at(first(app))) for _ in range(11)]
        assert [answer.status for answer in answers].count(429) == 1

    live(story)


@pytest.mark.parametrize("path", ["/v1/incidents", "/api/v1/releases/all_current"])
def test_what_is_not_the_machines_api_has_no_limit_that_is_known(path: str) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        fly.faults.change({"rate_limits": True})
        assert {(await fly.call("GET", path)).status for _ in range(20)} == {200}

    live(story)
