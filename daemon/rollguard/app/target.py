"""One target under guard: its journal, its eyes, its judge, its hands, and the loops that keep them going."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Never

from rollguard import __version__
from rollguard.adapters.clock import SystemClock
from rollguard.adapters.executors.registry import build_delegate
from rollguard.adapters.journal.memory import MemoryJournal
from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.adapters.notify.registry import build_notifiers, channel_kinds, channel_names
from rollguard.adapters.salt import known_salt, lasting_salt, mark_of
from rollguard.adapters.signals.registry import build_sources
from rollguard.app.artifacts import ArtifactWriter
from rollguard.app.bundle import Bundler
from rollguard.app.options import journal_path
from rollguard.app.preflight import platform_of
from rollguard.app.view import View
from rollguard.core import events as ev
from rollguard.core.model import Mode, Reading
from rollguard.core.policy import Policy, SchemaProbe
from rollguard.core.status import generation, limit_of
from rollguard.core.surroundings import Board
from rollguard.engine.acts import Acts
from rollguard.engine.consent import Consent
from rollguard.engine.drift import Configs
from rollguard.engine.guard import Guard
from rollguard.engine.heartbeat import beat_forever
from rollguard.engine.outbox import Outbox
from rollguard.engine.readiness import ReadyWatch
from rollguard.engine.record import Record
from rollguard.engine.rehearse import Rehearse
from rollguard.engine.schema import read_schema
from rollguard.engine.supervise import Exchangeable, Loop, polls, tick_s, watch_over
from rollguard.engine.surroundings import LookAround
from rollguard.engine.watch import Watch
from rollguard.ports import Delegate, Transport, Vitals
from rollguard.telemetry.logs import log_event
from rollguard.telemetry.metrics import Metrics
from rollguard.web.health import why_unhealthy, why_unready

SCHEMA_EVERY_S = 30.0
TICK_S_MIN = 5.0
"""How often ticks are due for the sake of health: one late quarter of a second is no reason to restart a guard."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all targets of a process have in common.

    ``probing`` makes a target the connections with which it asks its app: one that hangs, or has hundreds of machines,
    takes none from the platform, from pages or from other targets. Without one they are those of ``transport``.
    """

    transport: Transport
    probing: Callable[[], Transport] | None = None
    environ: Mapping[str, str]
    data: Path
    limit: Mode = Mode.ENFORCE
    metrics: Metrics | None = None
    on_event: Callable[[ev.Recorded, str], None] = log_event
    board: Board = field(default_factory=Board)


class Target:
    """Everything of one target. ``open`` first; ``run`` until cancelled; ``close`` in every case."""

    def __init__(self, policy: Policy, journal: SqliteJournal | MemoryJournal, shared: Shared) -> None:
        self.name = policy.target.name
        self.vitals = Vitals()
        self.clock = SystemClock()
        self._shared = shared
        self._probing = shared.transport if shared.probing is None else shared.probing()
        self._journal = journal
        self._delegates: list[Delegate] = []
        self._late_told = 0
        self.record = Record(journal, channel_kinds(policy), self.vitals, [self._tell])
        salt = known_salt(shared.data)
        platform = platform_of(policy, shared.transport, shared.environ, self.clock, salt)
        watch = Watch(policy, platform, self.record, self.clock, self.vitals, self._on_reading)
        self.around = LookAround(policy, shared.transport, self.clock, shared.board)
        delegate = self._delegate_of(policy)
        configs = Configs(platform, self.record, self.clock, mark_of(salt))
        self.guard = Guard(
            policy, watch, platform, self.record, self.clock, self.vitals, shared.limit, self.around, delegate, configs
        )
        self.ready = ReadyWatch(self.guard, platform)
        self.acts = Acts(self.guard, platform, self.clock)
        self.rehearse = Rehearse(self.guard, self.acts, self.clock)
        self.consent = Consent(self.guard, self.clock)
        self.view = View(self.guard, self.clock, self.vitals, self.ready)
        notifiers = build_notifiers(policy, shared.transport, shared.environ)
        self.outbox = Outbox(journal, notifiers, self.clock, self.record)
        self.bundler = Bundler(self.guard, self.view, self.vitals, journal, shared.environ, shared.data)
        self.artifacts = ArtifactWriter(self.guard, platform, journal, shared.data, self.bundler)
        self._changing = Exchangeable(self._loops(policy))

    @classmethod
    def on_disk(cls, policy: Policy, shared: Shared) -> Target:
        """With its journal in the data folder. Raises ``JournalError`` or ``Refused``."""
        lasting_salt(shared.data)
        return cls(
            policy, SqliteJournal.open(journal_path(shared.data, policy.target.name), policy.target.name), shared
        )

    async def open(self) -> None:
        """Take up what earlier lives wrote. Raises ``JournalError``."""
        self.vitals.started_at = self.clock.now()
        recorded = await self.record.open()
        self.view.generation = generation(recorded)
        self.view.newest_hash = next(
            (e.event.hash for e in reversed(recorded) if isinstance(e.event, ev.PolicyLoaded)), ""
        )
        metrics = self._shared.metrics
        if metrics is None:
            return
        metrics.guard(self.guard.policy, channel_names(self.guard.policy))
        metrics.readiness(self.name, None)
        for entry in recorded:
            metrics.restore(entry.event, self.name)

    async def start(self) -> None:
        """Write down that a life begins and which policy it obeys. Raises ``JournalError``."""
        mode, now = self.guard.mode.name.lower(), self.clock.now()
        await self.record.add(
            ev.GuardStarted(at=now, life=uuid.uuid4().hex, version=__version__, mode=mode), self._loaded(now)
        )

    async def obey(self, policy: Policy) -> None:
        """Another policy from now on: rules, signals, channels, heartbeat. Raises ``JournalError``."""
        self.guard.obey(policy, self._delegate_of(policy))
        self._changing.exchange(self._loops(policy))
        self.record.use(channel_kinds(policy))
        self.outbox.use(build_notifiers(policy, self._shared.transport, self._shared.environ))
        self.vitals.reload_error = None
        if self._shared.metrics is not None:
            self._shared.metrics.guard(policy, channel_names(policy))
        await self.record.add(self._loaded(self.clock.now()))

    async def reject(self, path: str, problem: str) -> None:
        """Keep the policy although its file says something else now. Raises ``JournalError``."""
        self.vitals.reload_error = problem
        await self.record.add(ev.PolicyRejected(at=self.clock.now(), path=path, problem=problem))

    async def run(self) -> None:
        """Guard until cancelled. Ends only by ``JournalError`` or a broken invariant."""
        async with asyncio.TaskGroup() as group:
            watching = watch_over(self.guard, self.record, self.clock, (), self._on_tick, self.ready)
            group.create_task(watching, name="guard")
            group.create_task(self._changing.run(), name="signals")
            group.create_task(self.outbox.deliver_forever(), name="outbox")
            group.create_task(self.artifacts.write_forever(), name="artifacts")
            group.create_task(self._show_forever(), name="measures")

    async def pages_waiting(self) -> int:
        """How many pages are not delivered yet. Raises ``JournalError``."""
        return await self._journal.outbox_waiting()

    async def close(self) -> None:
        """Let go of whoever rolls back for us, then of the journal."""
        for delegate in self._delegates:
            await delegate.close()
        await self._journal.close()

    def why_unhealthy(self) -> str | None:
        """Why the guard should be restarted, or None.

        While a rollback is driven a tick may take minutes; then looks at the platform show that we are alive.
        """
        ticked, seen = self.vitals.last_tick_at, self.vitals.last_snapshot_at
        newest = max((at for at in (ticked, seen) if at is not None), default=None)
        every_s = max(TICK_S_MIN, tick_s(self.guard), self.guard.policy.platform_every_s)
        why = why_unhealthy(replace(self.vitals, last_tick_at=newest), self.clock.now(), every_s)
        return f"{self.name}: {why}" if why else None

    def why_unready(self) -> str | None:
        """Why the guard is not on duty yet, or None."""
        why = why_unready(self.vitals)
        return f"{self.name}: {why}" if why else None

    def _well(self) -> bool:
        """Whether the heartbeat may go out: seeing, writing, and in time."""
        return not self.vitals.blind and self.why_unready() is None and self.why_unhealthy() is None

    def _delegate_of(self, policy: Policy) -> Delegate | None:
        """Who rolls back by this policy. One of an earlier policy is kept: it may be at work."""
        shared = self._shared
        delegate = build_delegate(policy, shared.transport, shared.environ, self.clock, shared.data)
        self._delegates += [delegate] if delegate else []
        return delegate

    def _loaded(self, now: float) -> ev.PolicyLoaded:
        policy = self.guard.policy
        return ev.PolicyLoaded(at=now, hash=policy.hash, path=policy.path, mode=self.guard.mode.name.lower())

    def _loops(self, policy: Policy) -> dict[str, Loop]:
        sources = build_sources(policy, self._probing, self._shared.environ)
        loops = polls(self.guard.watch, self.record, self.clock, sources)
        loops["surroundings"] = self.around.look_forever
        migration = policy.interlocks.migration
        if migration is not None and migration.probe is not None:
            probe = migration.probe
            loops["schema"] = lambda: self._read_schema_forever(probe)
        beat, metrics = policy.heartbeat, self._shared.metrics
        if beat is not None and beat.url:
            told = metrics.heartbeat if metrics is not None else lambda outcome: None
            loops["heartbeat"] = lambda: beat_forever(beat, self._shared.transport, self.clock, self._well, told)
        return loops

    async def _read_schema_forever(self, probe: SchemaProbe) -> Never:
        """Raises ``JournalError``."""
        while True:
            await read_schema(probe, self._probing, self.guard.watch, self.record, self.clock)
            await asyncio.sleep(SCHEMA_EVERY_S)

    def _tell(self, entry: ev.Recorded) -> None:
        """Every event, once it is durable. What fails to listen must not keep the guard from acting."""
        if isinstance(entry.event, ev.PageQueued):
            self.outbox.wake()
        try:
            self._show(entry)
        except Exception:
            log.exception("an event could not be shown")

    def _show(self, entry: ev.Recorded) -> None:
        event = entry.event
        self._shared.on_event(entry, self.name)
        self.artifacts.listen(event)
        if isinstance(event, ev.PolicyLoaded):
            self.view.obeys(event)
        if self._shared.metrics is not None:
            self._shared.metrics.observe(event, self.name)

    def _on_reading(self, reading: Reading) -> None:
        if self._shared.metrics is not None:
            signal, _, value = reading.key.partition(".")
            ok = None if reading.gap is not None else bool(value) or reading.value != 0.0
            self._shared.metrics.probe(self.name, signal, ok)

    def _on_tick(self, seconds: float) -> None:
        if self._shared.metrics is not None:
            self._shared.metrics.tick(self.name, self.clock.now(), seconds)

    async def _show_forever(self) -> None:
        """Levels that no event tells: once a second is often enough for whoever looks. Raises ``JournalError``."""
        while True:
            waiting = await self.pages_waiting()
            try:
                self._levels(waiting)
            except Exception:
                log.exception("the state could not be shown")
            await asyncio.sleep(1.0)

    def _levels(self, waiting: int) -> None:
        conditions = self.view.follow()
        metrics, vitals = self._shared.metrics, self.vitals
        if metrics is None:
            return
        metrics.conditions(self.name, conditions)
        metrics.readiness(self.name, self.ready.now)
        metrics.fleet(self.name, self.guard.watch.snapshot, self.guard.record.state)
        metrics.pages_waiting(self.name, waiting)
        for _ in range(vitals.late_ticks - self._late_told):
            metrics.late_tick(self.name)
        self._late_told = vitals.late_ticks
        if vitals.last_snapshot_at is not None:
            metrics.snapshot(self.name, vitals.last_snapshot_at)
        for finding in self.guard.findings:
            metrics.finding(self.name, finding.rule.name, finding.value, limit_of(finding))
