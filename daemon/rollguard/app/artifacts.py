"""The files of each rollback, written beside it: a disk that will not take them never stops a rollback."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from rollguard.adapters.artifacts import ArtifactFolder, folder_name
from rollguard.core import events as ev
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Snapshot
from rollguard.core.report import releases_json, status_text, summary_text
from rollguard.engine.guard import Guard
from rollguard.errors import GuardError
from rollguard.ports import Journal, Platform

LOOK_S_MAX = 15.0
WAITING_MAX = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    """``when`` is pre or post; ``snapshot`` what was known before the first write."""

    goal: Goal
    when: str
    snapshot: Snapshot | None = None


class ArtifactWriter:
    """Listens to the events of one target and keeps the runbook's record of its rollbacks."""

    def __init__(self, guard: Guard, platform: Platform, journal: Journal, data: Path) -> None:
        self._guard = guard
        self._platform = platform
        self._journal = journal
        self._data = data
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(WAITING_MAX)

    def listen(self, event: ev.Event) -> None:
        """Take note of an event that calls for files. Never raises, never waits."""
        incident = self._guard.record.state.incident
        goal = incident.goal if incident else None
        if goal is None:
            return
        match event:
            case ev.GoalSet():
                self._put(_Job(goal, "pre", self._guard.watch.snapshot))
            case ev.GoalEnded() | ev.Verified():
                self._put(_Job(goal, "post"))

    async def write_forever(self) -> Never:
        """Write what was taken note of, until cancelled."""
        while True:
            await self.write(await self._jobs.get())

    async def drain(self) -> None:
        """Write what is waiting, then return."""
        while not self._jobs.empty():
            await self.write(self._jobs.get_nowait())

    async def write(self, job: _Job) -> None:
        """The files of one moment of a rollback."""
        policy, name = self._guard.policy, folder_name(job.goal.set_at)
        try:
            folder = ArtifactFolder(self._data, policy.artifacts)
            path = await asyncio.to_thread(folder.write, name, await self._files(job))
            await asyncio.to_thread(folder.prune, self._guard.record.state.newest_at)
            log.info("artifacts of rollback %s are in %s", job.goal.incident, path)
        except Exception as error:  # noqa: BLE001  (a full disk, or our own bug: the rollback goes on)
            log.error("no artifacts of rollback %s: %s", job.goal.incident, error)  # noqa: TRY400  (no stack for a full disk)

    async def _files(self, job: _Job) -> dict[str, str]:
        snapshot = job.snapshot or await self._look()
        files: dict[str, str] = {}
        if snapshot is not None:
            state = self._guard.record.state
            files[f"{job.when}-rollback-status.txt"] = status_text(self._guard.policy, snapshot, state)
            files[f"{job.when}-rollback-releases.json"] = releases_json(snapshot)
        if job.when == "post":
            recorded = await self._journal.replay()
            files["rollback-summary.txt"] = summary_text(self._guard.policy, job.goal, recorded)
        return files

    async def _look(self) -> Snapshot | None:
        """The platform as it is after the rollback; if it does not answer, as it was last seen."""
        try:
            async with asyncio.timeout(LOOK_S_MAX):
                return await self._platform.snapshot()
        except (GuardError, TimeoutError):
            return self._guard.watch.snapshot

    def _put(self, job: _Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except asyncio.QueueFull:
            log.error("no artifacts of rollback %s: too many are waiting", job.goal.incident)  # noqa: TRY400
