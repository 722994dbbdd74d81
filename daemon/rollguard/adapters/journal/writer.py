"""One thread that owns the database: requests that wait together share one transaction, and so one disk flush."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rollguard.adapters.journal.faults import is_lasting, told
from rollguard.adapters.journal.lock import GuardLock
from rollguard.errors import JournalError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

QUEUE_MAX = 1024
BATCH_MAX = 256


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None


class Writer:
    """Runs work on the database in the order it was given. Owns the connection and the guard's lock."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: GuardLock) -> None:
        self._path, self._db, self._lock = path, db, lock
        self._queue: queue.Queue[_Job | None] = queue.Queue(QUEUE_MAX)
        self._broken: str | None = None
        self._closed = False
        # A daemon thread: a guard that dies must not be kept half alive by its journal.
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)
        self._thread.start()

    async def do(self, work: Work[T]) -> T:
        """Run ``work`` inside a transaction; what it wrote is on the disk when this returns.

        Raises ``JournalError``; then nothing of it was written. Cancelled, it may have been written or not.
        """
        if self._closed:
            raise JournalError(f"the journal {self._path} is closed")
        if self._broken:
            raise JournalError(self._broken)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        try:
            self._queue.put_nowait(_Job(work, loop, future))
        except queue.Full:
            raise JournalError(f"the journal {self._path} is {QUEUE_MAX} writes behind: is its disk stuck?") from None
        return await future

    async def close(self) -> None:
        """Finish what was asked for, then let go of file and lock. Again does nothing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                failure = self._commit(batch)
                _answer(batch, failure)
        finally:
            self._db.close()
            self._lock.release()

    def _next_batch(self) -> list[_Job]:
        """At least one job, as soon as there is one, with all that wait behind it; empty at the end."""
        batch: list[_Job] = []
        while len(batch) < BATCH_MAX and not (batch and self._queue.empty()):
            job = self._queue.get()
            if job is None:
                if batch:
                    self._queue.put(None)
                break
            batch.append(job)
        return batch

    def _commit(self, batch: Iterable[_Job]) -> str | None:
        """All of the batch or none of it: a failure here is the file's, never one job's alone."""
        if self._broken:
            return self._broken
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in batch:
                job.result = None if job.future.cancelled() else job.work(self._db)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            failure = told(self._path, error)
            self._roll_back()
            if is_lasting(error):
                self._broken = failure
            return failure
        except Exception as bug:  # noqa: BLE001 -- whoever waits must be told, and nobody may write after it
            self._roll_back()
            self._broken = f"journal {self._path}: {bug!r}"
            return self._broken
        return None

    def _roll_back(self) -> None:
        if not self._db.in_transaction:
            return
        try:
            self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._broken = told(self._path, error)


def _answer(batch: list[_Job], failure: str | None) -> None:
    for loop in {job.loop for job in batch}:
        mine = [job for job in batch if job.loop is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, mine, failure)


def _settle(jobs: list[_Job], failure: str | None) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if failure is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(JournalError(failure))
