"""The release row: so that a rollback is seen by everyone who lists releases."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rollguard.core.model import Release
from rollguard.core.plan import unclaimed_rows
from rollguard.engine.steps import Steps, Stopped
from rollguard.errors import Conflict, GuardError, Refused, Unavailable
from rollguard.ports import Platform

TRIES = 3


class ReleaseRow:
    """Create, run, close: each announced before and confirmed after."""

    def __init__(self, platform: Platform, steps: Steps) -> None:
        self._platform = platform
        self._steps = steps
        self._tried_running = False

    async def create(self) -> None:
        """After an answer that was lost the rows are read again before anything is posted a second time."""
        await self._steps.intend("release_create")
        try:
            row = await self._platform.create_release(self._steps.goal.target_ref)
        except Unavailable as error:
            await self._steps.failed("release_create", error)
            await asyncio.sleep(2.0)
            return
        except (Conflict, Refused) as error:
            await self._steps.failed("release_create", error)
            raise Stopped("failed", f"no release row could be made: {error}") from error
        await self._steps.done("release_create", result=row.id, version=row.version)

    @property
    def said_running(self) -> bool:
        """Whether the row is marked running, or that was tried in vain: the machines do not wait for it."""
        return self._steps.goal.row_running or self._tried_running

    async def run(self) -> None:
        """Mark it running, if it can be had."""
        self._tried_running = True
        await self._announced("release_running", "running", {}, TRIES)

    async def close(self, status: str, error: str, tries: int = TRIES) -> bool:
        """Best effort with bounded tries: an open row is untidy, but the machines are what counts.

        Rows that were made without the guard's being told are marked failed. Whether nothing was left open.
        """
        note, goal, closed = {"error": error} if error else {}, self._steps.goal, True
        if goal.row_id is not None:
            closed = await self._announced(f"release_{status}", status, note, tries)
        if not goal.row_intended:
            return closed
        try:
            releases = (await self._platform.snapshot()).releases
        except GuardError:
            return False
        for row in unclaimed_rows(goal, releases):
            closed &= await self._announced("release_failed", "failed", {"error": "made twice"} | note, tries, row)
        return closed

    async def _announced(
        self, kind: str, status: str, note: Mapping[str, str], tries: int, row: Release | None = None
    ) -> bool:
        row_id = row.id if row else self._steps.goal.row_id or ""
        await self._steps.intend(kind)
        try:
            await self._mark(row_id, status, note, tries)
        except GuardError as error:
            await self._steps.failed(kind, error)
            return False
        await self._steps.done(kind, result=row_id, version=row.version if row else None)
        return True

    async def _mark(self, row_id: str, status: str, note: Mapping[str, str], tries: int) -> None:
        goal = self._steps.goal
        story = {"incident": goal.incident, "because": goal.trigger, **note}
        for attempt in range(1, tries + 1):
            try:
                await self._platform.mark_release(row_id, status, story)
            except Unavailable:
                if attempt == tries:
                    raise
                await asyncio.sleep(2.0**attempt / 4)
            else:
                return
