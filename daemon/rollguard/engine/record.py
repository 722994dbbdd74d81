"""The record of one target: journal first, then state, then whoever listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from rollguard.core import lifecycle
from rollguard.core.events import Event, PageQueued, Recorded
from rollguard.core.lifecycle import TargetState
from rollguard.core.pages import Kind, Page
from rollguard.errors import JournalError
from rollguard.ports import Journal, Vitals

RECENT_MAX = 4000
"""Entries that are at hand without the disk: a whole incident of some hundred machines."""

Listener = Callable[[Recorded], None]


class Record:
    """What happened to a target and what follows from it. ``state`` is always the replay of the journal."""

    def __init__(
        self,
        journal: Journal,
        channels: Mapping[str, frozenset[Kind]],
        vitals: Vitals,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._journal = journal
        self._channels = dict(channels)
        self._vitals = vitals
        self._listeners = tuple(listeners)
        self._order = asyncio.Lock()
        self.state = TargetState()
        self.recent: deque[Recorded] = deque(maxlen=RECENT_MAX)
        self.paged = asyncio.Event()

    async def open(self) -> Sequence[Recorded]:
        """Take up what earlier lives wrote, and return it. Raises ``JournalError``."""
        recorded = await self._journal.replay()
        self.state = lifecycle.replay(recorded)
        self.recent = deque(recorded, RECENT_MAX)
        return recorded

    def use(self, channels: Mapping[str, frozenset[Kind]]) -> None:
        """Write pages for these channels from now on, each those that it has a form for."""
        self._channels = dict(channels)

    async def keep(self, name: str, text: str) -> None:
        """Remember what was learnt; see ``ports.Journal``. Raises ``JournalError``."""
        await self._journal.keep(name, text)

    async def kept(self, name: str) -> str | None:
        """What was remembered. Raises ``JournalError``."""
        return await self._journal.kept(name)

    async def record(self, events: Sequence[Event], pages: Sequence[Page] = ()) -> None:
        """``add``, as ``ports.Recorder`` has it."""
        await self.add(*events, pages=pages)

    async def add(self, *events: Event, pages: Sequence[Page] = ()) -> None:
        """Write events, and pages to the outbox, in one transaction. Durable when it returns.

        Raises ``JournalError``; then nothing was written and nothing may be done.
        """
        if not events and not pages:
            return
        queued = [
            PageQueued(
                at=p.at,
                key=p.key,
                summary=p.summary,
                severity=p.severity,
                resolve=p.resolve,
                about=p.about,
                kind=p.kind,
            )
            for p in pages
        ]
        outgoing = [
            (channel, page) for page in pages for channel, kinds in self._channels.items() if page.kind in kinds
        ]
        async with self._order:
            try:
                recorded = await self._journal.append([*events, *queued], outgoing)
            except JournalError as error:
                self._vitals.journal_error = str(error)
                raise
            self._vitals.journal_error = None
            for entry in recorded:
                self.state = lifecycle.apply(self.state, entry)
                self.recent.append(entry)
                for listen in self._listeners:
                    listen(entry)
        if outgoing:
            self.paged.set()
