"""What only the journal's file can get wrong: locks, permissions, disks, schemas, readers beside the writer."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from rollguard.adapters.journal import migrations
from rollguard.adapters.journal.sqlite import SqliteJournal, read_journal
from rollguard.core.events import PauseSet
from rollguard.core.pages import Kind, Page
from rollguard.errors import JournalError


def paused(n: int, size: int = 1) -> PauseSet:
    return PauseSet(at=float(n), by="ada", reason="x" * size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal.db"


async def write(path: Path, *events: PauseSet, target: str = "shop") -> None:
    journal = SqliteJournal.open(path, target)
    await journal.append(events)
    await journal.close()


def edit(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


async def test_the_journal_is_for_the_guard_s_eyes_only(path: Path) -> None:
    old = os.umask(0)
    try:
        journal = SqliteJournal.open(path, "shop")
        await journal.append([paused(1)])
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
        await journal.close()
    finally:
        os.umask(old)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes == {f"journal.db{end}": "0o600" for end in ("", "-wal", "-shm", ".lock")}


async def test_every_commit_is_flushed_to_the_disk(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    assert await journal._writer.do(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    assert await journal._writer.do(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    await journal.close()


async def test_a_second_guard_is_refused_and_told_who_has_the_journal(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    with pytest.raises(JournalError, match=rf"another guard \(pid {os.getpid()}\) holds .*journal\.db"):
        SqliteJournal.open(path, "shop")
    await journal.append([paused(1)])
    await journal.close()
    await SqliteJournal.open(path, "shop").close()


async def test_a_killed_guard_leaves_its_lock_and_its_record_to_the_next(path: Path) -> None:
    program = textwrap.dedent(f"""
        import asyncio, pathlib
        from rollguard.adapters.journal.sqlite import SqliteJournal
        from rollguard.core.events import PauseSet
        async def main():
            journal = SqliteJournal.open(pathlib.Path({str(path)!r}), "shop")
            await journal.append([PauseSet(at=1.0, by="ada", reason="x")])
            print("written", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "daemon")}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environ) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == "written\n"
        with pytest.raises(JournalError, match=f"pid {guard.pid}"):
            SqliteJournal.open(path, "shop")
        assert [r.event for r in read_journal(path, "shop")] == [paused(1)]
        guard.send_signal(signal.SIGKILL)
    assert [r.event for r in read_journal(path, "shop")] == [paused(1)]
    await write(path, paused(2))
    assert [r.event for r in read_journal(path, "shop")] == [paused(1), paused(2)]


@pytest.mark.parametrize("torn_after", [0, 1, 24, 100, 4120, 4143])
async def test_a_power_cut_in_the_middle_of_a_write_loses_that_write_whole_and_nothing_else(
    path: Path, tmp_path: Path, torn_after: int
) -> None:
    journal = SqliteJournal.open(path, "shop")
    await journal.append([paused(1)], [("pager", a_page())])
    log = path.with_name("journal.db-wal")
    durable = log.stat().st_size
    await journal.append([paused(2, size=10_000)], [("pager", a_page())])
    after = tmp_path / "after" / "journal.db"
    after.parent.mkdir()
    shutil.copy(path, after)
    after.with_name("journal.db-wal").write_bytes(log.read_bytes()[: durable + torn_after])
    await journal.close()
    assert [r.event for r in read_journal(after, "shop")] == [paused(1)]
    survivor = SqliteJournal.open(after, "shop")
    assert [r.event for r in await survivor.replay()] == [paused(1)]
    assert await survivor.outbox_waiting() == 1
    await survivor.close()


async def test_targets_in_one_file_do_not_see_each_other(path: Path) -> None:
    shop = SqliteJournal.open(path, "shop")
    blog = shop.for_target("blog")
    await asyncio.gather(shop.append([paused(1)]), blog.append([paused(2)], [("pager", a_page())]))
    assert [r.event for r in await shop.replay()] == [paused(1)]
    assert [r.event for r in await blog.replay()] == [paused(2)]
    assert not await shop.outbox_due(0.0)
    assert len(await blog.outbox_due(0.0)) == 1
    await shop.close()
    assert [r.event for r in read_journal(path, "blog")] == [paused(2)]


def a_page() -> Page:
    return Page(key="k", target="shop", summary="s")


async def test_a_full_disk_is_said_nothing_half_is_kept_and_space_heals_it(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    await journal._writer.do(lambda db: db.execute("PRAGMA max_page_count = 12").fetchone())
    with pytest.raises(JournalError, match=r"journal\.db: the disk is full: free some space"):
        await journal.append([paused(1), paused(2, size=100_000)], [("pager", a_page())])
    assert not await journal.replay()
    assert await journal.outbox_waiting() == 0
    await journal._writer.do(lambda db: db.execute("PRAGMA max_page_count = 4294967294").fetchone())
    await journal.append([paused(3, size=100_000)])
    await journal.close()


async def test_a_disk_that_failed_once_is_not_trusted_again(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")

    def fail(db: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with pytest.raises(JournalError, match="the disk fails"):
        await journal._writer.do(fail)
    with pytest.raises(JournalError, match="the disk fails"):
        await journal.append([paused(1)])
    await journal.close()


async def test_a_bug_in_one_request_answers_all_that_wait_and_ends_writing(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    answers = await asyncio.gather(
        journal.append([paused(1)]), journal._writer.do(lambda db: 1 // 0), return_exceptions=True
    )
    assert all(isinstance(a, JournalError) for a in answers), answers
    with pytest.raises(JournalError, match="ZeroDivisionError"):
        await journal.append([paused(2)])
    await journal.close()
    assert not read_journal(path, "shop")


async def test_a_stuck_disk_refuses_once_too_much_waits(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.ensure_future(journal.append([paused(n)])) for n in range(2000)]
        refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        assert all("writes behind" in str(task.exception()) for task in refused)
        other.execute("COMMIT")
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert 1024 <= sum(not isinstance(a, BaseException) for a in answers) < 2000
    await journal.close()


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"this is no database, and long enough to be read as one" * 40, "is not a journal: give the guard another"),
        (None, "is damaged: move the file aside, keep it"),
    ],
)
async def test_a_damaged_file_is_refused_with_what_to_do(path: Path, content: bytes | None, sentence: str) -> None:
    await write(path, *(paused(n, size=2000) for n in range(20)))
    if content is None:
        whole = path.read_bytes()
        content = whole[:4096] + b"\x55" * 20_000 + whole[24_096:]
    path.write_bytes(content)
    with pytest.raises(JournalError, match=sentence):
        SqliteJournal.open(path, "shop")
    with pytest.raises(JournalError, match=r"journal\.db"):
        read_journal(path, "shop")
    path.unlink()
    await write(path, paused(1))


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(JournalError, match=r"cannot write the journal .*file/journal\.db: .*check --data"):
        SqliteJournal.open(tmp_path / "file" / "journal.db", "shop")


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await write(path, paused(1))
    edit(path, "INSERT INTO migration (version) VALUES (9999)")
    for look in (lambda: SqliteJournal.open(path, "shop"), lambda: read_journal(path, "shop")):
        with pytest.raises(JournalError, match=r"newer rollguard \(schema 9999, this one knows \d+\): upgrade"):
            look()


async def test_a_file_of_the_first_schema_is_taken_up_with_what_waits_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = migrations._scripts()
    with monkeypatch.context() as earlier:
        earlier.setattr(migrations, "_scripts", lambda: {1: whole[1]})
        await write(path, paused(1))
        edit(
            path,
            "INSERT INTO outbox (target, channel, key, page) VALUES ('shop', 'pager', 'k', "
            """'{"key": "k", "target": "shop", "summary": "down", "severity": "critical", "details": []}')""",
        )
    journal = SqliteJournal.open(path, "shop")
    assert [entry.event for entry in await journal.replay()] == [paused(1)]
    [item] = await journal.outbox_due(0.0)
    assert (item.page.summary, item.page.kind, item.thread) == ("down", Kind.ALERT, "")
    await journal.outbox_done(item.id, 1.0, "a thread")
    assert await journal.outbox_forget(2.0) == 1
    await journal.close()


@pytest.mark.parametrize("body", ['{"event":"FromTheFuture","at":1}', '{"event":"PauseSet"}', "[1]", "{"])
async def test_an_entry_that_cannot_be_understood_is_named_never_skipped(path: Path, body: str) -> None:
    await write(path, paused(1), paused(2))
    edit(path, f"UPDATE event SET body = '{body}' WHERE seq = 2")
    journal = SqliteJournal.open(path, "shop")
    with pytest.raises(JournalError, match="journal entry 2 cannot be read"):
        await journal.replay()
    await journal.close()
    with pytest.raises(JournalError, match="journal entry 2 cannot be read"):
        read_journal(path, "shop")


async def test_looking_works_beside_a_running_guard_and_after_it_and_changes_nothing(path: Path) -> None:
    journal = SqliteJournal.open(path, "shop")
    await journal.append([paused(1)])
    assert [r.event for r in read_journal(path, "shop")] == [paused(1)]
    await journal.append([paused(2)])
    assert [r.seq for r in read_journal(path, "shop")] == [1, 2]
    await journal.close()
    before = path.read_bytes()
    assert [r.seq for r in read_journal(path, "shop")] == [1, 2]
    assert path.read_bytes() == before
    assert read_journal(path, "other") == []


async def test_looking_works_where_the_reader_may_not_write(path: Path, tmp_path: Path) -> None:
    await write(path, paused(1))
    frozen = tmp_path / "frozen"
    frozen.mkdir()
    shutil.copy(path, frozen / "journal.db")
    frozen.chmod(0o500)
    try:
        assert [r.event for r in read_journal(frozen / "journal.db", "shop")] == [paused(1)]
    finally:
        frozen.chmod(0o700)


def test_looking_for_a_journal_that_is_not_there_says_so_and_makes_none(path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal at .*: has a guard run"):
        read_journal(path, "shop")
    assert not path.exists()
