"""What every journal must do: one suite over the file and the memory, so that neither can drift."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import pytest

from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.core.events import DigestSeen, Event, PauseSet, RuleChanged
from rollguard.core.pages import Page, Severity
from rollguard.errors import JournalError
from rollguard.ports import Journal

AnyJournal = SqliteJournal | MemoryJournal  # both have outbox_waiting() beside the port


class FileStore:
    """A SQLite journal and what a crash leaves of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data" / "journal.db"
        self.lives = 0

    def open(self) -> SqliteJournal:
        return SqliteJournal.open(self.path, "shop")

    def crash(self) -> FileStore:
        """The disk as it is at this instant, under a new machine."""
        self.lives += 1
        copy = FileStore(self.path.parent.parent / f"life-{self.lives}")
        copy.path.parent.mkdir(parents=True)
        for file in self.path.parent.glob("journal.db*"):
            if not file.name.endswith((".lock", "-shm")):
                shutil.copy(file, copy.path.parent)
        return copy


class MemoryStore:
    """The same in memory."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def open(self) -> MemoryJournal:
        return MemoryJournal(self.disk)

    def crash(self) -> MemoryStore:
        copy = MemoryStore()
        copy.disk = deepcopy(self.disk)
        return copy


Store = FileStore | MemoryStore


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return FileStore(tmp_path) if request.param == "sqlite" else MemoryStore()


@pytest.fixture
async def journal(store: Store) -> AsyncIterator[AnyJournal]:
    opened = store.open()
    yield opened
    await opened.close()


def paused(n: int) -> Event:
    return PauseSet(at=float(n), by="ada", reason=f"reason {n}")


def page(key: str, summary: str = "s") -> Page:
    return Page(
        key=key,
        target="shop",
        summary=summary,
        severity=Severity.ERROR,
        at=5.0,
        details=(("rule", "5xx"), ("rule", "again")),
        link="https://example.test/x",
        about="held by cooldown",
    )


async def due(journal: Journal, now: float = 0.0) -> list[tuple[int, str, str, int]]:
    return [(i.id, i.channel, i.page.summary, i.attempts) for i in await journal.outbox_due(now)]


async def test_events_come_back_as_they_went_in_and_in_order(journal: AnyJournal) -> None:
    events = [
        paused(3),
        DigestSeen(
            at=1.5, digest="sha256:a", image_ref="r", version=None, labels={"k": "ü\ud800\0"}, born_into=("x", "y")
        ),
        RuleChanged(at=2.0, rule="r", before="clear", after="firing", sentence="7 % > 5 %", value=0.07, limit=0.05),
        paused(1),
    ]
    written = [*await journal.append(events[:2]), *await journal.append(events[2:])]
    assert [r.event for r in written] == events
    assert [r.seq for r in written] == [1, 2, 3, 4]
    assert list(await journal.replay()) == written


async def test_writes_that_wait_together_keep_the_order_in_which_they_were_asked(journal: AnyJournal) -> None:
    answers = await asyncio.gather(*(journal.append([paused(n), paused(n)]) for n in range(300)))
    replayed = await journal.replay()
    assert [r.event.at for r in replayed] == [float(n) for n in range(300) for _ in "ab"]
    assert [r.seq for r in replayed] == list(range(1, 601))
    assert [r for answer in answers for r in answer] == list(replayed)


async def test_a_journal_opened_again_goes_on_where_it_was(store: Store) -> None:
    first = store.open()
    await first.append([paused(1)], [("pager", page("k"))])
    await first.close()
    await first.close()
    second = store.open()
    assert [r.seq for r in await second.append([paused(2)])] == [2]
    assert [r.event for r in await second.replay()] == [paused(1), paused(2)]
    assert await due(second) == [(1, "pager", "s", 0)]
    await second.close()


async def test_what_append_returned_from_survives_a_crash(store: Store) -> None:
    first = store.open()
    await first.append([paused(1)], [("pager", page("k"))])
    await first.append([paused(2)])
    after = store.crash().open()
    await first.append([paused(3)])
    assert [r.event for r in await after.replay()] == [paused(1), paused(2)]
    assert await due(after) == [(1, "pager", "s", 0)]
    await first.close()
    await after.close()


async def test_a_closed_journal_refuses(store: Store) -> None:
    journal = store.open()
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.append([paused(1)])
    with pytest.raises(JournalError, match="closed"):
        await journal.replay()


async def test_an_event_that_could_not_be_read_back_is_refused_and_nothing_of_its_append_is_written(
    journal: AnyJournal,
) -> None:
    with pytest.raises(JournalError, match="PauseSet cannot be written"):
        await journal.append([paused(1), PauseSet(at=2.0, by="ada", reason=object())], [("pager", page("k"))])  # type: ignore[arg-type]
    with pytest.raises(JournalError, match="too large"):
        await journal.append([PauseSet(at=2.0, by="ada", reason="x" * (1 << 20))])
    assert not await journal.replay()
    assert not await due(journal)


async def test_a_page_is_handed_out_until_it_is_done(journal: AnyJournal) -> None:
    await journal.append([paused(1)], [("pager", page("k"))])
    [item] = await journal.outbox_due(0.0)
    assert item.page == page("k")
    assert await due(journal) == [(1, "pager", "s", 0)]
    await journal.outbox_done(item.id, 1.0)
    assert not await due(journal, 1e12)
    assert await journal.outbox_waiting() == 0


async def test_a_failed_page_comes_back_when_it_is_due_and_not_before(journal: AnyJournal) -> None:
    await journal.append([], [("pager", page("k"))])
    await journal.outbox_again(1, 60.0, "503 " + "x" * 9999 + "\ud800")
    assert not await due(journal, 59.9)
    assert await due(journal, 60.0) == [(1, "pager", "s", 1)]
    assert await journal.outbox_waiting() == 1


async def test_a_refused_page_is_never_handed_out_again(journal: AnyJournal) -> None:
    await journal.append([], [("pager", page("k"))])
    await journal.outbox_drop(1, 3.0, "400 bad key")
    await journal.outbox_again(1, 4.0, "late answer of an old attempt")
    assert not await due(journal, 1e12)


async def test_per_channel_and_key_only_the_oldest_page_is_handed_out_even_while_it_waits(journal: AnyJournal) -> None:
    await journal.append(
        [],
        [
            ("pager", page("k", "one")),
            ("hook", page("k", "one")),
            ("pager", page("k", "two")),
            ("pager", page("other", "x")),
        ],
    )
    assert await due(journal) == [(1, "pager", "one", 0), (2, "hook", "one", 0), (4, "pager", "x", 0)]
    await journal.outbox_again(1, 60.0, "503")
    assert await due(journal, 30.0) == [(2, "hook", "one", 0), (4, "pager", "x", 0)]
    await journal.outbox_done(1, 61.0)
    assert await due(journal, 30.0) == [(2, "hook", "one", 0), (3, "pager", "two", 0), (4, "pager", "x", 0)]


async def test_no_more_items_are_handed_out_than_asked_for_oldest_first(journal: AnyJournal) -> None:
    await journal.append([], [("pager", page(f"k{n}")) for n in range(20)])
    assert [i.id for i in await journal.outbox_due(0.0)] == list(range(1, 17))
    assert [i.id for i in await journal.outbox_due(0.0, limit=3)] == [1, 2, 3]


async def test_a_long_line_of_one_channel_hides_nothing_of_another(journal: AnyJournal) -> None:
    await journal.append([], [("pager", page(f"k{n}")) for n in range(500)])
    await journal.append([], [("hook", page("k0")), ("hook", page("k1"))])
    assert [i.id for i in await journal.outbox_due(0.0, limit=3)] == [1, 2, 3, 501, 502]


async def test_the_next_page_of_a_key_knows_the_thread_that_its_channel_named(store: Store) -> None:
    journal = store.open()
    await journal.append(
        [], [(channel, page("k", n)) for n in ("one", "two", "three") for channel in ("chat", "pager")]
    )
    await journal.append([], [("chat", page("other"))])
    for item in await journal.outbox_due(0.0):
        assert item.thread == ""
        await journal.outbox_done(item.id, 1.0, "C1:17.5" if item.channel == "chat" and item.page.key == "k" else "")
    after = store.crash().open()
    for life in (journal, after):
        assert [(i.channel, i.thread) for i in await life.outbox_due(0.0)] == [("chat", "C1:17.5"), ("pager", "")]
    [chat, _] = await after.outbox_due(0.0)
    await after.outbox_done(chat.id, 2.0, "C1:99")
    assert [i.thread for i in await after.outbox_due(0.0) if i.channel == "chat"] == ["C1:99"]
    await journal.close()
    await after.close()


async def test_what_ended_long_ago_is_forgotten_and_what_waits_never(journal: AnyJournal) -> None:
    await journal.append([], [("chat", page(f"k{n}")) for n in range(4)])
    await journal.outbox_done(1, 10.0, "thread")
    await journal.outbox_drop(2, 20.0, "refused")
    await journal.outbox_done(3, 30.0, "kept")
    assert await journal.outbox_forget(10.0) == 0
    assert await journal.outbox_forget(1e12, limit=1) == 1
    assert await journal.outbox_forget(30.0) == 1
    await journal.append([], [("chat", page("k0")), ("chat", page("k2"))])
    assert [(i.id, i.thread) for i in await journal.outbox_due(1e12)] == [(4, ""), (5, ""), (6, "kept")]
    assert await journal.outbox_forget(1e12) == 1
    assert await journal.outbox_waiting() == 3


async def test_what_is_kept_is_the_newest_text_of_each_name_in_every_life(store: Store) -> None:
    journal = store.open()
    assert await journal.kept("baseline") is None
    for text in ("first", "ü {}"):
        await journal.keep("baseline", text)
    await journal.keep("other", "x")
    after = store.crash().open()
    assert [await after.kept(name) for name in ("baseline", "other", "third")] == ["ü {}", "x", None]
    await journal.close()
    await after.close()


async def test_a_caller_that_gave_up_does_not_stop_the_others(journal: AnyJournal) -> None:
    task = asyncio.ensure_future(journal.append([paused(1)]))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await journal.append([paused(2)])
    assert paused(2) in [r.event for r in await journal.replay()]
