"""What the guard keeps of what its sources say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from rollguard.adapters.journal.memory import MemoryJournal
from rollguard.core.events import TickFailed
from rollguard.core.model import EDGE, Reading, Snapshot
from rollguard.engine.record import Record
from rollguard.engine.supervise import polls
from rollguard.engine.watch import AT_ONCE_S, Watch
from rollguard.ports import Clock, Fleet, Platform, Vitals
from tests.builders import a_machine, a_policy, a_snapshot
from tests.loop_clock import LoopClock
from tests.virtual_time import EPOCH, run


class Inventing:
    """A metrics store that knows thousands of machines; and that breaks down, shouting, when it is told to."""

    name, every_s = "traffic", 15.0
    breaks = ""

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        if self.breaks:
            raise ValueError(self.breaks)
        subjects = (*(f"x{n}" for n in range(5000)), *fleet.started, EDGE)
        return [Reading("traffic.errors", subject, clock.now(), value=1.0) for subject in subjects]


class Answering:
    """As much of a platform as a look needs."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    async def snapshot(self) -> Snapshot:
        return self._snapshot


def a_watch(platform: object, heard: list[Reading]) -> tuple[Watch, Record]:
    assert isinstance(platform, Answering)
    record = Record(MemoryJournal(), {}, Vitals())
    known: Platform = platform  # type: ignore[assignment]  # nothing but its snapshot is asked for
    return Watch(a_policy(), known, record, LoopClock(), Vitals(), heard.append), record


async def lives(watch: Watch, record: Record, source: Inventing, for_s: float) -> None:
    (loop,) = polls(watch, record, LoopClock(), [source]).values()
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await loop()


def test_of_machines_that_are_none_nothing_is_kept_or_counted() -> None:
    async def scenario() -> None:
        heard: list[Reading] = []
        fleet = (a_machine("m1"), a_machine("m2", managed=False))
        watch, record = a_watch(Answering(a_snapshot(*fleet, at=EPOCH)), heard)
        await watch.look()
        await lives(watch, record, Inventing(), 5)
        assert {r.subject for r in heard} == {"m1", EDGE}
        assert watch.windows.since("traffic.errors", "m1", 0)
        assert watch.windows.since("traffic.errors", "x1", 0) == []

    run(scenario())


def test_what_a_failing_source_says_is_written_down_on_one_harmless_line() -> None:
    async def scenario() -> None:
        watch, record = a_watch(Answering(a_snapshot(at=EPOCH)), [])
        source = Inventing()
        source.breaks = "\x1b[31mred\r\n\x00" + "x" * 9000
        await lives(watch, record, source, 5)
        (failed,) = [e.event for e in await record.open() if isinstance(e.event, TickFailed)]
        assert failed.error.startswith("ValueError: [31mred xxx")
        assert len(failed.error) <= 500

    run(scenario())


class Failing:
    """An app that answers well until it is told to fail."""

    name, every_s = "health", 5.0
    fails = False

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        return [Reading("health", EDGE, clock.now(), value=float(not self.fails))]


def test_a_failure_is_judged_at_once_and_what_follows_it_closely_together_with_it() -> None:
    async def scenario() -> None:
        watch, record = a_watch(Answering(a_snapshot(at=EPOCH)), [])
        await watch.look()
        source, loop = Failing(), asyncio.get_running_loop()
        polling = asyncio.create_task(lives(watch, record, source, 60))
        began = loop.time()
        await watch.pause_unless_failing(1.0)
        assert loop.time() - began == pytest.approx(1.0)  # all is well
        source.fails = True
        await watch.pause_unless_failing(30.0)
        assert loop.time() - began == pytest.approx(5.0)  # the next round
        await watch.pause_unless_failing(30.0)
        assert loop.time() - began == pytest.approx(6.0)  # asked again a second later
        await asyncio.sleep(3.0)
        await watch.pause_unless_failing(30.0)  # it failed during the tick
        assert loop.time() - began == pytest.approx(9.0 + AT_ONCE_S)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)

    run(scenario())
