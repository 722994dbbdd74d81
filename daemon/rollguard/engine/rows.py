"""The release row: so that a rollback is seen by everyone who lists releases."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rollguard.engine.steps import Steps, Stopped
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Platform

TRIES = 3


class ReleaseRow:
    """Create, run, close: each announced before and confirmed after."""

    def __init__(self, platform: Platform, steps: Steps) -> None:
        self._platform = platform
        self._steps = steps

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

    async def run(self) -> None:
        """Mark it running. Raises ``Stopped``."""
        await self._steps.intend("release_running")
        await self._mark("running", {})
        await self._steps.done("release_running", result=self._steps.goal.row_id or "")

    async def close(self, status: str, error: str) -> None:
        """Best effort with bounded tries: an open row is untidy, but the machines are what counts."""
        if self._steps.goal.row_id is None:
            return
        kind = f"release_{status}"
        await self._steps.intend(kind)
        try:
            await self._mark(status, {"error": error} if error else {})
        except Stopped as stopped:
            await self._steps.failed(kind, stopped)
        else:
            await self._steps.done(kind, result=self._steps.goal.row_id)

    async def _mark(self, status: str, note: Mapping[str, str]) -> None:
        goal = self._steps.goal
        assert goal.row_id is not None
        story = {"incident": goal.incident, "because": goal.trigger, **note}
        last: Unavailable | None = None
        for attempt in range(TRIES):
            try:
                return await self._platform.mark_release(goal.row_id, status, story)
            except Unavailable as error:
                last = error
                await asyncio.sleep(2.0**attempt / 2)
            except (Conflict, Refused) as error:
                raise Stopped(
                    "failed", f"release row {goal.row_version} could not be marked {status}: {error}"
                ) from error
        raise Stopped("failed", f"release row {goal.row_version} could not be marked {status}: {last}")
