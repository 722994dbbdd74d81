"""The executor broken in eight ways. Each must break a promise, and be caught: that is what the simulation is for.

The product has no switch for any of this; a mutant replaces functions of the engine for the time of a ``with`` block.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from rollguard.adapters.fly import driver
from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.core import interlocks, plan
from rollguard.core.case import Effect
from rollguard.core.finding import Trigger
from rollguard.core.interlocks import Interlock
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Machine, Snapshot
from rollguard.core.plan import Complete, Next, next_step
from rollguard.core.policy import Rollback
from rollguard.engine import execute, update
from rollguard.engine.execute import Executor
from rollguard.engine.steps import Steps
from rollguard.engine.update import MachineUpdate
from rollguard.errors import Conflict, Unavailable
from rollguard.ports import Clock, Held, Platform
from tests.simulation.stage import GOOD

SEEDS_MAX = 500
"""Within so many seeds each is caught."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A way to be wrong, and the promise that it breaks."""

    name: str
    breaks: str
    patches: tuple[AbstractContextManager[Any], ...]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """The engine is broken inside the block."""
        with contextlib.ExitStack() as stack:
            for patch in self.patches:
                stack.enter_context(patch)
            yield


# -- skip the lease --------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _no_lease(platform: Platform, clock: Clock, machine: str, incident: str, ttl_s: float) -> AsyncIterator[Held]:
    yield Held(machine, "", math.inf, (await platform.machine(machine)).instance_id)


async def _surely(self: MachineUpdate, held: Held) -> bool:
    return True


# -- ignore which version was waited for -----------------------------------------------------------------------------

_wait_started = FlyPlatform.wait_started


async def _any_version(self: FlyPlatform, machine: str, instance_id: str, timeout_s: float) -> bool:
    return await _wait_started(self, machine, "", timeout_s)


# -- forget the journal before the write -----------------------------------------------------------------------------


async def _no_intent(self: Steps, kind: str, machine: str = "", instance_id: str = "") -> None:
    """Written down by nobody."""


# -- take the release row as truth -----------------------------------------------------------------------------------


def _by_the_row(snapshot: Snapshot, goal: Goal, settings: Rollback) -> Next:
    rows = [r for r in snapshot.releases if r.version == goal.row_version]
    begun = any(u.healthy for u in goal.updates.values())
    return Complete() if rows and begun else next_step(snapshot, goal, settings)


# -- use the tag -----------------------------------------------------------------------------------------------------

_update_body = driver.update_body


def _by_tag(document: Mapping[str, Any], image: str, *rest: Any, **named: Any) -> dict[str, Any]:
    tag = GOOD.ref if image.endswith(GOOD.digest) else image.partition("@")[0]
    return _update_body(document, tag, *rest, **named)


# -- not re-read after a conflict ------------------------------------------------------------------------------------

_send = MachineUpdate._send
TRIES = 20


async def _once_more(self: MachineUpdate, held: Held, current: Machine, *, skip_launch: bool) -> bool:
    """Whatever the answer was, it is sent again until one says yes."""
    platform = self._platform

    class Stubborn:
        def __getattr__(self, name: str) -> Any:
            return getattr(platform, name)

        async def update(self, held: Held, *, instance_id: str, **wanted: Any) -> str:
            for _ in range(TRIES):
                try:
                    return await platform.update(held, instance_id=instance_id, **wanted)
                except (Conflict, Unavailable):
                    await asyncio.sleep(2.0)
                    instance_id = (await platform.machine(held.machine)).instance_id
            raise Unavailable("still not written")

    with mock.patch.object(self, "_platform", Stubborn()):
        return await _send(self, held, current, skip_launch=skip_launch)


# -- roll back twice -------------------------------------------------------------------------------------------------

ONCE = frozenset({"quarantine", "cooldown", "budget", "restored release"})
_rows = interlocks.rows


def _free_rows(trigger: Trigger) -> tuple[tuple[Interlock, Effect], ...]:
    return tuple((lock, effect) for lock, effect in _rows(trigger) if lock.name not in ONCE)


MUTANTS = (
    Mutant(
        "skip the lease",
        "6 the floor",
        (mock.patch.object(update, "holding", _no_lease), mock.patch.object(MachineUpdate, "_is_ours", _surely)),
    ),
    Mutant(
        "ignore version",
        "4 no data is no evidence",
        (
            mock.patch.object(FlyPlatform, "wait_started", _any_version),
            mock.patch.object(MachineUpdate, "_check_instance", return_value=None),
        ),
    ),
    Mutant("drop the floor", "6 the floor", (mock.patch.object(plan, "floor", return_value=0),)),
    Mutant("forget the journal before the write", "2 intent first", (mock.patch.object(Steps, "intend", _no_intent),)),
    Mutant("roll back twice", "1 one rollback", (mock.patch.object(interlocks, "rows", _free_rows),)),
    Mutant(
        "take the release row as truth",
        "4 no data is no evidence",
        (
            mock.patch.object(execute, "next_step", _by_the_row),
            mock.patch.object(Executor, "_check_nobody_left", return_value=None),
        ),
    ),
    Mutant("use the tag", "1 one rollback", (mock.patch.object(driver, "update_body", _by_tag),)),
    Mutant("not re-read after a conflict", "3 never blindly", (mock.patch.object(MachineUpdate, "_send", _once_more),)),
)
