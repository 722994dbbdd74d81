"""Restarting machines as they are, one after the other, under the floor: what helps a process that caught a cold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from rollguard.core import text
from rollguard.core.deploys import Quiet, in_progress
from rollguard.core.events import StepDone, StepFailed, StepIntended
from rollguard.core.model import Machine
from rollguard.core.plan import spare
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
        give_up_at = self._clock.now() + settings.deadline_s
        for place, machine in enumerate(machines):
            if place:
                await asyncio.sleep(settings.pause_between_s)
            late = self._clock.now() >= give_up_at
            why = f"not done within {text.seconds(settings.deadline_s)}" if late else ""
            why = why or await self.restart(machine, incident, settings)
            if why:
                return why
        return ""

    async def restart(self, machine: str, incident: str, settings: Rollback) -> str:
        """Restart one machine and watch it until it is well; why that did not work, or nothing."""
        if why := self._people_say_no():
            return why
        try:
            async with holding(self._platform, self._clock, machine, incident, settings.lease_ttl_s) as held:
                before = await self._platform.machine(machine)
                if why := await self._why_not(before, settings) or self._people_say_no():
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

    def _people_say_no(self) -> str:
        """Whoever paused, holds or rolls back by hand comes first."""
        state, now = self._record.state, self._clock.now()
        if state.pause is not None:
            return f"paused by {state.pause.by}"
        if state.hold is not None and now < state.hold.until:
            return f"held by {state.hold.by}"
        return "a rollback began" if state.goal is not None else ""

    async def _why_not(self, machine: Machine, settings: Rollback) -> str:
        """The world right before the write: nobody else at it, its release still the serving one, the floor kept."""
        snapshot = await self._platform.snapshot()
        snapshot = replace(snapshot, leases=await self._platform.leases(snapshot.reachable))
        incident = self._record.state.incident
        deploy, _ = in_progress(snapshot, incident.goal if incident else None, Quiet(), self._clock.now())
        if deploy is not None:
            return f"{deploy.owner} is deploying ({deploy.sign})"
        mine = next((m for m in snapshot.managed if m.id == machine.id), None)
        if mine is None or not mine.started:
            return f"machine {machine.id} is not started"
        if mine.digest not in self._in_question():
            return f"machine {machine.id} runs another release now"
        peers = [m for m in snapshot.managed if m.group == mine.group]
        if mine.healthy_routable and not spare(peers, settings):
            return f"the floor keeps machine {machine.id}"
        return ""

    def _in_question(self) -> tuple[str, ...]:
        """The digests that the incident is about: what was restored, or else what fails."""
        incident = self._record.state.incident
        if incident is None:
            return ()
        restored = (incident.goal.target,) if incident.goal else ()
        return restored if incident.phase == "verifying" else (incident.candidate, *restored)

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
