"""Feeds the rules that compare with what is read, and keeps what they know across restarts."""

from __future__ import annotations

import math

from rollguard.core import events as ev
from rollguard.core.judging import Evidence
from rollguard.core.policy import Policy
from rollguard.core.relative.relatives import Relatives, nothing_counts
from rollguard.core.same_hour import SameHours
from rollguard.core.surroundings import Surroundings
from rollguard.core.text import one_line
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch

NAME = "comparisons"
"""Under which the journal keeps it."""
HOURS = "hours of the day"
HOURS_EVERY_S = 300.0
HISTORIES = "comparison histories"
HISTORIES_CHARS_MAX = 1_000_000
"""What machines did of late is large, and a few minutes more or less of it change little: kept with the hours."""
UNSEEN_S_MAX = 30.0
"""A round of which nobody could say for so long who ran what counts for nothing."""


class Comparing:
    """The comparisons of one target."""

    def __init__(self, policy: Policy, watch: Watch, record: Record) -> None:
        self.relatives = Relatives(policy)
        self._watch = watch
        self._record = record
        self._opened = False
        self._changed = False
        self._hours_at = math.inf

    def obey(self, policy: Policy) -> None:
        """Compare by another policy; see ``Relatives.obey``."""
        self.relatives.obey(policy)

    def shift(self, by_s: float) -> None:
        """The clock was put right by ``by_s``; see ``Relatives.shift``."""
        self.relatives.shift(by_s)

    async def open(self, now: float) -> None:
        """Take up what earlier lives knew; again, it does nothing. Raises ``JournalError``."""
        if self._opened:
            return
        self._opened, self._hours_at = True, now
        text = await self._record.kept(NAME) if self.relatives.any else None
        try:
            if text:
                self.relatives.restore(text)
            if known := await self._record.kept(HISTORIES) if self.relatives.any else None:
                self.relatives.restore_histories(known)
            if hours := await self._record.kept(HOURS) if self.relatives.any else None:
                self.relatives.hours = SameHours.from_text(hours)
        except ValueError as error:
            told = one_line(f"what was counted against the release is forgotten: {error}", 500)
            await self._record.add(ev.TickFailed(at=now, error=told, failures=1))

    async def take(self, evidence: Evidence, around: Surroundings, now: float) -> None:
        """Count what was read, for the candidate of ``evidence``, and remember it. Raises ``JournalError``."""
        self.fold(evidence, around, now)
        if self._changed:
            self._changed = False
            await self._record.keep(NAME, self.relatives.to_text(histories=False))
        if self.relatives.any and now - self._hours_at >= HOURS_EVERY_S:
            self._hours_at = now
            await self._record.keep(HISTORIES, self.relatives.histories_text(HISTORIES_CHARS_MAX))
            await self._record.keep(HOURS, self.relatives.hours.to_text())

    def fold(self, evidence: Evidence, around: Surroundings, now: float) -> None:
        """Count every round of which it is known who ran what meanwhile: one that a later look at the machines
        confirms, or while all run the same and nobody deploys.
        """
        rounds, snapshot = self._watch.rounds, self._watch.snapshot
        if not self.relatives.any:
            rounds.clear()
            return
        self._changed |= self.relatives.arm(evidence.view.candidate, evidence.baseline, evidence, now)
        frozen = nothing_counts(around) or self._watch.cut_off
        calm = evidence.view.whole and not evidence.view.deploying
        while rounds:
            signal, readings = rounds[0]
            read_to = max(reading.at for reading in readings)
            if not calm and (snapshot is None or snapshot.at < read_to) and now - read_to < UNSEEN_S_MAX:
                break
            rounds.popleft()
            if calm or (snapshot is not None and snapshot.at >= read_to):
                self.relatives.take(signal, readings, evidence, frozen=frozen)
                self._changed = True
