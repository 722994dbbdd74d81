"""The files of each incident, written beside it: a disk that will not take them never stops a rollback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from rollguard import __version__
from rollguard.adapters.artifacts import ArtifactFolder
from rollguard.app.bundle import Bundler, new_salt, pack
from rollguard.core import events as ev
from rollguard.core.incident_json import incident_json, incident_object
from rollguard.core.incident_record import (
    BUNDLE,
    INCIDENT,
    OUTPUT,
    POST_MORTEM,
    SUMMARY,
    Chronicle,
    chronicle,
    folder_name,
)
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Snapshot
from rollguard.core.order import Begun
from rollguard.core.postmortem import draft_of
from rollguard.core.report import releases_json, status_text, summary_text
from rollguard.engine.guard import Guard
from rollguard.errors import GuardError
from rollguard.ports import Journal, Platform

LOOK_S_MAX = 15.0
WAITING_MAX = 64
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is to be written of an incident: its ``goal``'s state before (``pre``) or after (``post``), or just itself.

    ``snapshot`` is what was known before the first write. ``bundle``: it is handed over to people.
    """

    incident: str
    when: str = ""
    goal: Goal | None = None
    snapshot: Snapshot | None = None
    bundle: bool = False


class ArtifactWriter:
    """Listens to the events of one target and keeps the runbook's record of its incidents."""

    def __init__(self, guard: Guard, platform: Platform, journal: Journal, data: Path, bundler: Bundler) -> None:
        self._guard = guard
        self._platform = platform
        self._journal = journal
        self._data = data
        self._bundler = bundler
        self._before: tuple[str, Snapshot | None] = ("", None)
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue(WAITING_MAX)

    def listen(self, event: ev.Event) -> None:
        """Take note of an event that calls for files. Never raises, never waits."""
        incident = self._guard.record.state.incident
        goal = incident.goal if incident else None
        match event:
            case ev.Decided(decision="page") | ev.IncidentClosed():
                self._put(_Job(incident=event.incident))
            case ev.GoalSet():
                self._put(_Job(incident=event.incident, when="pre", goal=goal, snapshot=self._guard.watch.snapshot))
            case ev.GoalEnded():
                handed_over = event.outcome != "restored"
                self._put(_Job(incident=event.incident, when="post", goal=goal, bundle=handed_over))
            case ev.Verified():
                handed_over = event.result == "not better"
                self._put(_Job(incident=event.incident, when="post", goal=goal, bundle=handed_over))

    async def write_forever(self) -> Never:
        """Write what was taken note of, until cancelled."""
        while True:
            await self.write(await self._jobs.get())

    async def drain(self) -> None:
        """Write what is waiting, then return."""
        while not self._jobs.empty():
            await self.write(self._jobs.get_nowait())

    async def write(self, job: _Job) -> None:
        """The files of one moment of an incident; none of one that nobody was told of."""
        try:
            told_of, recorded = await self._told_of(job.incident)
            opened = told_of.opened
            if opened is None or not (told_of.paged or told_of.goal):
                return
            policy = self._guard.policy
            name, folder = folder_name(opened.at, policy.target.name), ArtifactFolder(self._data, policy.artifacts)
            snapshot = job.snapshot or (await self._look() if job.when == "post" else self._guard.watch.snapshot)
            files = await asyncio.to_thread(self._files, job, told_of, recorded, snapshot)
            if job.when == "post" and job.goal is not None and (printed := await self._printed(job.goal)):
                files[OUTPUT] = printed
            path = await asyncio.to_thread(folder.write, name, files)
            await asyncio.to_thread(folder.prune, self._guard.record.state.newest_at)
            log.info("artifacts of incident %s are in %s", job.incident, path)
            if job.bundle:
                inside = await self._bundler.files(told_of, snapshot, self._seen_before(job.incident))
                archive = await asyncio.to_thread(pack, told_of, inside, opened.at)
                await asyncio.to_thread(folder.write, name, {BUNDLE: archive})
        except Exception as error:  # noqa: BLE001  (a full disk, or our own bug: the rollback goes on)
            log.error("no artifacts of incident %s: %s", job.incident, error)  # noqa: TRY400  (no stack for a full disk)

    async def _told_of(self, incident: str) -> tuple[Chronicle, Sequence[ev.Recorded]]:
        """From what is at hand; from the disk where the incident's beginning is not among it any more."""
        target, recent = self._guard.policy.target.name, tuple(self._guard.record.recent)
        told_of = chronicle(recent, target, incident)
        if told_of.opened is not None:
            return told_of, recent
        recorded = await self._journal.replay()
        return chronicle(recorded, target, incident), recorded

    def _files(
        self, job: _Job, told_of: Chronicle, recorded: Sequence[ev.Recorded], snapshot: Snapshot | None
    ) -> dict[str, str | bytes]:
        policy, files = self._guard.policy, dict[str, str | bytes]()
        if job.when == "pre":
            self._before = (job.incident, snapshot)
        if job.when and snapshot is not None:
            files[f"{job.when}-rollback-status.txt"] = status_text(policy, snapshot, self._guard.record.state)
            files[f"{job.when}-rollback-releases.json"] = releases_json(snapshot)
        after = None if job.when == "pre" else snapshot
        document = incident_object(
            policy,
            told_of,
            new_salt(),
            version=__version__,
            before=self._seen_before(job.incident),
            after=after,
        )
        files[INCIDENT] = incident_json(document)
        if told_of.due_at is not None:
            files[POST_MORTEM] = draft_of(policy, told_of, version=__version__)
        if job.when == "post" and job.goal is not None:
            files[SUMMARY] = summary_text(policy, job.goal, recorded)
        return files

    async def _printed(self, goal: Goal) -> str:
        """All that another executor printed on this machine."""
        delegate = self._guard.respond.delegate
        return await delegate.printed(Begun(goal.delegate)) if delegate and goal.delegate else ""

    def _seen_before(self, incident: str) -> Snapshot | None:
        """The platform before the first write, where this life of the guard saw it."""
        return self._before[1] if self._before[0] == incident else None

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
            log.error("no artifacts of incident %s: too many are waiting", job.incident)  # noqa: TRY400
