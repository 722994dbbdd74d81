"""Attacks on the hands: what a machine does under them, what a lease does to them, and orders that are at large."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from rollguard.core import events as ev
from rollguard.core.goal import Goal, Update
from rollguard.core.model import Exit, Machine, Snapshot
from rollguard.core.policy import Rollback
from rollguard.engine.lease import holding
from rollguard.engine.steps import Steps, Stopped
from rollguard.engine.update import MachineUpdate
from rollguard.ports import Clock, Held, Platform, is_acting
from tests.builders import GOOD, NOON, a_goal, a_machine, a_snapshot
from tests.simulation.office import Office, tell
from tests.simulation.siege import Siege
from tests.simulation.stage import BAD
from tests.virtual_time import VirtualTimeLoop, wall_clock

SETTINGS = Rollback()


class Wall:
    """Virtual time as the guard's clock."""

    def now(self) -> float:
        return wall_clock()


@dataclass
class Notes:
    """Of ``Steps`` what one machine needs."""

    goal: Goal
    said: list[str] = field(default_factory=list)

    async def intend(self, kind: str, machine: str = "", instance_id: str = "") -> None:
        self.said.append(f"intend {machine}")

    async def done(self, kind: str, *, machine: str = "", result: str = "", phase: str = "", **more: object) -> None:
        self.said.append(f"{phase} {machine}")

    async def failed(self, kind: str, error: Exception, machine: str = "") -> None:
        self.said.append(f"failed {machine}")

    def marks(self) -> dict[str, str]:
        return {}


@dataclass
class Fleet:
    """Of ``Platform`` what one machine needs: machines that stay as they are."""

    machines: dict[str, Machine]
    updated: list[str] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)
    slow_to_stop_s: float = 0.0

    async def machine(self, machine: str) -> Machine:
        return self.machines[machine]

    async def wait_started(self, machine: str, instance_id: str, timeout_s: float) -> bool:
        await asyncio.sleep(0.1)
        return True

    async def acquire_lease(self, machine: str, description: str, ttl_s: float) -> Held:
        return Held(machine, "nonce", wall_clock() + ttl_s, self.machines[machine].instance_id)

    async def refresh_lease(self, held: Held, ttl_s: float) -> Held:
        try:
            await asyncio.sleep(self.slow_to_stop_s)
        except asyncio.CancelledError:
            await asyncio.sleep(self.slow_to_stop_s)  # as a connection that is closed in good order
            raise
        return held

    async def release_lease(self, held: Held) -> None:
        self.given_back.append(held.machine)

    async def update(self, held: Held, **what: object) -> str:
        self.updated.append(held.machine)
        return f"{held.machine}-2"


def hands(fleet: Fleet, notes: Notes, snapshot: Snapshot | None = None) -> MachineUpdate:
    async def look_again() -> Snapshot:
        return snapshot or a_snapshot(*fleet.machines.values())

    steps, platform, clock = cast("Steps", notes), cast("Platform", fleet), cast("Clock", Wall())
    return MachineUpdate(platform, steps, clock, SETTINGS, look_again)


def play(story: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)


# -- a machine under the hands -----------------------------------------------------------------------------------------


def at_rest(code: int, *, requested: bool, **but: Any) -> Machine:
    """On the target, stopped after its update; the update's own stop was asked for, and is older."""
    exits = (Exit(at=NOON + 5, code=code, requested=requested), Exit(at=NOON, code=0, requested=True))
    return replace(a_machine("m1", digest=GOOD, **but), state="stopped", instance_id="m1-2", exits=exits)


def settled(machine: Machine) -> list[str]:
    notes = Notes(a_goal(updates={"m1": Update(before="m1-1", after="m1-2")}))
    play(hands(Fleet({"m1": machine}), notes).settle("m1"))
    return notes.said


def test_an_image_whose_process_ends_at_once_without_an_error_is_not_taken_for_well() -> None:
    """Else it would be put on one machine after the other, until nobody serves, and called restored."""
    with pytest.raises(Stopped, match="ends by itself on the restored image") as stopped:
        settled(at_rest(0, requested=False))
    assert stopped.value.outcome == "failed"


def test_a_machine_that_the_proxy_puts_to_sleep_again_is_done() -> None:
    assert settled(at_rest(0, requested=True)) == ["healthy m1"]


def test_a_job_that_serves_nobody_may_end_when_it_is_done() -> None:
    assert settled(at_rest(0, requested=False, has_services=False, has_checks=False)) == ["healthy m1"]


@pytest.mark.parametrize("state", ["created", "stopped", "updating"])
def test_whom_this_very_wave_took_down_does_not_shrink_the_group_that_the_floor_is_a_share_of(state: str) -> None:
    """Five machines, four must stay, one is being replaced: no other may go, however its state is called meanwhile."""
    down = replace(a_machine("m1", digest=GOOD), state=state, instance_id="m1-2")
    fleet = Fleet({m.id: m for m in (down, *(a_machine(f"m{i}") for i in range(2, 6)))})
    notes = Notes(a_goal(updates={"m1": Update(before="m1-1", after="m1-2")}))
    play(hands(fleet, notes).update("m2"))
    assert fleet.updated == []
    assert fleet.given_back == ["m2"]


# -- a lease -----------------------------------------------------------------------------------------------------------


def test_who_is_cancelled_while_a_lease_is_given_back_hears_of_it() -> None:
    """The keeper of the lease takes a while to end: the cancellation that comes meanwhile is not its own."""

    async def story() -> bool:
        fleet, went_on = Fleet({"m1": a_machine("m1")}, slow_to_stop_s=2.0), []

        async def act() -> None:
            async with holding(cast("Platform", fleet), cast("Clock", Wall()), "m1", "I", ttl_s=30.0):
                await asyncio.sleep(11.0)  # a refresh began a second ago
            went_on.append("the next write")

        task = asyncio.create_task(act())
        await asyncio.sleep(12.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return task.cancelled() and not went_on

    assert play(story())


def test_acting_ends_with_the_lease_also_where_it_is_cut_off() -> None:
    async def story() -> list[bool]:
        fleet, seen = Fleet({"m1": a_machine("m1")}), []
        try:
            async with asyncio.timeout(3.0):
                async with holding(cast("Platform", fleet), cast("Clock", Wall()), "m1", "I", ttl_s=30.0):
                    seen.append(is_acting())
                    await asyncio.sleep(60.0)
        except TimeoutError:
            seen.append(is_acting())
        return seen

    assert play(story()) == [True, False]


# -- an order at large -------------------------------------------------------------------------------------------------


def test_a_pause_while_what_was_begun_is_looked_for_says_that_it_may_be_at_work() -> None:
    async def story(siege: Siege, office: Office) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: office.orders)
        await siege.acts.pause("eve", "I am at it")
        await siege.ended()

    told = tell(story, silent=True, loses_answers=True)
    [end] = told.after.of(ev.GoalEnded)
    assert end.outcome == "paused"
    assert "may still be at work" in end.sentence
    assert any("may still be at work" in page for page in told.after.pages)
