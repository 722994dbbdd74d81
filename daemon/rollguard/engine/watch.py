"""The eyes: what the signals and the platform say, kept ready for the judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Never

from rollguard.core import loglines
from rollguard.core.baseline import compared
from rollguard.core.deploys import Deploy, Quiet, in_progress
from rollguard.core.events import DeployBegan, DeployEnded, DigestSeen, Event, FullyDeployed
from rollguard.core.fleet import Tenure, track
from rollguard.core.lifecycle import Goal
from rollguard.core.model import EDGE, Machine, Reading, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.signals import LogsSignal
from rollguard.core.spans import span_s
from rollguard.core.window import Windows
from rollguard.engine.record import Record
from rollguard.engine.roll_call import RollCall
from rollguard.errors import BadAnswer, Refused, Unavailable
from rollguard.ports import Clock, Fleet, Platform, SignalSource, Vitals

OnReading = Callable[[Reading], None]


def horizon_s(policy: Policy) -> float:
    """How long readings are of use to this policy: its longest window, doubled for the windows before it."""
    spans = [policy.verify.settle_s, policy.rollback.first_wait_s, *(3 * s.every_s for s in policy.signals)]
    spans += [loglines.OVER_S for s in policy.signals if isinstance(s, LogsSignal)]
    spans += [span_s(rule.condition, policy) + 60.0 for rule in policy.rules]
    spans += [policy.comparing.block_s + 60.0] if compared(policy) else []
    return max(spans) * 1.25 + 60.0


class Watch:
    """Readings, machines and releases of one target, as fresh as their intervals allow."""

    def __init__(
        self, policy: Policy, platform: Platform, record: Record, clock: Clock, vitals: Vitals, on_reading: OnReading
    ) -> None:
        self._platform = platform
        self._roll_call = RollCall(platform)
        self._record = record
        self._clock = clock
        self._vitals = vitals
        self._on_reading = on_reading
        self._quiet = Quiet()
        self._cut_off = False  # the platform could not be reached either
        self.policy = policy
        self.windows = Windows(horizon_s(policy))
        self._anchor = 0
        """How often the clock was put right: what was asked before that has times that mean nothing now."""
        self.alive_since = clock.now()
        self.snapshot: Snapshot | None = None
        self._looked_at: float | None = None
        self.tenures: dict[str, Tenure] = {}
        self.whole_since = clock.now()
        self.deploy: Deploy | None = None
        self.firing: Mapping[str, float | None] = {}
        """The rules that fire now, since when: what a digest that appears next is born into."""
        self.want_leases = False
        """Somebody may have to act soon: look who holds the machines."""

    def obey(self, policy: Policy) -> None:
        """Watch by another policy from now on; what was read stays, as far as it is still asked for."""
        kept = self.windows
        self.policy = policy
        self.windows = Windows(horizon_s(policy))
        self.windows.take_over(kept)

    def forget(self, by_s: float) -> None:
        """The clock jumped ahead by ``by_s``: nothing that was read can be dated any more.

        What fires since before the last look still does so: else each rule would seem older than a release that comes
        to light next, and nobody would act on it.
        """
        self._anchor += 1
        self.windows.clear()
        self.tenures, self.snapshot = {}, None
        self._looked_at = None if self._looked_at is None else self._looked_at + by_s
        self.firing = {name: None if since is None else since + by_s for name, since in self.firing.items()}
        self.alive_since = self.whole_since = self._clock.now()

    async def poll(self, source: SignalSource) -> Never:
        """Read one signal for ever at its own pace. A round that is late is skipped, never queued."""
        due = self._clock.now()
        while True:
            anchor = self._anchor
            readings = await source.read(self._fleet(), self._clock)
            known = self._subjects() if anchor == self._anchor else set()
            readings = [reading for reading in readings if reading.subject in known]
            self.windows.add(readings)
            for reading in readings:
                self._on_reading(reading)
            due += source.every_s
            now = self._clock.now()
            due = min(due, now + source.every_s)  # the clock was put back
            if due < now:
                missed = int((now - due) // source.every_s) + 1
                self._vitals.late_ticks += missed
                due += missed * source.every_s
            await asyncio.sleep(due - now)

    def _subjects(self) -> set[str]:
        """Of whom a reading is worth keeping: a metrics store or a log may name machines that are none."""
        machines = self.snapshot.machines if self.snapshot else ()
        return {EDGE, *self.tenures, *(m.id for m in machines)}

    def _fleet(self) -> Fleet:
        """Whom to probe. Nobody by name when it is not known any more who is started: a request wakes a sleeper."""
        stale_s = 3 * self.policy.platform_every_s + 10.0
        if self.snapshot is None or self._clock.now() - self.snapshot.at > stale_s:
            return Fleet()
        return Fleet(started=tuple(t.machine for t in self.tenures.values() if t.started))

    async def look(self) -> Snapshot:
        """Ask the platform once and take note of what changed. Raises what the platform raises."""
        anchor = self._anchor
        try:
            snapshot = await self._roll_call.snapshot()
        except Unavailable as error:
            self._cut_off |= not _answered(error)
            self._doubt()
            raise
        row_open = any(r.in_progress for r in snapshot.releases[:3])
        if row_open or self.want_leases or self.deploy is not None:
            snapshot = await self.leases_now(snapshot)
        if anchor == self._anchor:
            await self._take(snapshot)
        return snapshot

    async def _take(self, snapshot: Snapshot) -> None:
        now = self._clock.now()
        before = self.snapshot.at if self.snapshot else None
        if before is not None and snapshot.at < before:
            return  # a slow answer that was overtaken
        self._doubt()
        self._cut_off = False
        digests_before = {t.digest for t in self.present.values() if t.started}
        self.tenures = track(self.tenures, snapshot, before, now)
        self.snapshot = snapshot
        older, self._looked_at = self._older_than(self._looked_at), snapshot.at
        self._vitals.last_snapshot_at = now
        digests = {t.digest for t in self.present.values() if t.started}
        if digests != digests_before or len(digests) > 1:
            self.whole_since = now if len(digests) > 1 or digests_before else self.whole_since
        deploy, self._quiet = in_progress(snapshot, self._own_goal(), self._quiet, now)
        await self._record.add(*self._changes(snapshot, deploy, older, now))
        self.deploy = deploy

    @property
    def present(self) -> Mapping[str, Tenure]:
        """The tenures that say something about the release that serves: without machines that a drill took away."""
        drill = self._record.state.drilling
        away = drill.away if drill is not None else frozenset[str]()
        return {m: t for m, t in self.tenures.items() if m not in away} if away else self.tenures

    def _doubt(self) -> None:
        """Who reaches neither the platform nor the app is cut off: that is no evidence against the app."""
        if self._cut_off and self.snapshot is not None:
            self.windows.doubt(self.snapshot.at)

    def _own_goal(self) -> Goal | None:
        """Whose release row is the guard's own, even when it could not be closed."""
        incident, drill = self._record.state.incident, self._record.state.drill
        return incident.goal if incident and incident.goal else drill.newest_goal if drill else None

    def _changes(self, snapshot: Snapshot, deploy: Deploy | None, older: tuple[str, ...], now: float) -> list[Event]:
        state = self._record.state
        events: list[Event] = []
        new: dict[str, Machine] = {}
        for machine in sorted(snapshot.managed, key=lambda m: (m.release_version or 0, m.id)):
            if machine.digest and state.record(machine.digest) is None:
                new.setdefault(machine.digest, machine)
        for digest, machine in new.items():
            events.append(
                DigestSeen(
                    at=now,
                    digest=digest,
                    image_ref=machine.image_ref,
                    version=machine.release_version,
                    labels=dict(machine.labels),
                    born_into=older,
                    first_sight=not state.digests,
                    by_guard=machine.incident is not None,
                )
            )
        running = {m.digest for m in snapshot.managed}
        if len(running) == 1:
            digest = running.pop()
            record = state.record(digest)
            if digest and (record is None or record.full_at is None or state.serving != digest):
                version = max((m.release_version or 0 for m in snapshot.managed), default=0)
                events.append(FullyDeployed(at=now, digest=digest, version=version or None))
        if deploy is not None and self.deploy is None:
            events.append(DeployBegan(at=now, owner=deploy.owner, sign=deploy.sign))
        if deploy is None and self._record.state.deploying is not None:
            events.append(DeployEnded(at=now, owner=self._record.state.deploying.owner))
        return events

    def _older_than(self, last_look_at: float | None) -> tuple[str, ...]:
        """What fires, and began before the last look: later, the release may have been there, only not seen yet."""
        return tuple(
            name
            for name, since in self.firing.items()
            if last_look_at is None or since is None or since <= last_look_at
        )

    async def leases_now(self, snapshot: Snapshot) -> Snapshot:
        """The same snapshot, with who holds the machines. Raises ``Unavailable``."""
        if snapshot.leases is not None:
            return snapshot
        return replace(snapshot, leases=await self._platform.leases(snapshot.reachable))

    async def resolvable(self, image_ref: str, digest: str) -> bool | None:
        """Whether the image can still be had: True, False, or None when nobody could say."""
        try:
            return await self._platform.resolve(image_ref) == digest
        except (Unavailable, Refused):
            return None


def _answered(error: Unavailable) -> bool:
    """Whether there was an answer, be it a useless one: the wire works."""
    return isinstance(error, BadAnswer) or str(error).startswith("HTTP ")
