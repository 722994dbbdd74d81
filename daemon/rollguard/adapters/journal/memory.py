"""The journal in memory: for simulations, and to say plainly what a journal does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rollguard.adapters.journal.codec import error_text, event_text, page_text, read_events, read_page
from rollguard.core.events import Event, Recorded
from rollguard.core.pages import Page
from rollguard.errors import JournalError
from rollguard.ports import OutboxItem


@dataclass(slots=True)
class MemoryDisk:
    """What outlives a ``MemoryJournal``: hand it to the next one. Text as in the file, so that no fake can drift."""

    events: list[str] = field(default_factory=list)
    waiting: dict[int, OutboxItem] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    items: int = 0
    threads: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)  # the item that named it, its name
    ended: dict[int, float] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


class MemoryJournal:
    """``ports.Journal`` of one target on a ``MemoryDisk``.

    ``on_write`` is called before each change, for tests that fail it or die there; nothing is written if it raises.
    """

    def __init__(self, disk: MemoryDisk | None = None, on_write: Callable[[], None] = lambda: None) -> None:
        self.disk = MemoryDisk() if disk is None else disk
        self._on_write = on_write
        self._closed = False

    async def append(self, events: Sequence[Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[Recorded]:
        """See ``ports.Journal``."""
        texts = [event_text(event) for event in events]
        kept = [(channel, read_page(0, page_text(page))) for channel, page in pages]
        disk = self._write()
        first = len(disk.events) + 1
        disk.events += texts
        for channel, page in kept:
            disk.items += 1
            disk.waiting[disk.items] = OutboxItem(id=disk.items, channel=channel, page=page, attempts=0, due_at=0.0)
        return [Recorded(seq, event) for seq, event in enumerate(events, first)]

    async def replay(self) -> Sequence[Recorded]:
        """See ``ports.Journal``."""
        return read_events(list(enumerate(self._open().events, 1)))

    async def outbox_due(self, now: float, limit: int = 16) -> Sequence[OutboxItem]:
        """See ``ports.Journal``."""
        oldest: dict[tuple[str, str], OutboxItem] = {}
        for item in self._open().waiting.values():
            oldest.setdefault((item.channel, item.page.key), item)
        chosen: Counter[str] = Counter()
        due = []
        for item in sorted(oldest.values(), key=lambda item: item.id):
            if item.due_at <= now and chosen[item.channel] < limit:
                chosen[item.channel] += 1
                _, thread = self.disk.threads.get((item.channel, item.page.key), (0, ""))
                due.append(replace(item, thread=thread))
        return due

    async def outbox_waiting(self) -> int:
        """How many pages are not delivered yet, due or not."""
        return len(self._open().waiting)

    async def outbox_done(self, item: int, delivered_at: float, thread: str = "") -> None:
        """See ``ports.Journal``."""
        disk = self._write()
        if done := disk.waiting.pop(item, None):
            disk.ended[item] = delivered_at
            if thread:
                disk.threads[done.channel, done.page.key] = item, thread

    async def outbox_again(self, item: int, due_at: float, error: str) -> None:
        """See ``ports.Journal``."""
        waiting = self._write().waiting
        if old := waiting.get(item):
            waiting[item] = replace(old, attempts=old.attempts + 1, due_at=due_at)

    async def outbox_drop(self, item: int, at: float, error: str) -> None:
        """See ``ports.Journal``."""
        disk = self._write()
        if disk.waiting.pop(item, None):
            disk.dropped[item] = error_text(error)
            disk.ended[item] = at

    async def outbox_forget(self, before: float, limit: int = 1000) -> int:
        """See ``ports.Journal``."""
        disk = self._write()
        old = {item for item, at in disk.ended.items() if at < before}
        old = set(sorted(old, key=disk.ended.__getitem__)[:limit])
        disk.threads = {key: named for key, named in disk.threads.items() if named[0] not in old}
        for item in old:
            del disk.ended[item]
            disk.dropped.pop(item, None)
        return len(old)

    async def keep(self, name: str, text: str) -> None:
        """See ``ports.Journal``."""
        self._write().kept[name] = text

    async def kept(self, name: str) -> str | None:
        """See ``ports.Journal``."""
        return self._open().kept.get(name)

    async def close(self) -> None:
        """The disk stays for the next journal."""
        self._closed = True

    def _open(self) -> MemoryDisk:
        if self._closed:
            raise JournalError("the journal is closed")
        return self.disk

    def _write(self) -> MemoryDisk:
        disk = self._open()
        self._on_write()
        return disk
