"""The eyes: what the signals and the platform say, kept ready for the judge."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Never

from rollguard.core import confirm
from rollguard.core.deploys import Deploy, Quiet, in_progress
from rollguard.core.events import DeployBegan, DeployEnded, Event
from rollguard.core.fleet import Tenure, track
from rollguard.core.horizon import horizon_s
from rollguard.core.late import excused
from rollguard.core.lifecycle import Goal
from rollguard.core.model import EDGE, Reading, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.sightings import older_than, sightings
from rollguard.core.window import Windows
from rollguard.engine.lag import Lag
from rollguard.engine.polling import Polling
from rollguard.engine.record import Record
from rollguard.engine.roll_call import RollCall
from rollguard.errors import BadAnswer, Refused, Unavailable
from rollguard.ports import Clock, Fleet, Platform, SignalSource, Vitals

OnReading = Callable[[Reading], None]
AT_ONCE_S = 0.2
"""Several failures that follow so closely are judged together."""
ROUNDS_MAX = 256
"""While a rollback is driven nobody takes what is read: so many rounds wait, the oldest are forgotten."""


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
        self._polling: dict[str, Polling] = {}
        self._doubt_begins = asyncio.Event()
        self._failed = asyncio.Event()
        self._silent: dict[str, tuple[str, ...]] = {}
        """Of each signal, who was asked last, where nobody answered anything."""
        self.lag = Lag()
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
        self.rounds: deque[tuple[str, Sequence[Reading]]] = deque(maxlen=ROUNDS_MAX)
        """What was read and not taken yet, round by round: the signal's name and its readings."""

    @property
    def cut_off(self) -> bool:
        """Whether the platform could not be reached either: what the guard cannot reach says nothing now."""
        return self._cut_off

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
        self.rounds.clear()
        self.tenures, self.snapshot = {}, None
        self._looked_at = None if self._looked_at is None else self._looked_at + by_s
        self.firing = {name: None if since is None else since + by_s for name, since in self.firing.items()}
        self.alive_since = self.whole_since = self._clock.now()

    async def poll(self, source: SignalSource) -> Never:
        """Read one signal for ever at its own pace; every second for a while when somebody fails, see ``Polling``."""

        def ask(repeated: bool) -> Awaitable[frozenset[str]]:
            return self._round(source, repeated=repeated)

        repeats = lambda: confirm.asks_again(self.policy, source.name)
        polling = Polling(source.every_s, ask, self._clock, self._vitals, repeats, self._doubt_begins.set)
        self._polling[source.name] = polling
        await polling.forever()

    async def _round(self, source: SignalSource, *, repeated: bool) -> frozenset[str]:
        """Read a signal once; who failed. What is asked again is kept apart, and counted by nobody."""
        anchor = self._anchor
        asked_at, fleet = self.lag.now(), self._fleet(source.name, repeated=repeated)
        said = await source.read(fleet, self._clock)
        signal = next((s for s in self.policy.signals if s.name == source.name), None)
        readings = excused(said, signal, self.lag.late_s(asked_at))
        known = self._subjects() if anchor == self._anchor else set()
        readings = [r for r in readings if r.subject in known and (not repeated or r.key == source.name)]
        heard_out = [r for r in readings if not confirm.given_up(r, fleet.within_s)]
        if heard_out:  # who was not given the usual time to answer has not failed by any rule's measure
            self.rounds.append((source.name, heard_out))
        if repeated:
            self.windows.add(replace(r, key=confirm.again(r.key)) for r in readings)
        else:
            self.windows.add(readings)
            for reading in readings:
                self._on_reading(reading)
        mine = [r for r in readings if r.key == source.name]
        failed = frozenset(r.subject for r in mine if r.value == 0.0)
        self._silent[source.name] = tuple(r.subject for r in mine) if all(r.unanswered for r in mine) else ()
        if failed or repeated:
            self._failed.set()
        return failed

    @property
    def looked_at(self) -> float:
        """When the platform was last asked who runs what."""
        return -math.inf if self.snapshot is None else self.snapshot.at

    @property
    def doubting(self) -> bool:
        """Whether some signal is asked every second now, because somebody failed."""
        return any(polling.doubting for polling in self._polling.values())

    async def pause(self, for_s: float) -> None:
        """Sleep; but who fails now, and did not a moment ago, may run another release already: worth a look at once."""
        self._doubt_begins.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._doubt_begins.wait()

    async def pause_unless_failing(self, for_s: float) -> None:
        """Sleep; but what failed, or was asked again because something did, is judged at once: at most every
        ``AT_ONCE_S``.
        """
        loop = asyncio.get_running_loop()
        soonest = loop.time() + min(AT_ONCE_S, for_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(for_s):
                await self._failed.wait()
        self._failed.clear()
        await asyncio.sleep(max(0.0, soonest - loop.time()))

    def _subjects(self) -> set[str]:
        """Of whom a reading is worth keeping: a metrics store or a log may name machines that are none."""
        machines = self.snapshot.machines if self.snapshot else ()
        return {EDGE, *self.tenures, *(m.id for m in machines)}

    def _fleet(self, signal: str, *, repeated: bool) -> Fleet:
        """Whom to probe. Nobody by name when it is not known any more who is started: a request wakes a sleeper."""
        stale_s = 3 * self.policy.platform_every_s + 10.0
        if self.snapshot is None or self._clock.now() - self.snapshot.at > stale_s:
            return Fleet()
        if repeated:
            began = {EDGE: self.whole_since, **{t.machine: t.since for t in self.tenures.values()}}
            silent = {subject: began.get(subject, math.inf) for subject in self._silent.get(signal, ())}
            within_s = confirm.patience_s(self.windows, signal, silent) if silent else math.inf
            return Fleet(confirm.chosen(tuple(self.present.values())), within_s)
        return Fleet(started=tuple(t.machine for t in self.tenures.values() if t.started))

    async def look(self, *, closely: bool = False) -> Snapshot:
        """Ask the platform once and take note of what changed; ``closely`` before an act: also who holds the machines,
        whatever the rules say meanwhile. Raises what the platform raises.
        """
        anchor = self._anchor
        try:
            snapshot = await self._roll_call.snapshot()
        except Unavailable as error:
            self._cut_off |= not _answered(error)
            self._doubt()
            raise
        row_open = any(r.in_progress for r in snapshot.releases[:3])
        if closely or row_open or self.want_leases or self.deploy is not None:
            snapshot = replace(snapshot, leases=await self._platform.leases(snapshot.reachable))
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
        older, self._looked_at = older_than(self.firing, self._looked_at), snapshot.at
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
        events = sightings(self._record.state, snapshot, older, now)
        if deploy is not None and self.deploy is None:
            events.append(DeployBegan(at=now, owner=deploy.owner, sign=deploy.sign))
        if deploy is None and self._record.state.deploying is not None:
            events.append(DeployEnded(at=now, owner=self._record.state.deploying.owner))
        return events

    async def resolvable(self, image_ref: str, digest: str) -> bool | None:
        """Whether the image can still be had: True, False, or None when nobody could say."""
        try:
            return await self._platform.resolve(image_ref) == digest
        except (Unavailable, Refused):
            return None


def _answered(error: Unavailable) -> bool:
    """Whether there was an answer, be it a useless one: the wire works."""
    return isinstance(error, BadAnswer) or str(error).startswith("HTTP ")
