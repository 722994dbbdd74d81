"""The loops of one target, started together and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Never

from rollguard.core import text
from rollguard.core.events import TickFailed
from rollguard.engine.guard import Guard
from rollguard.engine.readiness import ReadyWatch
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch
from rollguard.errors import JournalError, Refused, Unavailable
from rollguard.ports import Clock, SignalSource

PAUSE_S_MAX = 60.0
LOOK_DOUBTING_S = 5.0

Loop = Callable[[], Coroutine[Any, Any, object]]


def tick_s(guard: Guard) -> float:
    """How often the target is judged: twice as often as its fastest signal, between once and five times a second; and
    whenever a probe fails, or was asked again because one did.
    """
    return min(1.0, max(0.2, min((s.every_s for s in guard.policy.signals), default=1.0) / 2))


ALARM_AT = 3
Alarm = Callable[[int, str], Awaitable[None]]


class Exchangeable:
    """Loops, by name, that others can take the place of while everything else goes on."""

    def __init__(self, loops: Mapping[str, Loop]) -> None:
        self._loops = dict(loops)
        self._exchanged = asyncio.Event()

    def exchange(self, loops: Mapping[str, Loop]) -> None:
        """End the present loops and start these."""
        self._loops = dict(loops)
        self._exchanged.set()

    async def run(self) -> Never:
        """Run until cancelled. Ends only by what a loop raises."""
        while True:
            self._exchanged.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(loop(), name=name) for name, loop in self._loops.items()]
                await self._exchanged.wait()
                for task in tasks:
                    task.cancel()


async def watch_over(
    guard: Guard,
    record: Record,
    clock: Clock,
    sources: Sequence[SignalSource],
    on_tick: Callable[[float], None] = lambda seconds: None,
    ready: ReadyWatch | None = None,
) -> None:
    """Read, look and judge until cancelled; tell ``on_tick`` how long each tick took. ``ready`` looks beside it whether
    a rollback could happen.

    Ends only by ``JournalError`` or a broken invariant.
    """

    async def tick() -> None:
        began = clock.now()
        await guard.tick()
        on_tick(clock.now() - began)

    async def alarm(failures: int, error: str) -> None:
        """A guard that cannot judge any more says so; and says when it can again."""
        if failures in {0, ALARM_AT}:
            words = f"blind: the guard's own loop fails, {error}" if failures else "the guard's own loop works again"
            await guard.endings.notice(text.one_line(words, 500), "loop", clock.now(), resolve=not failures)

    async with asyncio.TaskGroup() as group:
        for name, loop in polls(guard.watch, record, clock, sources).items():
            group.create_task(loop(), name=name)
        group.create_task(guard.watch.lag.mind_forever(), name="lag")
        group.create_task(_look_for_ever(guard.watch, record, clock, guard), name="platform")
        pause = guard.watch.pause_unless_failing
        group.create_task(_bear(tick, lambda: tick_s(guard), record, clock, alarm, pause), name="ticks")
        group.create_task(guard.drills.drive_forever(), name="drill")
        if ready is not None:
            group.create_task(_bear(ready.turn, lambda: ready.every_s, record, clock), name="readiness")


def polls(watch: Watch, record: Record, clock: Clock, sources: Sequence[SignalSource]) -> dict[str, Loop]:
    """A loop for each source."""

    def poll(source: SignalSource) -> Loop:
        return lambda: _bear(lambda: watch.poll(source), lambda: source.every_s, record, clock)

    return {f"signal {source.name}": poll(source) for source in sources}


async def _look_for_ever(watch: Watch, record: Record, clock: Clock, guard: Guard) -> Never:
    """Ask the platform at its pace; sooner while failed probes are followed up: a deploy may be what it waits for."""

    def every_s() -> float:
        usual_s = guard.policy.platform_every_s
        return min(usual_s, LOOK_DOUBTING_S) if watch.doubting else usual_s

    await _bear(watch.look, every_s, record, clock, pause=watch.pause)


async def _bear(
    act: Callable[[], Awaitable[object]],
    every_s: Callable[[], float],
    record: Record,
    clock: Clock,
    alarm: Alarm | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Never:
    """Do it again and again. What fails is recorded once, backed off from, and tried again: one target's bug is that
    target's blindness, not the end of the guard. A journal or an invariant that fails does end it.
    """
    failures = ours = 0
    while True:
        began = clock.now()
        pause_s = every_s()
        try:
            await act()
            if alarm is not None and ours >= ALARM_AT:
                await alarm(0, "")
            failures = ours = 0
        except (JournalError, AssertionError):
            raise
        except (Unavailable, Refused) as error:
            failures += 1
            await _say(record, clock, f"{error}", failures)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is ours, and it makes us blind, not dead)
            failures, ours = failures + 1, ours + 1
            pause_s = min(2.0**failures, PAUSE_S_MAX)
            await _say(record, clock, f"{type(error).__name__}: {error}", failures)
            if alarm is not None:
                await alarm(ours, f"{type(error).__name__}: {error}")
        await pause(min(pause_s, max(0.05, began + pause_s - clock.now())))


async def _say(record: Record, clock: Clock, error: str, failures: int) -> None:
    if failures == 1 or failures % 100 == 0:
        await record.add(TickFailed(at=clock.now(), error=text.one_line(error, 500), failures=failures))
