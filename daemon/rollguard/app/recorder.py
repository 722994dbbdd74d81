"""Reads the signals of a target for a while and saves what they say. Writes nothing to the platform or the app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.journal.memory import MemoryJournal
from rollguard.adapters.recording import Full, RecordingFile
from rollguard.adapters.signals.registry import build_sources
from rollguard.app.preflight import platform_of
from rollguard.core.model import Reading
from rollguard.core.policy import Policy
from rollguard.core.recording import Look, Runs
from rollguard.engine.record import Record
from rollguard.engine.supervise import polls
from rollguard.engine.watch import Watch
from rollguard.errors import Refused, Unavailable
from rollguard.ports import Transport, Vitals

FOR_S_MAX = 24 * 3600.0
LOOKS_MAX, RETRY_S_MAX = 4, 5.0


@dataclass(slots=True)
class Saved:
    """What was saved so far. ``full``: the file could not take more."""

    readings: int = 0
    gaps: int = 0
    machines: int = 0
    full: bool = False


async def record_target(
    policy: Policy, transport: Transport, environ: Mapping[str, str], path: Path, for_s: float
) -> Saved:
    """Save ``for_s`` seconds of the target's readings to a new file.

    Raises what the platform raises at the first look, and ``Refused`` when the file cannot be written.
    """
    clock, saved, over = SystemClock(), Saved(), asyncio.Event()
    failed: list[Refused] = []
    platform = platform_of(policy, transport, environ, clock)
    record = Record(MemoryJournal(), {}, Vitals())
    await _patiently(platform.snapshot)
    with RecordingFile(path, policy, clock.now()) as file:

        def on_reading(reading: Reading) -> None:
            if over.is_set():
                return
            try:
                file.reading(reading)
            except Refused as error:
                failed.append(error)
                over.set()
                return
            saved.readings += 1
            saved.gaps += reading.gap is not None

        def on_machines(look: Look) -> None:
            try:
                file.look(look)
            except Refused as error:
                failed.append(error)
                over.set()
            saved.machines = len(look.machines)

        watch = Watch(policy, platform, record, clock, Vitals(), on_reading)
        await _patiently(lambda: _look(watch, on_machines))
        loops = polls(watch, record, clock, build_sources(policy, transport, environ))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop(), name=name) for name, loop in loops.items()]
            tasks.append(group.create_task(_look_forever(watch, on_machines), name="platform"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(for_s):
                    await over.wait()
            for task in tasks:
                task.cancel()
    saved.full = any(isinstance(error, Full) for error in failed)
    if failed and not saved.full:
        raise failed[0]
    return saved


async def _patiently(look: Callable[[], Awaitable[object]]) -> None:
    """Look; where the platform only asks for patience, it gets some."""
    for _ in range(LOOKS_MAX - 1):
        try:
            await look()
        except Unavailable as error:
            if error.retry_after_s is None:
                raise
            await asyncio.sleep(min(error.retry_after_s, RETRY_S_MAX))
        else:
            return
    await look()


async def _look_forever(watch: Watch, on_machines: Callable[[Look], None]) -> None:
    while True:
        await asyncio.sleep(watch.policy.platform_every_s)
        with contextlib.suppress(Unavailable, Refused):  # the machines are as they were last seen; look again soon
            await _look(watch, on_machines)


async def _look(watch: Watch, on_machines: Callable[[Look], None]) -> None:
    """Look at the platform, and tell the machines when they are not what they were."""
    before = dict(watch.tenures)
    await watch.look()
    if watch.snapshot is None or watch.tenures == before:
        return
    machines = {name: Runs(t.digest, t.since, t.started, t.region) for name, t in watch.tenures.items()}
    on_machines(Look(watch.snapshot.at, machines))
