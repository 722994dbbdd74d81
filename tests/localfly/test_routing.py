"""Which machine serves: every row is a sentence about Fly's proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rollguard.localfly.routing import NOBODY, UNKNOWN, UNREACHABLE, Hold, Load, Machine, Serve, choose


def machine(machine_id: str, **fields: Any) -> Machine:
    facts: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 1,
        "state": "started",
        "cordoned": False,
        "checks": "passing",
        "autostart": True,
    }
    return Machine(id=machine_id, **(facts | fields))


GOOD, OTHER = machine("good"), machine("other")
CORDONED = machine("cordoned", cordoned=True)
FAILING = machine("failing", checks="failing")
ASLEEP = machine("asleep", state="stopped")
SUSPENDED = machine("suspended", state="suspended")
OFF = machine("off", state="stopped", autostart=False)
REPLACING = machine("replacing", state="replacing")
STARTING = machine("starting", state="starting")


@pytest.mark.parametrize(
    ("loads", "expected"),
    [
        ({}, GOOD),
        ({"good": Load(1, 1)}, OTHER),  # fewest in flight
        ({"good": Load(0, 2), "other": Load(0, 1)}, OTHER),  # among equals, who has waited longest
        ({"good": Load(2, 1), "other": Load(1, 2)}, OTHER),  # load before order
    ],
)
def test_the_least_busy_machine_serves_then_the_one_that_waited_longest(
    loads: Mapping[str, Load], expected: Machine
) -> None:
    assert choose([GOOD, OTHER], loads) == Serve(expected)


@pytest.mark.parametrize("unroutable", [CORDONED, FAILING, ASLEEP, OFF, REPLACING, STARTING])
def test_nothing_goes_to_a_machine_that_is_not_routable_and_none_is_woken_while_one_is(unroutable: Machine) -> None:
    busy = {"good": Load(100, 100)}
    assert choose([unroutable, GOOD], busy) == Serve(GOOD)


@pytest.mark.parametrize(
    ("machines", "verdict"),
    [
        ([], NOBODY),
        ([OFF], NOBODY),
        ([CORDONED, FAILING, REPLACING, STARTING], NOBODY),
        ([FAILING, ASLEEP], Hold(ASLEEP)),
        ([SUSPENDED, ASLEEP], Hold(ASLEEP)),  # one, and always the same
        ([SUSPENDED], Hold(SUSPENDED)),
    ],
)
def test_where_nobody_is_routable_a_sleeper_is_woken_or_the_proxy_refuses(
    machines: list[Machine], verdict: object
) -> None:
    assert choose(machines, {}) == verdict


def test_a_request_that_comes_during_a_wake_waits_for_it_and_wakes_nobody_else() -> None:
    assert choose([ASLEEP, STARTING], {}, waking=["starting"]) == Hold(STARTING)


@pytest.mark.parametrize(
    ("forced", "verdict"),
    [
        ("good", Serve(GOOD)),
        ("failing", Serve(FAILING)),  # asking a failing machine how it is must work
        ("asleep", Hold(ASLEEP)),  # even though others are awake
        ("off", NOBODY),
        ("cordoned", NOBODY),
        ("replacing", NOBODY),
        ("unknown", UNKNOWN),
    ],
)
def test_a_request_that_names_its_machine_gets_that_one_or_an_error(forced: str, verdict: object) -> None:
    machines = [GOOD, FAILING, ASLEEP, OFF, CORDONED, REPLACING]
    assert choose(machines, {}, forced=forced) == verdict


def test_a_machine_that_refused_the_connection_is_not_chosen_again() -> None:
    assert choose([GOOD, OTHER], {}, tried=["good"]) == Serve(OTHER)
    assert choose([GOOD, ASLEEP], {}, tried=["good"]) == UNREACHABLE


def test_a_machine_without_an_address_is_still_known() -> None:
    facts = {
        "id": "m1",
        "instance_id": "01J",
        "address": None,
        "state": "stopped",
        "cordoned": False,
        "checks": "none",
        "digest": "sha256:0",
        "autostart": True,
    }
    assert Machine.from_json(facts).wakeable
