"""Waiting for the world to change, with nothing but asyncio: works under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rollguard.localfly.world import World


class Pulse:
    """Wakes everybody who waits for a change of an app."""

    def __init__(self, world: World) -> None:
        self._beats: dict[str, asyncio.Event] = {}
        world.subscribe(self._beat)

    def _beat(self, app: str) -> None:
        if beat := self._beats.pop(app, None):
            beat.set()

    async def until(self, app: str, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `reached`, asked now and after every change of the app; False when `timeout_s` came first."""
        if reached():
            return True
        try:
            async with asyncio.timeout(timeout_s):
                while not reached():
                    await self._beats.setdefault(app, asyncio.Event()).wait()
        except TimeoutError:
            return reached()
        return True
