"""Pages on their way to people: at least once, in order, until taken, refused, or too old to matter."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Never

from rollguard.core.events import Event, PageFailed, PageSent
from rollguard.engine.record import Record
from rollguard.errors import Refused, Unavailable
from rollguard.ports import Clock, Journal, Notifier, OutboxItem

SEND_S = 10.0
IDLE_S = 30.0
"""How long the loop sleeps when nothing is known to be due: a bound, not the way it learns of pages."""
DUE_MAX = 16
"""Looked at for each channel: more than may be in the air, so that what flies hides nothing that could start."""
IN_FLIGHT_MAX = 4
"""Sends at once to one channel: one that hangs must not hold the others."""
BACK_OFF_S_MIN = 2.0
BACK_OFF_S_MAX = 300.0
RETRY_AFTER_S_MAX = 3600.0
REST_S_MAX = 300.0
"""How long a whole channel rests because it asked for a wait; the page it said so to waits as long as was asked."""
ATTEMPTS_MAX = 120
AGE_S_MAX = 86400.0
KEPT_S = 30 * 86400.0
"""How long the outbox keeps what was delivered or dropped."""
TIDY_EVERY_S = 3600.0


class Outbox:
    """Delivers what the journal's outbox holds, to the notifiers of the policy in force."""

    def __init__(self, journal: Journal, notifiers: Mapping[str, Notifier], clock: Clock, record: Record) -> None:
        self._journal, self._clock, self._record = journal, clock, record
        self._notifiers = notifiers
        self._flying: dict[int, str] = {}
        self._retry_at: dict[int, float] = {}
        self._resting: dict[str, float] = {}
        self._tidy_at = 0.0

    def wake(self) -> None:
        """Look at the outbox now, as after every page that the record writes to it."""
        self._record.paged.set()

    def use(self, notifiers: Mapping[str, Notifier]) -> None:
        """Serve these channels from now on; pages waiting for a channel that is gone are dropped, and it is said."""
        self._notifiers = notifiers
        self.wake()

    async def deliver_forever(self) -> Never:
        """Deliver until cancelled; then what was in the air is delivered again in the next life.

        Raises ``JournalError``. Channels fail without raising: that is what the record is told.
        """
        try:
            async with asyncio.TaskGroup() as sends:
                while True:
                    self._record.paged.clear()
                    for item in await self._due():
                        self._flying[item.id] = item.channel
                        sends.create_task(self._deliver(item), name=f"page {item.id} to {item.channel}")
                    await self._tidy()
                    await self._sleep()
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _due(self) -> list[OutboxItem]:
        """What may start now, with no more than ``IN_FLIGHT_MAX`` in the air for each channel."""
        now = self._clock.now()
        self._retry_at = {item: at for item, at in self._retry_at.items() if at > now}
        self._resting = {channel: until for channel, until in self._resting.items() if until > now}
        flew = set(self._flying)  # what lands while the journal answers is no longer what it answers
        due = await self._journal.outbox_due(now, DUE_MAX)
        busy = Counter(self._flying.values())
        chosen = []
        for item in due:
            if item.id not in flew and item.channel not in self._resting and busy[item.channel] < IN_FLIGHT_MAX:
                busy[item.channel] += 1
                chosen.append(item)
        return chosen

    async def _sleep(self) -> None:
        now = self._clock.now()
        pause_s = min([IDLE_S, *(at - now for at in (*self._retry_at.values(), *self._resting.values()))])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, pause_s)):
                await self._record.paged.wait()

    async def _tidy(self) -> None:
        """Forget what ended long ago, now and then and a little at a time: the journal must not grow for ever."""
        now = self._clock.now()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY_S
            await self._journal.outbox_forget(now - KEPT_S)

    async def _deliver(self, item: OutboxItem) -> None:
        try:
            await self._record.add(*await self._attempt(item))
        finally:
            del self._flying[item.id]
            self.wake()  # the next page of this key, or of this channel, may go now

    async def _attempt(self, item: OutboxItem) -> list[Event]:
        """One try and its consequence in the outbox; the events that tell of it."""
        try:
            thread = await self._send(item)
        except Refused as refusal:
            return await self._give_up(item, str(refusal))
        except Unavailable as failure:
            return await self._try_later(item, failure)
        except Exception as bug:  # noqa: BLE001 -- a channel's bug must not keep the guard from acting
            return await self._try_later(item, Unavailable(f"the notifier failed: {bug!r}"))
        now = self._clock.now()
        await self._journal.outbox_done(item.id, now, thread)
        return [PageSent(at=now, key=item.page.key, channel=item.channel, attempts=item.attempts + 1)]

    async def _send(self, item: OutboxItem) -> str:
        notifier = self._notifiers.get(item.channel)
        if notifier is None:
            raise Refused(f"the policy has no channel {item.channel} any more")
        try:
            async with asyncio.timeout(SEND_S):
                return await notifier.send(item.page, item.thread)
        except TimeoutError:
            raise Unavailable(f"{item.channel} did not answer within {SEND_S:g} s") from None

    async def _try_later(self, item: OutboxItem, failure: Unavailable) -> list[Event]:
        now, attempts = self._clock.now(), item.attempts + 1
        too_old = item.page.at > 0 and now - item.page.at > AGE_S_MAX
        if attempts >= ATTEMPTS_MAX or too_old:
            return await self._give_up(item, f"gave up after {attempts} attempts: {failure}")
        due_at = now + back_off_s(item.id, attempts, failure.retry_after_s)
        await self._journal.outbox_again(item.id, due_at, str(failure))
        self._retry_at[item.id] = due_at
        if failure.retry_after_s:
            self._resting[item.channel] = now + min(failure.retry_after_s, REST_S_MAX)
        # A channel that is down all night must not fill the journal: the 1st, 2nd, 4th, 8th … failure is an event.
        if attempts & (attempts - 1):
            return []
        return [PageFailed(at=now, key=item.page.key, channel=item.channel, error=_short(failure), attempts=attempts)]

    async def _give_up(self, item: OutboxItem, error: str) -> list[Event]:
        now, attempts = self._clock.now(), item.attempts + 1
        await self._journal.outbox_drop(item.id, now, error)
        return [
            PageFailed(
                at=now, key=item.page.key, channel=item.channel, error=_short(error), attempts=attempts, final=True
            )
        ]


def back_off_s(item: int, attempts: int, retry_after_s: float | None = None) -> float:
    """How long to wait after this many failed attempts: doubling, spread by up to half, never less than asked for.

    The spread is a hash, not chance: the same history gives the same times.
    """
    longest = min(2.0 * BACK_OFF_S_MIN * 2.0 ** min(attempts - 1, 20), BACK_OFF_S_MAX)
    spread = zlib.crc32(f"{item}/{attempts}".encode()) / 2**32
    return max(longest * (1.0 - spread / 2.0), min(retry_after_s or 0.0, RETRY_AFTER_S_MAX))


def _short(error: object) -> str:
    return str(error)[:500]
