"""Restarting machines as they are, one after the other, under the floor: what helps a process that caught a cold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rollguard.core import text
from rollguard.core.events import StepDone, StepFailed, StepIntended
from rollguard.core.model import Machine
from rollguard.core.plan import is_own, spare
from rollguard.core.policy import Rollback
from rollguard.engine.lease import Taken, holding
from rollguard.engine.record import Record
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Clock, Platform

KIND = "restart"


class Restarts:
    """Restarts machines for an incident. Each restart is announced before and confirmed after."""

    def __init__(self, platform: Platform, record: Record, clock: Clock) -> None:
        self._platform = platform
        self._record = record
        self._clock = clock

    async def one_by_one(self, machines: Sequence[str], incident: str, settings: Rollback) -> str:
        """Restart these, each once, the next only when the one before is well; why it stopped early, or nothing.

        Raises ``JournalError`` only.
        """
        for place, machine in enumerate(machines):
            if place:
                await asyncio.sleep(settings.pause_between_s)
            why = await self.restart(machine, incident, settings)
            if why:
                return why
        return ""

    async def restart(self, machine: str, incident: str, settings: Rollback) -> str:
        """Restart one machine and watch it until it is well; why that did not work, or nothing."""
        if self._record.state.pause is not None:
            return "the guard is paused"
        try:
            async with holding(self._platform, self._clock, machine, incident, settings.lease_ttl_s) as held:
                before = await self._platform.machine(machine)
                if why := await self._why_not(machine, settings):
                    return why
                await self._record.add(
                    StepIntended(at=self._clock.now(), incident=incident, kind=KIND, machine=machine)
                )
                await self._platform.restart(held)
                why = await self._wait_until_well(before, settings)
        except Taken as error:
            return str(error)
        except (Unavailable, Conflict, Refused) as error:
            why = str(error)
        event = (
            StepFailed(at=self._clock.now(), incident=incident, kind=KIND, machine=machine, error=why)
            if why
            else StepDone(at=self._clock.now(), incident=incident, kind=KIND, machine=machine, phase="healthy")
        )
        await self._record.add(event)
        return why

    async def _why_not(self, machine: str, settings: Rollback) -> str:
        """The world right before the write: nobody else at it, and the floor kept."""
        snapshot = await self._platform.snapshot()
        leases = await self._platform.leases(snapshot.reachable)
        foreign = [lease.owner or "somebody" for lease in leases.values() if not is_own(lease)]
        if foreign:
            return f"{text.listing(foreign)} holds machines of the app"
        mine = next((m for m in snapshot.managed if m.id == machine), None)
        if mine is None or not mine.started:
            return f"machine {machine} is not started"
        peers = [m for m in snapshot.managed if m.group == mine.group]
        if mine.healthy_routable and not spare(peers, settings):
            return f"the floor keeps machine {machine}"
        return ""

    async def _wait_until_well(self, before: Machine, settings: Rollback) -> str:
        """Nothing once it has started anew and been well for ``stability_s``; a sentence when that does not come."""
        give_up_at = self._clock.now() + settings.wait_timeout_s
        well_since: float | None = None
        while self._clock.now() < give_up_at:
            await asyncio.sleep(min(1.0, max(0.1, settings.stability_s / 4)))
            seen = await self._look(before.id)
            if seen is None:
                continue
            if not seen.healthy_routable or seen.started_at == before.started_at:
                well_since = None
            elif well_since is None:
                well_since = self._clock.now()
            elif self._clock.now() - well_since >= settings.stability_s:
                return ""
        return f"machine {before.id} was not healthy within {text.seconds(settings.wait_timeout_s)} of its restart"

    async def _look(self, machine: str) -> Machine | None:
        try:
            return await self._platform.machine(machine)
        except Unavailable:
            return None
