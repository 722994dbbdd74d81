"""The journal in a SQLite file: what ``append`` returned from survives a power cut."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rollguard.adapters.journal.codec import error_text, event_text, page_text, read_events, read_page
from rollguard.adapters.journal.faults import DAMAGED, told
from rollguard.adapters.journal.lock import GuardLock
from rollguard.adapters.journal.migrations import migrate, schema_version
from rollguard.adapters.journal.writer import Writer
from rollguard.core.events import Event, Recorded
from rollguard.core.pages import Page
from rollguard.errors import JournalError
from rollguard.ports import OutboxItem

BUSY_S = 5.0
KEPT_CHARS_MAX = 4 << 20

_ALL = "SELECT seq, body FROM event WHERE target = ? ORDER BY seq"
_LINES = "SELECT DISTINCT channel FROM outbox WHERE target = ? AND state = 'waiting'"
_DUE = """
SELECT id, channel, page, attempts, due_at, coalesce(
         (SELECT thread FROM outbox
          WHERE target = o.target AND channel = o.channel AND key = o.key AND thread <> ''
          ORDER BY id DESC LIMIT 1), '')
FROM outbox AS o INDEXED BY outbox_line
WHERE target = ? AND channel = ? AND state = 'waiting' AND due_at <= ?
  AND NOT EXISTS (SELECT 1 FROM outbox
                  WHERE target = o.target AND channel = o.channel AND key = o.key AND state = 'waiting' AND id < o.id)
ORDER BY id LIMIT ?
"""
_WAITING = "SELECT count(*) FROM outbox WHERE target = ? AND state = 'waiting'"
_ADD_EVENT = "INSERT INTO event (target, at, name, body) VALUES (?, ?, ?, ?)"
_ADD_PAGE = "INSERT INTO outbox (target, channel, key, page) VALUES (?, ?, ?, ?)"
_TRIED = "UPDATE outbox SET attempts = attempts + 1, {} WHERE id = ? AND state = 'waiting'"
_DONE = _TRIED.format("state = 'delivered', ended_at = ?, error = '', thread = ?")
_AGAIN = _TRIED.format("due_at = ?, error = ?")
_DROP = _TRIED.format("state = 'dropped', ended_at = ?, error = ?")
_FORGET = """
DELETE FROM outbox WHERE id IN
  (SELECT id FROM outbox WHERE target = ? AND ended_at < ? AND state <> 'waiting' LIMIT ?)
"""
_KEEP = "INSERT INTO kept (target, name, text) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text"
_HAS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
_ALL_KEPT = "SELECT name, text FROM kept WHERE target = ?"
_KEPT = "SELECT text FROM kept WHERE target = ? AND name = ?"


class SqliteJournal:
    """``ports.Journal`` of one target. Several targets may share a file, a writer and its disk flushes."""

    def __init__(self, writer: Writer, target: str) -> None:
        self._writer, self._target = writer, target

    @classmethod
    def open(cls, path: Path, target: str) -> SqliteJournal:
        """Open or create the file (0600, in a folder 0700 if it is new) and take the guard's lock on it.

        Raises ``JournalError`` when another guard holds it, a newer guard wrote it, or it cannot be used.
        """
        _make_file(path)
        lock = GuardLock.take(path)
        try:
            return cls(Writer(path, _connect(path), lock), target)
        except JournalError:
            lock.release()
            raise

    def for_target(self, target: str) -> SqliteJournal:
        """The journal of another target in the same file. Closing either closes both."""
        return SqliteJournal(self._writer, target)

    async def append(self, events: Sequence[Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[Recorded]:
        """See ``ports.Journal``. Also raises ``JournalError`` for what is not JSON or too large."""
        event_rows = [(self._target, e.at, type(e).__name__, event_text(e)) for e in events]
        page_rows = [(self._target, channel, page.key, page_text(page)) for channel, page in pages]

        def write(db: sqlite3.Connection) -> list[int | None]:
            seqs = [db.execute(_ADD_EVENT, row).lastrowid for row in event_rows]
            db.executemany(_ADD_PAGE, page_rows)
            return seqs

        seqs = await self._writer.do(write)
        return [Recorded(seq or 0, event) for seq, event in zip(seqs, events, strict=True)]

    async def replay(self) -> Sequence[Recorded]:
        """See ``ports.Journal``."""
        rows = await self._writer.do(lambda db: db.execute(_ALL, (self._target,)).fetchall())
        return read_events(rows)

    async def outbox_due(self, now: float, limit: int = 16) -> Sequence[OutboxItem]:
        """See ``ports.Journal``."""

        def read(db: sqlite3.Connection) -> list[tuple[int, str, str, int, float, str]]:
            lines = db.execute(_LINES, (self._target,)).fetchall()
            due = (db.execute(_DUE, (self._target, channel, now, limit)) for (channel,) in lines)
            return sorted(row for rows in due for row in rows)

        return [
            OutboxItem(
                id=item,
                channel=channel,
                page=read_page(item, page),
                attempts=attempts,
                due_at=due_at,
                thread=thread,
            )
            for item, channel, page, attempts, due_at, thread in await self._writer.do(read)
        ]

    async def outbox_waiting(self) -> int:
        """How many pages are not delivered yet, due or not."""
        return int(await self._writer.do(lambda db: db.execute(_WAITING, (self._target,)).fetchone()[0]))

    async def outbox_done(self, item: int, delivered_at: float, thread: str = "") -> None:
        """See ``ports.Journal``."""
        await self._writer.do(lambda db: db.execute(_DONE, (delivered_at, thread, item)))

    async def outbox_again(self, item: int, due_at: float, error: str) -> None:
        """See ``ports.Journal``."""
        await self._writer.do(lambda db: db.execute(_AGAIN, (due_at, error_text(error), item)))

    async def outbox_drop(self, item: int, at: float, error: str) -> None:
        """See ``ports.Journal``."""
        await self._writer.do(lambda db: db.execute(_DROP, (at, error_text(error), item)))

    async def outbox_forget(self, before: float, limit: int = 1000) -> int:
        """See ``ports.Journal``."""
        return await self._writer.do(lambda db: db.execute(_FORGET, (self._target, before, limit)).rowcount)

    async def keep(self, name: str, text: str) -> None:
        """See ``ports.Journal``. Also raises ``JournalError`` for a text beyond ``KEPT_CHARS_MAX``."""
        if len(text) > KEPT_CHARS_MAX:
            raise JournalError(f"{name} has {len(text)} characters: at most {KEPT_CHARS_MAX} are kept")
        await self._writer.do(lambda db: db.execute(_KEEP, (self._target, name, text)))

    async def kept(self, name: str) -> str | None:
        """See ``ports.Journal``."""
        row = await self._writer.do(lambda db: db.execute(_KEPT, (self._target, name)).fetchone())
        return str(row[0]) if row else None

    async def close(self) -> None:
        """Write what was asked for, then let go of the file."""
        await self._writer.close()


def read_journal(path: Path, target: str) -> list[Recorded]:
    """Every event of ``target`` so far, whether a guard runs on the file or not; changes nothing.

    Raises ``JournalError`` when there is no journal or it cannot be read.
    """
    return read_events(_rows(path, "event", _ALL, target))


def read_kept(path: Path, target: str) -> dict[str, str]:
    """What was learnt of ``target``, by name; otherwise as ``read_journal``."""
    return dict(_rows(path, "kept", _ALL_KEPT, target))


def _rows(path: Path, table: str, query: str, target: str) -> list[tuple[Any, str]]:
    """What the query finds; nothing in a file of an older schema that does not have the table."""
    if not path.is_file():
        raise JournalError(f"no journal at {path}: has a guard run with this --data?")
    try:
        with closing(_connect_to_read(path)) as db:
            known = schema_version(db) and db.execute(_HAS, (table,)).fetchone()
            return db.execute(query, (target,)).fetchall() if known else []
    except sqlite3.Error as error:
        raise JournalError(told(path, error)) from error


def _connect_to_read(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        db.close()
        if path.with_name(path.name + "-wal").exists():
            raise
        # Nobody is writing, and the folder is not ours to hold even the index that readers share.
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    return db


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalError(
            f"cannot write the journal {path}: {error.strerror}: check --data, its owner and its space"
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for the writer: durable at every commit, checked, and of our schema."""
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        raise JournalError(told(path, error)) from error
    except JournalError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise JournalError(f"journal {path}: its disk cannot do write-ahead logging: use a local disk or a volume")
    db.execute("PRAGMA synchronous = FULL")
    complaint = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise JournalError(f"journal {path}: {DAMAGED} ({complaint})")
    migrate(db)
