"""The pace of one signal: its own, and once a second for a while when somebody has failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Never

from rollguard.core.confirm import AGAIN_S, Doubts
from rollguard.ports import Clock, Vitals

Ask = Callable[[bool], Awaitable[frozenset[str]]]
"""One round, usual or repeated: who failed in it."""


class Polling:
    """Asks for ever. The usual rounds keep their own time; repeated ones are made beside them, one at a time.

    So at most two rounds are out at once, however long an app hangs. ``repeats``: whether failures are followed up now;
    ``on_doubt`` is called when that begins.
    """

    def __init__(
        self,
        every_s: float,
        ask: Ask,
        clock: Clock,
        vitals: Vitals,
        repeats: Callable[[], bool] = lambda: False,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self._every_s = every_s
        self._ask = ask
        self._clock = clock
        self._vitals = vitals
        self._repeats = repeats
        self._on_doubt = on_doubt
        self._doubts = Doubts()
        self._wanted = asyncio.Event()
        self._began_at = clock.now()  # the newest round, of either kind
        self._next_at: float | None = None  # the next usual round; None while one is out

    @property
    def doubting(self) -> bool:
        """Whether it is asked every second now."""
        return self._wanted.is_set()

    async def forever(self) -> Never:
        """A usual round that is late is skipped, never queued. Ends by what a round raises."""
        repeated = asyncio.create_task(self._repeat())
        due = self._clock.now()
        try:
            while True:
                await self._usual()
                if repeated.done():
                    repeated.result()
                due += self._every_s
                now = self._clock.now()
                due = min(due, now + self._every_s)  # the clock was put back
                if due < now:
                    missed = int((now - due) // self._every_s) + 1
                    self._vitals.late_ticks += missed
                    due += missed * self._every_s
                self._next_at = due
                await asyncio.sleep(due - now)
        finally:
            repeated.cancel()
            await asyncio.gather(repeated, return_exceptions=True)

    async def _usual(self) -> None:
        self._next_at, self._began_at = None, self._clock.now()
        self._note(await self._ask(False))

    async def _repeat(self) -> Never:
        while True:
            await self._wanted.wait()
            pause_s = self._pause_s()
            if pause_s > 0.0:
                await asyncio.sleep(min(pause_s, AGAIN_S))
                continue  # it may not be wanted any more
            self._began_at = self._clock.now()
            self._note(await self._ask(True))

    def _pause_s(self) -> float:
        """Until a second after the newest round, never less: a clock that was put forward leaves the next usual round
        in the past, and no app may be asked without a pause until that is made. A usual one that is about to begin
        takes this one's place.
        """
        now = self._clock.now()
        at = max(now, min(self._began_at, now) + AGAIN_S)
        if self._next_at is not None and self._next_at < at + AGAIN_S / 2:
            at = max(at, self._next_at + AGAIN_S)
        return at - now

    def _note(self, failed: frozenset[str]) -> None:
        if self._doubts.took(failed, self._clock.now()) and self._repeats():
            if not self._wanted.is_set():
                self._on_doubt()
            self._wanted.set()
        else:
            self._wanted.clear()
