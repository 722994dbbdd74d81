"""A fleet out of a recording: what was really read, as if a release had come at one instant, with harm done to it."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

from bench.decision.fleet import Round
from bench.decision.world import binomial
from rollguard.config.problems import Wrong
from rollguard.config.quantity import duration_s, ratio
from rollguard.core.model import EDGE, GapKind, Machine, Reading, Release, Snapshot
from rollguard.core.policy import Policy, Quantile, Ratio
from rollguard.core.recording import Recording, Runs
from rollguard.core.signals import ProbeSignal

KINDS = ("errors", "latency", "probes", "dead")
APART = 0.5
"""Readings within such a part of a signal's pace are one round."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What is done to machines of the release from ``at_s`` after the beginning of the recording on.

    ``errors``, ``probes``: such a share of good ones fails. ``latency``: everything takes so many times as long.
    ``dead``: they answer nobody.
    """

    kind: str
    much: float
    at_s: float

    @classmethod
    def parse(cls, words: str) -> Self:
        """``errors=5%@600s``, ``latency=2x@10m``, ``probes=50%@600s``, ``dead@600s``. Raises ``ValueError``."""
        what, _, when = words.partition("@")
        kind, _, much = what.partition("=")
        try:
            if kind not in KINDS or not when or (kind == "dead") != (not much):
                raise ValueError(f"{words!r} is none of errors=5%@600s, latency=2x@10m, probes=50%@600s, dead@600s")
            if kind == "latency":
                factor = float(much.removesuffix("x"))
                if not 1.0 <= factor <= 1000.0:
                    raise ValueError(f"{words!r}: between 1x and 1000x")
                return cls(kind, factor, duration_s(when))
            return cls(kind, ratio(much) if much else 1.0, duration_s(when))
        except Wrong as wrong:
            raise ValueError(f"{words!r}: {wrong}") from None


class Recorded:
    """A ``Fleet``: the recording up to ``release_s`` and beyond; on ``install`` a machine is said to run another image,
    and what is read of it from then on is harmed.
    """

    def __init__(
        self, recording: Recording, policy: Policy, release_s: float, new: str, harms: Sequence[Harm], seed: object
    ) -> None:
        self.epoch = recording.at + release_s
        self._recording, self._new, self._harms, self._dice = recording, new, harms, random.Random(f"replay {seed}")
        self._looks_at = [look.at for look in recording.looks]
        self._probes = {s.name for s in policy.signals if isinstance(s, ProbeSignal)}
        of = [getattr(rule.condition, "of", rule.condition) for rule in policy.rules]
        self._totals = {r.bad: r.total for r in of if isinstance(r, Ratio) and r.above and r.bad != r.total}
        self._slow = {q.key for q in of if isinstance(q, Quantile)}
        self._installed: dict[str, tuple[str, float]] = {}
        self._rounds = list(rounds_of(recording, policy))
        self._times = [at for at, _, _ in self._rounds]

    @property
    def begins_at(self) -> float:
        """Of the recording, in seconds from the release."""
        return self._recording.at - self.epoch

    @property
    def names(self) -> Sequence[str]:
        """The machines when the release comes."""
        return sorted(self._machines(0.0))

    def _machines(self, at: float) -> Mapping[str, Runs]:
        place = bisect_right(self._looks_at, self.epoch + at) - 1
        return self._recording.looks[max(0, place)].machines

    def snapshot(self, at: float) -> Snapshot:
        """The machines now: as recorded, but for those that were said to run another image."""
        machines = []
        for name, runs in sorted(self._machines(at).items()):
            digest, since = self._installed.get(name, (runs.digest, -math.inf))
            started_at = max(runs.since, self.epoch + since)
            up = runs.started and started_at <= self.epoch + at
            machines.append(
                Machine(
                    id=name,
                    state="started" if up else "stopped" if not runs.started else "replacing",
                    instance_id=f"{digest}-{started_at:.3f}",
                    digest=digest,
                    image_ref=f"recorded/app@{digest}",
                    has_checks=False,
                    region=runs.region,
                    started_at=started_at,
                )
            )
        digests = dict.fromkeys(r.digest for look in self._recording.looks for r in look.machines.values())
        seen = [*(d for d in digests if d), *([self._new] if at >= 0 and self._new else [])]
        rows = [
            Release(id=str(n), version=n, status="complete", image_ref=f"recorded/app@{d}", created_at=self.epoch)
            for n, d in enumerate(seen, start=1)
        ]
        return Snapshot(at=self.epoch + at, machines=tuple(machines), releases=tuple(reversed(rows)), leases={})

    def install(self, machine: str, digest: str, at: float) -> None:
        """The machine starts on that image."""
        self._installed[machine] = digest, at

    def next_at(self, at: float, *, doubting: bool) -> float:
        """The next whole second at which something was read; the same instant when the recording is over. What was
        not read cannot be asked again, so nobody is doubted.
        """
        place = bisect_right(self._times, self.epoch + at)
        return max(at + 1.0, math.ceil(self._times[place] - self.epoch)) if place < len(self._times) else at

    def rounds(self, at: float) -> Iterator[Round]:
        """What was read in the second up to then, signal by signal."""
        start, end = (bisect_right(self._times, self.epoch + at - back) for back in (1.0, 0.0))
        for _, signal, readings in self._rounds[start:end]:
            yield Round(signal, self._harmed(readings))

    # -- harm ------------------------------------------------------------------------------------------------------

    def _harmed(self, readings: Sequence[Reading]) -> list[Reading]:
        said = {(r.key, r.subject, r.at): r for r in readings}
        for harm in self._harms:
            begins_at = self._recording.at + harm.at_s
            for place, reading in said.items():
                share = self._share(reading.subject, reading.at) if reading.at >= begins_at else 0.0
                if share > 0.0 and reading.gap is None:
                    said[place] = self._harm(harm, reading, said, share)
        return list(said.values())

    def _share(self, subject: str, at: float) -> float:
        """Which part of a subject's users are on the release: of the edge, as many as started machines."""
        if subject != EDGE:
            return float(self._runs_new(subject, at))
        serving = [name for name, runs in self._machines(at - self.epoch).items() if runs.started]
        return sum(self._runs_new(name, at) for name in serving) / len(serving) if serving else 0.0

    def _runs_new(self, machine: str, at: float) -> bool:
        digest, since = self._installed.get(machine, ("", math.inf))
        if not self._new:
            return at < self.epoch + since  # all of the recording is harmed, but for who goes back
        return digest == self._new and at >= self.epoch + since

    def _harm(
        self, harm: Harm, reading: Reading, said: Mapping[tuple[str, str, float], Reading], share: float
    ) -> Reading:
        key, value = reading.key, reading.value or 0.0
        if harm.kind == "dead" and key not in self._probes:
            return (
                replace(reading, value=None, gap=GapKind.NO_ANSWER, buckets=(), parts=()) if share == 1.0 else reading
            )
        if harm.kind in {"dead", "probes"}:
            fails = key in self._probes and value == 1.0 and self._dice.random() < harm.much * share
            detail = "no answer" if harm.kind == "dead" else "HTTP 503"
            return replace(reading, value=0.0, detail=detail) if fails else reading
        if harm.kind == "latency":
            return _slower(reading, harm.much, share) if key in self._slow and reading.buckets else reading
        total = said.get((self._totals.get(key, ""), reading.subject, reading.at))
        if total is None or total.value is None:
            return reading
        more = binomial(self._dice, round(max(0.0, total.value - value)), harm.much * share)
        return replace(reading, value=value + more, parts=())


def rounds_of(recording: Recording, policy: Policy) -> Iterator[tuple[float, str, list[Reading]]]:
    """Readings of each signal of the policy, as they were read together, in the order of when a round was complete."""
    every_s = {signal.name: signal.every_s for signal in policy.signals}
    found: list[tuple[float, str, list[Reading]]] = []
    unfinished: dict[str, list[Reading]] = {}
    for reading in recording.readings:
        signal = reading.key.partition(".")[0]
        if signal not in every_s:
            continue
        this = unfinished.setdefault(signal, [])
        known = {(r.key, r.subject) for r in this}
        if this and (reading.at - this[0].at > APART * every_s[signal] or (reading.key, reading.subject) in known):
            found.append((this[-1].at, signal, this))
            this = unfinished[signal] = []
        this.append(reading)
    found += [(this[-1].at, signal, this) for signal, this in unfinished.items()]
    yield from sorted(found, key=lambda row: row[0])


def _slower(reading: Reading, factor: float, share: float) -> Reading:
    """A histogram of which such a share of requests took so many times as long; in a bucket, evenly in logarithm."""
    total = reading.buckets[-1][1]
    moved = [
        (bound, count + share * (_below(reading.buckets, bound / factor) - count))
        if math.isfinite(bound)
        else (bound, total)
        for bound, count in reading.buckets
    ]
    return replace(reading, buckets=tuple((bound, float(round(count))) for bound, count in moved))


def _below(buckets: Sequence[tuple[float, float]], limit: float) -> float:
    """How many took less than that."""
    first_bound, first_count = buckets[0]
    if limit <= first_bound:
        return first_count * max(0.0, limit) / first_bound if first_bound > 0 else 0.0
    for (low, below), (high, count) in pairwise(buckets):
        if limit <= high:
            part = (math.log(limit / low) / math.log(high / low)) if math.isfinite(high) and low > 0 else 0.0
            return below + part * (count - below)
    return buckets[-1][1]
