"""When a process dies by itself: its behaviour says so, and may change its mind while the process lives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rollguard.localfly.hotdash import dies_after
from rollguard.localfly.images import Behaviour


class Lifespan:
    """One life, begun now. `die` is called with an exit code, at most once, when its time has come."""

    def __init__(self, die: Callable[[int], None]) -> None:
        self._die = die
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._death: asyncio.TimerHandle | None = None

    def follow(self, behaviour: Behaviour) -> None:
        """Die when this behaviour says, counted from the beginning: at once where that is over."""
        self.spare()
        if (end := dies_after(behaviour)) is not None:
            self._death = self._loop.call_at(self._began + end[0], self._die, end[1])

    def spare(self) -> None:
        """Die of nothing."""
        if self._death is not None:
            self._death.cancel()
