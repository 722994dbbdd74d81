"""What the app is configured with, kept for every release and marked where it was proven; compared with today's."""

from __future__ import annotations

from dataclasses import replace

from rollguard.core import drift
from rollguard.core import events as ev
from rollguard.core.case import named
from rollguard.core.drift import Capsule, Config, Drifts, Unreadable
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.model import Machine, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.text import one_line
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch
from rollguard.errors import Conflict, Unavailable
from rollguard.ports import Clock, Platform

NAME = "configs"
"""Under which the journal keeps the book."""


class Configs:
    """The configurations of one target. ``mark`` names the salt of the platform's hashes.

    Nothing is asked of the platform but what may have changed since it was asked.
    """

    def __init__(self, platform: Platform, record: Record, clock: Clock, mark: str = "") -> None:
        self.mark = mark
        self._platform = platform
        self._record = record
        self._clock = clock
        self._opened = False
        self._book: tuple[Config, ...] = ()
        self._today: Config | None = None
        self._read_of: Snapshot | None = None
        self._compared: tuple[tuple[object, ...], Drifts] = ((), Drifts())

    async def open(self) -> None:
        """Take up what earlier lives kept; again, it does nothing. Raises ``JournalError``."""
        if self._opened:
            return
        self._opened = True
        words = await self._record.kept(NAME)
        try:
            self._book = drift.from_text(words, self.mark) if words else ()
        except Unreadable as error:
            told = ev.TickFailed(at=self._clock.now(), error=one_line(str(error), 500), failures=1)
            await self._record.add(told)

    def drifts(self, target: DigestRecord | None, snapshot: Snapshot | None) -> Drifts:
        """How the configuration differs from what is known; nothing is known where it changed since it was read.

        It costs nothing as long as nothing changed: every tick asks.
        """
        digest = target.digest if target else ""
        made_of = (snapshot, self._today, self._book, digest)
        before, found = self._compared
        if len(before) != len(made_of) or any(a is not b for a, b in zip(before, made_of, strict=True)):
            found = self._compare(digest, snapshot)
            self._compared = made_of, found
        return found

    def _compare(self, digest: str, snapshot: Snapshot | None) -> Drifts:
        chosen = drift.representatives(snapshot, self._stood).values() if snapshot else ()
        read = {(c.machine, c.hash) for c in self._today.capsules} if self._today else set()
        stale = not {(m.id, m.config_hash) for m in chosen} <= read
        return Drifts() if stale else drift.drifts(self._book, self._today, digest)

    def proven_with(self, target: DigestRecord | None) -> Config | None:
        """What the digest was proven with, or None."""
        return drift.proven_with(self._book, target.digest) if target else None

    async def mind(self, watch: Watch, policy: Policy) -> None:
        """Read what changed, keep what is new, and compare after a rollback. Raises ``JournalError``, ``Unavailable``,
        ``Refused``.
        """
        await self.open()
        if watch.snapshot is None or self._record.state.goal is not None:
            return
        if watch.snapshot is not self._read_of:  # every look makes another one
            await self.refresh(watch.snapshot)
            self._read_of = watch.snapshot
        await self._keep(watch, policy)
        await self._write_down(watch.snapshot)

    async def refresh(self, snapshot: Snapshot) -> None:
        """Read the configuration of each group, where it is not what it was; a group that nobody can ask about now
        stays as it was. Raises ``Unavailable`` or ``Refused``.
        """
        chosen = drift.representatives(snapshot, self._stood)
        silent = {m.group for m in snapshot.managed} - chosen.keys()
        kept = [c for c in self._today.capsules if c.group in silent] if self._today else []
        if not chosen or len(kept) < len(silent):
            return  # not known, which is no word of a group that is gone
        before = {(c.machine, c.hash): c for c in self._today.capsules} if self._today else {}
        capsules = [before.get((m.id, m.config_hash)) or await self._read(m) for m in chosen.values()]
        newest = max(chosen.values(), key=lambda m: m.release_version or 0)
        self._today = Config(
            digest=newest.digest,
            version=newest.release_version,
            at=self._clock.now(),
            capsules=(*capsules, *kept),
            mixed=drift.mixed(snapshot, capsules),
        )

    @property
    def _stood(self) -> frozenset[str]:
        """Who stood for the groups until now."""
        newest = self._today or (self._book[-1] if self._book else None)
        return frozenset(c.machine for c in newest.capsules) if newest else frozenset()

    async def _read(self, machine: Machine) -> Capsule:
        try:
            keys = await self._platform.capsule(machine.id)
        except Conflict as error:  # nothing is written: a platform that says so contradicts itself
            raise Unavailable(str(error)) from error
        return Capsule(group=machine.group, machine=machine.id, hash=machine.config_hash, keys=keys)

    async def _keep(self, watch: Watch, policy: Policy) -> None:
        """Today's, where every machine runs one image and nobody deploys; proven, when its digest and time say so."""
        today, now = self._today, self._clock.now()
        snapshot, record = watch.snapshot, self._record.state.record(today.digest) if today else None
        if today is None or record is None or snapshot is None or watch.deploy is not None:
            return
        if any(m.digest != today.digest for m in snapshot.managed):
            return
        known = drift.known(self._book, today)
        since = known.at if known else now
        calm = self._record.state.incident is None and not watch.firing
        proven_now = record.proven_at is not None and record.proven_at >= since
        long_enough = record.proven_at is not None and now - since >= policy.interlocks.proven_after_s
        proven = (known is not None and known.proven) or (calm and (proven_now or long_enough))
        if known is not None and known is self._book[-1] and known.proven == proven and known.mixed == today.mixed:
            return
        # without the hashes, which are made without salt: values could be guessed by them
        capsules = tuple(replace(c, hash="") for c in today.capsules)
        self._book = drift.with_config(self._book, replace(today, proven=proven, capsules=capsules))
        await self._record.keep(NAME, drift.to_text(self._book, self.mark))

    async def _write_down(self, snapshot: Snapshot) -> None:
        """After a rollback, once: how the app is configured beside what its image was proven with."""
        incident = self._record.state.incident
        goal = incident.goal if incident else None
        if goal is None or not goal.outcome or self._is_compared(goal.incident, goal.set_at):
            return
        target = self._record.state.record(goal.target)
        since = self.drifts(target, snapshot).since_proven
        name = named(target) if target else goal.target
        if since is None:
            said = f"what {name} was configured with when it was proven is not known"
        else:
            said = f"config since {name} was proven: {drift.said(since) if since else 'nothing changed'}"
        known = drift.Drift() if since is None else since
        await self._record.add(
            ev.ConfigCompared(
                at=self._clock.now(),
                incident=goal.incident,
                digest=goal.target,
                known=since is not None,
                added=known.added,
                removed=known.removed,
                changed=known.changed,
                omitted=known.omitted,
                sentence=said,
            )
        )

    def _is_compared(self, incident: str, since: float) -> bool:
        """Looked for from the newest entry back to the decision."""
        for entry in reversed(self._record.recent):
            event = entry.event
            if isinstance(event, ev.ConfigCompared) and event.incident == incident:
                return True
            if isinstance(event, ev.GoalSet) and event.at <= since:
                return False
        return True  # so long ago that nobody waits for it
