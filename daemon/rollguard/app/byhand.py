"""A rollback by hand without a daemon: the journal's lock, and then the same guard and the same executor."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.journal.codec import event_text
from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.journal.sqlite import read_journal, read_kept
from rollguard.app.options import CannotStart, Wanted, journal_path
from rollguard.app.preflight import missing_secrets, strangers, unusable_folder
from rollguard.app.target import Shared, Target
from rollguard.core.events import Recorded
from rollguard.core.policy import Policy
from rollguard.core.rehearsal import Wish

LAST_WORDS_S = 10.0
"""How long pages get to leave once the rollback is over; what stays waits in the outbox for the next guard."""


@asynccontextmanager
async def alone(
    policy: Policy, data: Path, environ: Mapping[str, str], on_event: Callable[[Recorded, str], None]
) -> AsyncIterator[Target]:
    """The target of ``policy`` with its journal's lock. Raises ``CannotStart`` or ``JournalError``."""
    problems = missing_secrets([policy], environ)
    if problems:
        raise CannotStart(problems)
    transport = AiohttpTransport()
    try:
        problems = await strangers([policy], transport, environ, data)
        if not problems and (why := unusable_folder(data)):
            problems = [why]
        if problems:
            raise CannotStart(problems)
        target = Target.on_disk(policy, Shared(transport=transport, environ=environ, data=data, on_event=on_event))
        try:
            await target.open()
            yield target
        finally:
            await target.close()
    finally:
        await transport.close()


@asynccontextmanager
async def rehearsal(policy: Policy, data: Path, environ: Mapping[str, str]) -> AsyncIterator[Target]:
    """The target with a copy of its journal in memory: it can be asked anything, and nothing is written anywhere.

    Raises ``CannotStart`` or ``JournalError``.
    """
    problems = missing_secrets([policy], environ)
    transport = AiohttpTransport()
    try:
        problems = problems or await strangers([policy], transport, environ, data)
        if problems:
            raise CannotStart(problems)
        name = policy.target.name
        path = journal_path(data, name)
        known = read_journal(path, name) if path.exists() else []
        kept = read_kept(path, name) if path.exists() else {}
        disk = MemoryDisk(events=[event_text(entry.event) for entry in known], kept=kept)
        shared = Shared(transport=transport, environ=environ, data=data, on_event=lambda entry, target: None)
        target = Target(policy, MemoryJournal(disk), shared)
        await target.open()
        yield target
    finally:
        await transport.close()


async def plan(target: Target, wanted: Wanted) -> dict[str, Any]:
    """What the rollback would do. Raises ``GuardError``."""
    return await _ask(target, wanted, dry_run=True)


async def begin(target: Target, wanted: Wanted) -> dict[str, Any]:
    """Make the intent durable, unless something holds it. Raises ``GuardError``."""
    return await _ask(target, wanted, dry_run=False)


async def _ask(target: Target, wanted: Wanted, *, dry_run: bool) -> dict[str, Any]:
    answer = await target.acts.rollback(wanted.by, wanted.reason, wanted.version, wanted.overrides, dry_run=dry_run)
    return dataclasses.asdict(answer)


async def drill(target: Target, wish: Wish, by: str, reason: str, *, dry_run: bool) -> dict[str, Any]:
    """Plan a drill, or begin it unless something holds it. Raises ``GuardError``."""
    return dataclasses.asdict(await target.rehearse.drill(by, reason, wish, dry_run=dry_run))


async def finish_drill(target: Target) -> None:
    """Carry the drill under way to its end and tell people. Raises ``JournalError``."""
    await _to_its_end(target, target.guard.drills.drive())


async def drive(target: Target) -> None:
    """Carry the goal to its end, tell people, write the artifacts. Raises ``JournalError``."""
    await _to_its_end(target, target.guard.respond.drive(target.guard.watch.snapshot))


async def _to_its_end(target: Target, act: Awaitable[None]) -> None:
    outbox = asyncio.create_task(target.outbox.deliver_forever(), name="outbox")
    try:
        await act
        await target.artifacts.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                while await target.pages_waiting():  # noqa: ASYNC110  (the answer is on the disk; no event tells)
                    await asyncio.sleep(0.1)
    finally:
        outbox.cancel()
        await asyncio.wait({outbox})
