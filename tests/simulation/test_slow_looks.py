"""A platform that answers late: what was seen before somebody took a machine out does not count afterwards."""

from __future__ import annotations

import asyncio

import pytest

from rollguard.engine import execute
from tests.simulation.siege import Aftermath, Siege, besiege
from tests.simulation.stage import BAD, GUARD


def cordoned_during_a_slow_look(which: int) -> Aftermath:
    """The list of releases is five seconds late, once, at its ``which``-th reading after the first machine is well;
    right then somebody cordons a machine that the guard has not come to yet.
    """

    async def story(siege: Siege) -> None:
        def first_is_well() -> bool:
            goal = siege.guard.record.state.goal
            return goal is not None and any(u.healthy for u in goal.updates.values())

        async def somebody() -> None:
            await asyncio.sleep(1.0)
            await siege.machine(siege.machines[-1], "cordon")

        async def begins() -> None:
            siege.aside(somebody())

        await siege.stage.deploy(BAD)
        await siege.until(first_is_well)
        siege.trouble.on("rows", late_s=5.0, times=1, skip=which, act=begins)
        await siege.ended()

    return besiege(story, floor=False)


def broken(after: Aftermath) -> list[object]:
    return [v for v in after.stage.app.ledger.violations if v.owner == GUARD]


@pytest.mark.parametrize("which", range(6))
def test_a_look_that_took_long_is_taken_again_before_a_healthy_machine_goes_down(which: int) -> None:
    assert not broken(cordoned_during_a_slow_look(which))


def test_without_looking_again_the_floor_would_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "FRESH_S", 60.0)
    assert any(broken(cordoned_during_a_slow_look(which)) for which in range(6))
