"""One seed's stage: the world, the guard's lives in it, and everybody who watches them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

from rollguard.adapters.fly.client import FlyClient
from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.signals.registry import build_sources
from rollguard.core import events as ev
from rollguard.core.pages import Kind, Page
from rollguard.engine.acts import Acts
from rollguard.engine.consent import Consent
from rollguard.engine.guard import Guard
from rollguard.engine.readiness import ReadyWatch
from rollguard.engine.record import Record
from rollguard.engine.supervise import watch_over
from rollguard.engine.surroundings import LookAround
from rollguard.engine.watch import Watch
from rollguard.errors import JournalError
from rollguard.localfly.apps import AppSpec
from rollguard.localfly.faults import Faults
from rollguard.localfly.host import SimulatedHost
from rollguard.localfly.ids import Ids
from rollguard.localfly.machines import Machine
from rollguard.localfly.refusal import Refused
from rollguard.localfly.registry import Caller
from rollguard.ports import Vitals
from tests.simulation.soak.books import Books
from tests.simulation.soak.drawn import FINE, Drawn
from tests.simulation.soak.policy import policy_of
from tests.simulation.soak.promise import Promise, Scene
from tests.simulation.soak.promises import ALL
from tests.simulation.soak.quick import NeverLate, QuickApi, QuickApp, QuickClock
from tests.simulation.soak.telling import moment_of, told
from tests.simulation.soak.truth import Truth, WatchedWorld, Write, now
from tests.simulation.soak.wire import Line, Meddling
from tests.simulation.soak.writes import NoHaste
from tests.simulation.stage import APP, CI, ENVIRON, GOOD, GUARD, Killed, Life
from tests.simulation.trouble import Disk, Watches
from tests.virtual_time import EPOCH

SEES_S = 12.0
"""A guard whose newest look is younger than that sees."""
HOLDING = (
    "pauses",
    "holds",
    "competing deploy",
    "deploy at the worst moment",
    "deploy that dies",
    "ships it again",
    "orphan row",
    "changes one",
    "changes one at the worst moment",
    "rolls back by hand",
    "everything fails",
    "everything is slow",
)
BY_PEOPLE = (ev.PauseSet, ev.PauseLifted, ev.HoldSet, ev.ApprovalEnded)
RESTARTS_AFTER_S = 4.0
"""When whatever supervises the guard starts it again after it ended by itself."""


class SoakJournal(MemoryJournal):
    """A journal whose disk takes a moment. What is durable is told to the books, and the promises are looked at."""

    def __init__(self, soak: Soak, life: Life, number: int) -> None:
        super().__init__(soak.disk, soak.full.write)
        self._soak, self._life, self._number = soak, life, number

    async def append(self, events: Sequence[ev.Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[ev.Recorded]:
        self._life.check()
        await asyncio.sleep(0.001)
        self._life.check()
        try:
            recorded = await super().append(events, pages)
        except JournalError:
            if not any(isinstance(event, BY_PEOPLE) for event in events):  # they are told, and may try again
                self._soak.books.failed_life.setdefault(self._number, now())
            raise
        self._soak.durable(events, self._number)
        await asyncio.sleep(0.001)
        self._life.check()
        return recorded


class Soak:
    """Everything of one seed, while it is lived through."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self._loop = asyncio.get_running_loop()
        self.policy = policy_of(drawn)
        self.truth = Truth()
        self.books = Books(self.truth)
        self.scene = Scene(drawn, self.policy, self.truth, self.books, [], lambda: abs(self.watches.skew_s) > 5.0)
        self.promises: list[Promise] = [kind(self.scene) for kind in ALL]
        self.haste = next(p for p in self.promises if isinstance(p, NoHaste))
        self.world = WatchedWorld(Ids(drawn.seed))
        self.faults = Faults()
        self.api = QuickApi(self.world, self.wall, faults=self.faults)
        self.host = SimulatedHost(self.world, self.wall, faults=self.faults, seed=drawn.seed)
        self._set_up()
        self.disk, self.full, self.watches = MemoryDisk(), Disk(), Watches()
        self.meddlings: list[Meddling] = []
        self.cut_off = self.metrics_out = 0
        self.platform_calls = self.refused_for_haste = self.kills = self.lives = 0
        self.faults_seen: Counter[str] = Counter()
        self.story: list[tuple[float, str]] = []
        self.quiet = asyncio.Event()
        self.errors: list[BaseException] = []
        self._moments: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        self._others: set[asyncio.Task[Any]] = set()
        self.fired = False

    def _set_up(self) -> None:
        drawn = self.drawn
        for image in (GOOD, drawn.image, FINE):
            self.world.images.push(image)
        every = drawn.check_every_s
        check = {"type": "http", "path": "/health", "interval": f"{every}s", "timeout": "5s", "grace_period": "10s"}
        tokens = {"guard-token": GUARD, "ci-token": CI}
        checks = (check,) if every else ()
        spec = AppSpec(name=APP, machines=drawn.machines, image=GOOD.ref, tokens=tokens, checks=checks)
        self.truth.app = self.world.create_app(spec, self.wall())
        self.world.watched_by(self.truth, self.wrote)
        self.users = QuickApp(
            self.world, self.host, APP, self.wall, rps=20.0 if drawn.traffic else 0.0, seed=drawn.seed
        )
        config = dict(next(iter(self.truth.app.machines.values())).config)
        for _ in range(drawn.workers):
            self._add(config, group="worker", services=None)
        if "standby" in drawn.extras:
            self._add(config, launch=False, standbys=[next(iter(self.truth.app.machines))])
        if "stopped" in drawn.extras:
            self._add(config, launch=False)
        if "unmanaged" in drawn.extras:
            self._add(config, metadata={"owner": "a script"})
        last = self.truth.managed[-1]
        if "cordoned" in drawn.extras and len(self.truth.peers(last.id)) > 1:  # else all was down before the release
            last.cordoned = True
        self.truth.changed()

    def _add(self, config: Any, *, group: str = "app", launch: bool = True, **but: Any) -> None:
        metadata = dict(config["metadata"]) | {"fly_process_group": group}
        changed = {k: v for k, v in ({**config, "metadata": metadata} | but).items() if v is not None}
        body = {"config": changed, "skip_launch": not launch}
        self.world.create_machine(APP, body, Caller(CI), self.wall())

    # -- lives -----------------------------------------------------------------------------------------------------

    def rise(self) -> None:
        """A new life of the guard on the same disk."""
        self.lives += 1
        life, clock, vitals, number = Life(), QuickClock(self.watches), Vitals(), self.lives
        line = Line(self, life)
        platform = FlyPlatform(APP, FlyClient(line, self.policy.target.token, ENVIRON), clock)
        record = Record(SoakJournal(self, life, number), {"pager": frozenset({Kind.ALERT})}, vitals)
        watch = Watch(self.policy, platform, record, clock, vitals, lambda reading: None)
        watch.lag = NeverLate()
        around = LookAround(self.policy, line, clock) if self.drawn.control else None
        self.vitals, self.life, self.guard = (
            vitals,
            life,
            Guard(self.policy, watch, platform, record, clock, vitals, around=around),
        )
        self.acts, self.consent = Acts(self.guard, platform, clock), Consent(self.guard, clock)
        self.truth.reborn()
        self.haste.reborn()
        self.scene.sees_since = None
        guard, ready = self.guard, ReadyWatch(self.guard, platform)

        async def live() -> None:
            await record.open()
            async with asyncio.TaskGroup() as group:
                sources = build_sources(self.policy, line, ENVIRON)
                group.create_task(watch_over(guard, record, clock, sources, ready=ready))
                if around is not None:
                    group.create_task(around.look_forever())

        self.task = asyncio.create_task(live(), name=f"life {number}")
        self.task.add_done_callback(lambda task: self._ended(task, life))
        self.say(f"life {number} begins")

    def kill(self, rises_after_s: float) -> None:
        """SIGKILL now, and the next life a while later."""
        if not self.life.alive:
            return
        self.kills += 1
        self.life.alive = False
        self.scene.sees_since = None
        self.task.cancel()
        self.say("killed")
        self._rise_later(rises_after_s)

    def _rise_later(self, after_s: float) -> None:
        async def later() -> None:
            await asyncio.sleep(after_s)
            self.rise()

        self.aside(later())

    def _ended(self, task: asyncio.Task[None], life: Life) -> None:
        """A life is over: it was killed, or it could not write its journal, or it has a mistake in it."""
        error = None if task.cancelled() else task.exception()
        if error is None or not life.alive:
            return
        life.alive, self.scene.sees_since = False, None
        left = _others_than(error, (JournalError, Killed))
        if left is not None:
            self.errors.append(left)
        self.say(f"the guard ended by itself: {error!r}")
        self._rise_later(RESTARTS_AFTER_S)

    # -- what happens ----------------------------------------------------------------------------------------------

    def durable(self, events: Sequence[ev.Event], life: int) -> None:
        """The journal has these."""
        for event in events:
            self.books.take((event,), life)
            for promise in self.promises:
                promise.event(event)
            if (line := told(event)) is not None:
                self.say(line)
            self.fired |= isinstance(event, ev.RuleChanged) and event.after == "firing"
            if (moment := moment_of(event)) is not None:
                self.happens(moment)

    def wrote(self, write: Write) -> None:
        """The platform carried this out."""
        if write.owner != GUARD:
            self.say(f"{write.owner}: {write.kind} {write.machine or (write.row and f'v{write.row.version}')}")
            return
        for promise in self.promises:
            promise.write(write)
        if write.kind != "lease":
            self.say(f"guard: {write.kind} {write.machine}{write.status and ' ' + write.status}")
        self.happens(write.kind)

    def look(self) -> None:
        """Once in a while: whether a guard lives and sees, and whether the promises hold."""
        seen = self.guard.watch.snapshot
        sees = self.life.alive and seen is not None and self.guard.clock.now() - seen.at < SEES_S
        may = sees and self.vitals.last_tick_at is not None and not self.cut_off and self.full.writes_left > 0
        if not may:
            self.scene.sees_since = None
        elif self.scene.sees_since is None:
            self.scene.sees_since = now()
        for promise in self.promises:
            promise.look()

    @property
    def others_acted(self) -> bool:
        """Whether people did what may hold a rollback, or the world did what speaks against one."""
        return any(self.faults_seen[name] for name in HOLDING)

    def happens(self, moment: str) -> None:
        """Wake whoever waits for this moment."""
        self._counts[moment] += 1
        for waiter in self._moments.pop(moment, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def moment(self, name: str, skip: int) -> None:
        """Wait for the first moment of that name after ``skip`` of them."""
        for _ in range(skip + 1):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._moments[name].append(waiter)
            await waiter

    def happened(self, name: str) -> None:
        """A fault came true."""
        self.faults_seen[name] += 1
        self.say(f"FAULT {name}")

    def say(self, line: str) -> None:
        self.story.append((now(), line))

    # -- hands for those who do harm -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def meddling(self, meddling: Meddling) -> Iterator[Meddling]:
        """While this is on the wire. The newest comes first."""
        self.meddlings.insert(0, meddling)
        try:
            yield meddling
        finally:
            self.meddlings.remove(meddling)

    def aside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Somebody does this meanwhile."""
        task = asyncio.ensure_future(work)
        self._others.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._others.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Killed):
            self.errors.append(error)

    def some(self, share: float) -> Machine | None:
        """One of the managed machines."""
        machines = sorted(self.truth.managed, key=lambda m: m.id)
        return machines[int(share * len(machines))] if machines else None

    def wall(self) -> float:
        return EPOCH + self._loop.time()

    def mood(self, mood: Any, machine: str | None = None) -> None:
        self.world.set_mood(APP, mood, self.wall(), machine)

    def stop_idle(self, machine: Machine) -> None:
        with contextlib.suppress(Refused):
            self.world.take_down(APP, machine.id, "stop", Caller("proxy"), self.wall())

    def wake(self, machine: Machine) -> None:
        if machine.state == "stopped":
            self.world.wake(APP, machine.id, self.wall())

    async def close(self) -> None:
        """Everybody goes home."""
        self.life.alive = False
        tasks = [self.task, *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _others_than(error: BaseException | None, expected: tuple[type[BaseException], ...]) -> BaseException | None:
    """What is left of an error that is not of these kinds."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(lambda e: not isinstance(e, (*expected, BaseExceptionGroup)))
    return None if error is None or isinstance(error, expected) else error
