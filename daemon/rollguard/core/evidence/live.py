"""The live test of one count signal: machines on the candidate's image against those on the old one, while both serve.

    live = Live(LiveTerms.errors())                       # or LiveTerms.latency(bound.limit, bound.baseline)
    live.take([stratum, ...], levels)                     # one scrape; one stratum per region
    live.fired_at                                         # since when it says "bad release" by itself, or None
    live.agreed_at                                        # since when it agrees with the frozen-baseline test, or None
    live.log_evidence, live.terms.need                    # what is shown as odds, and what it takes
    live.new, live.old, live.above                        # (bad, of) so far on each side; new machines above the rest
    old_are_bad_too(strata, limit)                        # freeze the frozen-baseline test: they all suffer
    only_new_are_bad(strata, levels, limit)               # let it go twice as fast: the others would show it

A release is bad during its deploy where ``fired_at`` is set, or where the frozen-baseline test has fired in this deploy
and ``agreed_at`` is set. Both are latched. Both need that more than half of the new machines seen so far are surely
above what the old ones allow, each by itself: two sick machines of ten are not a release. A missed scrape needs no
call, nor does one that may not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from rollguard.core.evidence.limits import Trial, lower
from rollguard.core.evidence.machines import MACHINES_MAX, Levels, possible
from rollguard.core.evidence.pairs import NOTHING, ODDS, STAKES_OVER_S, Mixture, added, pair_factors
from rollguard.core.evidence.strata import Stratum, Tally

ALPHA_LIVE = 1 / 2000
"""The budget of all live tests of a deploy together; the frozen-baseline test has as much for itself."""
WEIGHT_ERRORS, WEIGHT_LATENCY, WEIGHT_PROBES = 0.4, 0.15, 0.3
MORE = math.log(len(ODDS)) + 0.7
GAP_MAX = 2.0
BLATANT_N, BLATANT = 4.0, 0.35
APART = 1.3
"""The tolerated ratio is at least so many times what machines stray by themselves (fires)."""
AGREE_RATIO, AGREE_APART, AGREE_MORE = 1.3, 1.1, 0.5
AGREE_NEED = math.log(3 / 0.01)
SURELY = 3.0
"""Standard deviations. Without them a healthy machine is above what is allowed by chance, often enough to make up a
majority with a sick one: with one of three sick, 53 of 100 deploys were called bad, and with them none was. A bad
release takes no longer: it shows on each of its machines.
"""
TOO_BAD, SHOWN, UNSHOWN = 2.0, 3.0, 0.3
"""Old machines: so many bad ones are bad too; where so many were due, at most this share of them is not bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTerms:
    """What is bet: the new machines' share is at most ``ratio`` times the old ones' plus ``more``.

    ``alpha`` is the budget of all live tests, ``weight`` this one's part. Evidence takes ``least_s`` to come together,
    ``blatant_s`` where most fails; one scrape counts for about ``size`` events at most.
    """

    ratio: float
    more: float
    size: float
    weight: float
    alpha: float = ALPHA_LIVE
    least_s: float = 30.0
    blatant_s: float = 15.0

    @classmethod
    def errors(cls, *, add: float = 0.0, factor: float = 1.0, alpha: float = ALPHA_LIVE) -> LiveTerms:
        """Errors of requests. ``add`` (a ratio) and ``factor`` are the policy's margin: it can only widen."""
        return cls(ratio=max(2.0, factor), more=max(0.001, add), size=6.0, weight=WEIGHT_ERRORS, alpha=alpha)

    @classmethod
    def latency(cls, limit: float, baseline: float, *, alpha: float = ALPHA_LIVE) -> LiveTerms:
        """Requests slower than one bound of the histogram: ``limit`` is tolerated of them, ``baseline`` was usual."""
        ratio = min(max(limit / baseline, 1.5), 6.0) if baseline > 0 else 6.0
        return cls(ratio=ratio, more=0.0, size=14.0, weight=WEIGHT_LATENCY, alpha=alpha)

    @property
    def need(self) -> float:
        """The log-evidence at which it fires."""
        return math.log(1 / (self.alpha * self.weight))


@dataclass(slots=True)
class Live:
    """The live test of one signal in one deploy. Impossible counts and a time that does not go on are no evidence."""

    terms: LiveTerms
    at: float | None = None
    fires: Mixture = field(default_factory=Mixture)
    agrees: Mixture = field(default_factory=Mixture)
    fired_at: float | None = None
    agreed_at: float | None = None
    new: Trial = (0.0, 0.0)
    old: Trial = (0.0, 0.0)
    machines: dict[str, Trial] = field(default_factory=dict)
    """Of each new machine: its bad ones, and how many the old machines of the same scrapes would allow it."""

    def take(self, strata: Sequence[Stratum], levels: Levels) -> None:
        """Count one scrape, given as one stratum per region: compared inside a region, added over regions."""
        regions = [
            (s, _counted(s.new), _counted(s.old))
            for s in strata
            if (self.at is None or s.at > self.at) and 0 < s.dt_s < math.inf and math.isfinite(s.at)
        ]
        if not regions:
            return
        at, dt_s = max(s.at for s, _, _ in regions), min(s.dt_s for s, _, _ in regions)
        elapsed_s = dt_s if self.at is None or not self.fires.begun else min(at - self.at, STAKES_OVER_S)
        self.at = at
        if not self.fires.begun and not any(new for _, new, _ in regions):
            return
        firing, agreeing = self._factors([(new, old) for _, new, old in regions], levels)
        bad, of = _sums(chain.from_iterable(new for _, new, _ in regions))
        least_s = self.terms.blatant_s if of >= BLATANT_N and bad >= BLATANT * of else self.terms.least_s
        gap = max((min(s.gap, GAP_MAX) for s, _, _ in regions if s.gap > 1), default=1.0)
        self.fires.take(firing, elapsed_s, (self.terms.need + MORE) * dt_s * gap / least_s)
        self.agrees.take(agreeing, elapsed_s)
        self._conclude(at, any(old for _, _, old in regions))

    @property
    def log_evidence(self) -> float:
        """Of the test that fires by itself; it takes ``terms.need``."""
        return self.fires.log_evidence

    @property
    def above(self) -> int:
        """How many of the new ``machines`` are surely above what the old ones allow, over the deploy."""
        return sum(lower(bad, 1.0, SURELY) > allowed for bad, allowed in self.machines.values())

    @property
    def most_are_above(self) -> bool:
        """Whether that is more than half of them."""
        return 2 * self.above > len(self.machines)

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        terms = self.terms
        return [
            [terms.ratio, terms.more, terms.size, terms.weight, terms.alpha, terms.least_s, terms.blatant_s],
            [self.at, self.fired_at, self.agreed_at],
            self.fires.to_plain(),
            self.agrees.to_plain(),
            [*self.new, *self.old],
            {machine: list(trial) for machine, trial in self.machines.items()},
        ]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Live:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        terms, instants, fires, agrees, sums, machines = plain
        ratio, more, size, weight, alpha, least_s, blatant_s = (float(value) for value in terms)
        at, fired_at, agreed_at = (None if value is None else float(value) for value in instants)
        new_bad, new_of, old_bad, old_of = (float(value) for value in sums)
        if not isinstance(machines, dict):
            raise TypeError("machines are no table")
        return cls(
            LiveTerms(
                ratio=ratio,
                more=more,
                size=size,
                weight=weight,
                alpha=alpha,
                least_s=least_s,
                blatant_s=blatant_s,
            ),
            at,
            Mixture.from_plain(fires),
            Mixture.from_plain(agrees),
            fired_at,
            agreed_at,
            (new_bad, new_of),
            (old_bad, old_of),
            {str(machine): (float(bad), float(allowed)) for machine, (bad, allowed) in machines.items()},
        )

    def _factors(
        self, regions: Sequence[tuple[Sequence[Tally], Sequence[Tally]]], levels: Levels
    ) -> tuple[Sequence[float], Sequence[float]]:
        """The log-evidence of this scrape, for firing and for agreeing; the machines' own counts are kept."""
        terms, firing, agreeing = self.terms, [], []
        for new, old in regions:
            (k1, r1), (k0, r0) = _sums(new), _sums(old)
            n1, n0 = levels.exposure(new), levels.exposure(old)
            self._note(new, levels, k0 / n0 if n0 else None)
            if not (n1 and n0):
                continue
            self.new, self.old = _plus(self.new, (k1, r1)), _plus(self.old, (k0, r0))
            apart = levels.envelope(len(new), len(old))
            ratio, agreed = max(terms.ratio, APART * apart), max(AGREE_RATIO, AGREE_APART * apart)
            more, size = terms.more, terms.size
            firing.append(pair_factors(k1=k1, n1=n1, r1=r1, k0=k0, n0=n0, ratio=ratio, more=more, size=size))
            more *= AGREE_MORE
            agreeing.append(pair_factors(k1=k1, n1=n1, r1=r1, k0=k0, n0=n0, ratio=agreed, more=more, size=size))
        return (added(firing), added(agreeing)) if firing else (NOTHING, NOTHING)

    def _note(self, new: Sequence[Tally], levels: Levels, level: float | None) -> None:
        """What each new machine did, and might have done, scrape by scrape: an outage moves both."""
        for tally in new:
            if tally.machine not in self.machines and len(self.machines) >= MACHINES_MAX:
                continue
            seen = self.machines.get(tally.machine, (0.0, 0.0))
            if level is not None:
                allowed = (self.terms.ratio * level * levels.ratio(tally.machine) + self.terms.more) * tally.of
                seen = (seen[0] + tally.bad, seen[1] + allowed)
            self.machines[tally.machine] = seen

    def _conclude(self, at: float, old_usable: bool) -> None:
        if not (old_usable and self.most_are_above):
            return
        if self.fired_at is None and self.fires.log_evidence >= self.terms.need:
            self.fired_at = at
        if self.agreed_at is None and self.agrees.log_evidence >= AGREE_NEED:
            self.agreed_at = at


def old_are_bad_too(strata: Iterable[Stratum], limit: float) -> bool:
    """Whether the old machines are surely above the ``limit`` as well: then it is not the release."""
    bad, of = _sums(tally for s in strata for tally in _counted(s.old))
    return bad >= TOO_BAD and lower(bad, of, 1.0) > limit


def only_new_are_bad(strata: Iterable[Stratum], levels: Levels, limit: float) -> bool:
    """Whether the new machines are above the ``limit``, and the old ones would show it if it were not the release."""
    bad = of = due = shown = 0.0
    for stratum in strata:
        new, old = _counted(stratum.new), _counted(stratum.old)
        (k1, r1), n1 = _sums(new), levels.exposure(new)
        bad, of = bad + k1, of + r1
        if n1 > 0:
            due += levels.exposure(old) * k1 / n1
            shown += _sums(old)[0]
    return bad > limit * of and due >= SHOWN and shown <= UNSHOWN * due


def _counted(tallies: Iterable[Tally]) -> list[Tally]:
    return [t for t in tallies if possible(t.bad, t.of)]


def _sums(tallies: Iterable[Tally]) -> Trial:
    """Bad ones and all, whatever the order they come in."""
    trials = [(t.bad, t.of) for t in tallies]
    return math.fsum([bad for bad, _ in trials]), math.fsum([of for _, of in trials])


def _plus(one: Trial, other: Trial) -> Trial:
    return one[0] + other[0], one[1] + other[1]
