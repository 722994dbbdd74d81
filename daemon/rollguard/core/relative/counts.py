"""A round of readings as what each machine counted, machines of the candidate and others apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from rollguard.core import ratios
from rollguard.core.baseline import Buckets
from rollguard.core.evidence.strata import Stratum, Tally
from rollguard.core.fleet import Tenure
from rollguard.core.gauges import is_value, lives_of
from rollguard.core.judging import Evidence, scopes_of
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Gauge, Probes, Quantile, Ratio
from rollguard.core.signals import Scope

Round = Mapping[tuple[str, str], Reading]
"""What one round of one signal said, by key and subject."""
NOWHERE: Mapping[str, str] = MappingProxyType({})


class Count(NamedTuple):
    """What one machine counted from ``since`` to ``until``: ``bad`` of ``of`` requests of users, or ``buckets``; or one
    value of a gauge, which is ``bad``.

    ``own`` of a histogram's were the guard's own probes. ``new``: on the candidate's image; ``cold``: not settled yet,
    ``age_s`` is how long it had been up at the end.
    """

    machine: str
    since: float
    until: float
    new: bool
    age_s: float
    of: float
    bad: float = 0.0
    buckets: Buckets = ()
    own: float = 0.0


class Counts(NamedTuple):
    """One scrape interval of one measure: ``at`` is its end; it covers ``gap`` intervals of ``dt_s``."""

    at: float
    dt_s: float
    gap: float
    every: tuple[Count, ...]
    regions: Mapping[str, str] = NOWHERE
    """Machine → region, where there are several."""

    @property
    def instant(self) -> bool:
        """Whether these are probes: of an instant, rather than of an interval."""
        return all(count.since == count.until for count in self.every)

    def by_region(self, stratum: Stratum) -> list[Stratum]:
        """The same, region by region: a region's outage must not look like a release that came there first."""
        if not self.regions or not stratum.old:
            return [stratum]
        there = sorted({self.regions.get(t.machine, "") for t in (*stratum.new, *stratum.old)})
        return [
            stratum._replace(
                new=tuple(t for t in stratum.new if self.regions.get(t.machine, "") == region),
                old=tuple(t for t in stratum.old if self.regions.get(t.machine, "") == region),
            )
            for region in there
        ]

    def stratum(self, settle_s: float, bound_s: float | None, base_own: float = 0.0) -> Stratum | None:
        """Settled machines of the candidate, and the others; at a histogram's bound, who was slower than that.

        None where a histogram does not have that bound. ``base_own``: the share of the guard's probes in the baseline.
        """
        new: list[Tally] = []
        old: list[Tally] = []
        for count in self.every:
            tally = _tally(count, bound_s, base_own)
            if tally is None:
                return None
            if not count.new:
                old.append(tally)
            elif count.age_s - (count.until - count.since) >= settle_s:
                new.append(tally)
        return Stratum(at=self.at, dt_s=self.dt_s, gap=self.gap, new=tuple(new), old=tuple(old))


def _tally(count: Count, bound_s: float | None, base_own: float) -> Tally | None:
    if bound_s is None:
        return Tally(count.machine, count.bad, count.of)
    below = next((upto for bound, upto in count.buckets if bound == bound_s), None)
    if below is None:
        return None
    slow = count.of - below
    # The guard's own probes may be fast ones: where they are a smaller part than they were, more of the rest is slow.
    users, before = 1.0 - count.own / count.of if count.of else 1.0, 1.0 - base_own
    if before > 0 and users > before:
        slow *= before / users
    return Tally(count.machine, min(count.of, max(0.0, slow)), count.of)


def counted(
    of: Ratio | Quantile | Probes | Gauge, readings: Sequence[Reading], said: Round, evidence: Evidence, every_s: float
) -> Counts | None:
    """What a round says of a measure; None where it says nothing that can be counted. ``said`` are its readings by
    place; of probes there may be several of one machine, one after the other.
    """
    if isinstance(of, Probes):
        asked = _probed(of, readings, evidence)
        if not asked:
            return None
        machines = [c.machine for c in asked]
        times = len(asked) if len(set(machines)) == 1 else max(Counter(machines).values())
        return Counts(max([c.until for c in asked]), every_s * times, 1.0, tuple(asked), _regions(evidence))
    if isinstance(of, Gauge):
        values = _measured(of, said, evidence)
        newest = max((c.until for c in values), default=0.0)
        return Counts(newest, every_s, 1.0, tuple(values), _regions(evidence)) if values else None
    found = _increments(of, said, evidence)
    if not found:
        return None
    since, until = min([c.since for c in found]), max([c.until for c in found])
    span_s = until - since
    if not 0.0 < span_s < math.inf:
        return None
    return Counts(until, min(every_s, span_s), max(1.0, span_s / every_s), tuple(found), _regions(evidence))


def _regions(evidence: Evidence) -> Mapping[str, str]:
    """Where each machine is; nothing where nobody is on another image, or all are in one place."""
    view = evidence.view
    if not view.others:
        return NOWHERE
    found = {t.machine: t.region for t in (*view.cohort, *view.others)}
    return found if len(set(found.values())) > 1 else NOWHERE


def _lives(evidence: Evidence) -> Iterable[tuple[Tenure, bool]]:
    view = evidence.view
    yield from ((t, True) for t in view.cohort)
    yield from ((t, False) for t in view.others)


def _increments(of: Ratio | Quantile, said: Round, evidence: Evidence) -> list[Count]:
    """Increases wholly inside a machine's present life; of the edge while every machine runs the candidate."""
    key, view = of.total if isinstance(of, Ratio) else of.key, evidence.view
    lives = [(t.machine, t.since, new) for t, new in _lives(evidence)]
    if view.whole:
        lives.append((EDGE, view.whole_since, True))
    found = [
        (subject, reading, since, new)
        for subject, since, new in lives
        if (reading := said.get((key, subject))) is not None and _sound(reading, since)
    ]
    if not found:
        return []
    spans = {subject: [(reading.since or 0.0, reading.to)] for subject, reading, _, _ in found}
    own = ratios.own_of(evidence.policy, key, view, evidence.windows, spans)
    counts: list[Count] = []
    for subject, reading, since, new in found:
        probes, probes_bad = own.get(subject, (0.0, 0.0))
        total, begun, age_s = reading.value or 0.0, reading.since or 0.0, reading.to - since
        if isinstance(of, Quantile):
            if reading.buckets and total > 0:
                count = Count(subject, begun, reading.to, new, age_s, total, 0.0, reading.buckets, min(total, probes))
                counts.append(count)
            elif total == 0:
                counts.append(Count(subject, begun, reading.to, new, age_s, 0.0))
            continue
        bad = said.get((of.bad, subject))
        if bad is None or not _sound(bad, since):
            continue  # unread is not zero
        users = max(0.0, total - probes)
        failed = min(users, max(0.0, (bad.value or 0.0) - probes_bad))
        counts.append(Count(subject, begun, reading.to, new, age_s, users, failed))
    return counts


def _measured(of: Gauge, said: Round, evidence: Evidence) -> list[Count]:
    """Each machine's value, one that was made while it ran what it runs."""
    lives = lives_of(of, evidence.policy, evidence.view)
    return [
        Count(subject, r.at, r.at, new, r.at - since, 1.0, r.value or 0.0)
        for subject, (since, new) in lives.items()
        if (r := said.get((of.key, subject))) is not None and is_value(r) and r.at >= since
    ]


def _sound(reading: Reading, life_since: float) -> bool:
    """Whether it is an increase that lies wholly inside a life."""
    value, since = reading.value, reading.since
    return (
        reading.gap is None
        and value is not None
        and since is not None
        and life_since <= since < reading.to
        and 0.0 <= value < math.inf
    )


def _probed(of: Probes, readings: Sequence[Reading], evidence: Evidence) -> list[Count]:
    """Each machine's probes; where no machine is asked by name, the edge's while all run the candidate."""
    signal, view = evidence.policy.signal(of.signal), evidence.view
    if Scope.MACHINE in scopes_of(signal):
        lives = {t.machine: (t.since, new) for t, new in _lives(evidence)}
    else:
        lives = {EDGE: (view.whole_since, True)} if view.whole else {}
    found: list[Count] = []
    for reading in readings:
        life, at = lives.get(reading.subject), reading.at
        if life is not None and reading.key == of.signal and reading.gap is None and at >= life[0]:
            found.append(Count(reading.subject, at, at, life[1], at - life[0], 1.0, float(reading.value == 0.0)))
    return found
