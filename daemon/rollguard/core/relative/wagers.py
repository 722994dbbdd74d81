"""One bound with its bet against the past and, where machines can be compared side by side, its live test."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.limits import lower, upper
from rollguard.core.evidence.live import Live, old_are_bad_too, only_new_are_bad
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.matched import Asked, Matched
from rollguard.core.evidence.strata import Stratum, Tally, total
from rollguard.core.relative.counts import Counts

SEVERE_N, SEVERE = 4.0, 0.35
"""So many requests and such a part of them failing are no cold start."""
STRATA_KEPT = 5
"""Over so many intervals at least a single sick machine is looked for."""
HINT = math.log(5.0)
"""Odds of five are nothing to act on, but no calm either."""
SURELY_Z = 1.65
APART, NEARLY = 8.0, 2.0
"""A machine that is surely so many times worse than all others together is sick by itself, if those are not surely
beyond so many times what is tolerated.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What one bet is about: the share of bad ones, or at a histogram's ``bound_s`` of slower ones, that is tolerated.

    ``baseline`` is what it was before, ``base_own`` the part of the baseline's requests that were the guard's probes.
    ``lifted`` says why more is tolerated at this hour of the day.
    """

    bound_s: float | None
    limit: float
    baseline: float
    base_own: float = 0.0
    lifted: str = ""


@dataclass(slots=True)
class Wager:
    """One bound with its bet against the past and, where machines can be compared side by side, its live test."""

    bound: Bound
    terms: Terms
    bet: Bet = field(default_factory=Bet)
    live: Live | Matched | None = None
    levels: Levels = field(default_factory=Levels)
    old_too: bool = False
    strata: deque[Stratum] = field(default_factory=lambda: deque(maxlen=STRATA_KEPT))
    log_evidence: float = -math.inf
    """That of the bet against the past, as of the last interval."""
    suspects: dict[str, list[float]] = field(default_factory=dict)
    """What each machine of the candidate counted, bad ones and all, since there is more than a hint against it: what it
    is to be convicted by.
    """

    @property
    def counted(self) -> bool:
        """Whether the candidate's machines counted anything of late."""
        return any(stratum.new for stratum in self.strata)

    @property
    def strength(self) -> float:
        """How far the log-evidence is beyond what it needs."""
        return self.log_evidence - self.terms.need

    def idle(self, span_s: float, watch_s: float) -> None:
        """Time in which nothing was counted."""
        self.bet.idle(span_s, watch_s)
        self.log_evidence = self.bet.log_evidence

    def take(self, stratum: Stratum, regions: Sequence[Stratum], watch_s: float, *, frozen: bool) -> None:
        """Count one interval; ``regions`` are the same machines, region by region."""
        self.strata.append(stratum)
        bad, of = total(stratum.new)
        self.old_too = bool(stratum.old) and old_are_bad_too(regions, self.bound.limit)
        if frozen or self.old_too:
            self.bet.idle(stratum.dt_s * stratum.gap, watch_s)
        else:
            alone = self.agreed or (bool(stratum.old) and only_new_are_bad(regions, self.levels, self.bound.limit))
            self.bet.count(bad, of, self.terms, stratum.dt_s, stratum.gap, watch_s, 2.0 if alone else 1.0)
        self.log_evidence = self.bet.log_evidence
        if not frozen:
            self._suspect()
        if frozen or not stratum.old:
            return
        if isinstance(self.live, Live):
            self.live.take(regions, self.levels)
        elif self.live is not None:
            self.live.take(stratum.at, [Asked(*total(s.new), *total(s.old)) for s in regions])

    def _suspect(self) -> None:
        """Keep who did it: a sick machine that is well again by now did it all the same."""
        if self.log_evidence < HINT:
            self.suspects = {}
            return
        for stratum in [self.strata[-1]] if self.suspects else self.strata:
            for tally in stratum.new:
                row = self.suspects.setdefault(tally.machine, [0.0, 0.0])
                row[0] += tally.bad
                row[1] += tally.of

    def is_over(self, since: float) -> bool:
        """Whether what was counted after that, in the newest three intervals, is not surely beyond the bound: a single
        bad one never is.
        """
        newest = [stratum for stratum in self.strata if stratum.at > since][-3:]
        bad, of = total([tally for stratum in newest for tally in stratum.new])
        return bad < 2.0 or lower(bad, of, SURELY_Z) <= self.bound.limit

    @property
    def shown(self) -> bool:
        """Whether machines on the old image show that it is the release."""
        if self.live is None:
            return False
        return self.live.fired_at is not None or (self.agreed and self.strength >= 0.0)

    @property
    def agreed(self) -> bool:
        """Whether machines on the old image showed in this deploy that it may be the release: what the past says of it
        need not wait for a blip to pass.
        """
        return self.live is not None and self.live.agreed_at is not None

    def counts_cold(self, counts: Counts) -> Stratum | None:
        """Machines that are not settled yet count where nearly everything fails: that is no cold start."""
        every = counts.stratum(0.0, None) if self.bound.bound_s is None else None
        bad, of = total(every.new) if every is not None else (0.0, 0.0)
        return every if of >= SEVERE_N and bad >= SEVERE * of else None

    def is_worse(self, tally: Tally) -> bool:
        """Whether a machine does worse than tolerated, by more than chance."""
        return lower(tally.bad, tally.of, 1.0) > self.bound.limit

    def sick(self) -> tuple[str, ...]:
        """The machine that alone does it: without it the others, who had something to show, are within the bound; or
        it is so much worse than they are that they had enough to show whatever the bound is.
        """
        by_machine = self.suspects
        if len(by_machine) < 2:
            return ()
        limit = self.bound.limit
        worst = max(by_machine, key=lambda m: by_machine[m][0] - limit * by_machine[m][1])
        bad = sum(row[0] for m, row in by_machine.items() if m != worst)
        of = sum(row[1] for m, row in by_machine.items() if m != worst)
        # Looked at after every scrape: the rest must be surely beyond the bound before it counts as bad as well.
        least = lower(bad, of, SURELY_Z)
        within = of * limit >= 1.0 and least <= limit
        own_bad, own_of = by_machine[worst]
        apart = APART * upper(bad, of, SURELY_Z) <= lower(own_bad, own_of, SURELY_Z) and least <= NEARLY * limit
        return (worst,) if within or apart else ()

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        bound, terms, live = self.bound, self.terms, self.live
        return {
            "bound": [bound.bound_s, bound.limit, bound.baseline, bound.base_own, bound.lifted],
            "terms": [terms.limit, terms.alpha, terms.size, terms.least_s, terms.blatant_s],
            "bet": self.bet.to_plain(),
            "live": None if live is None else [type(live).__name__, live.to_plain()],
            "levels": self.levels.to_plain(),
            "old_too": self.old_too,
            "strata": strata_plain(self.strata),
            "suspects": self.suspects,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Wager:
        """What ``to_plain`` gave."""
        bound_s, limit, baseline, base_own, lifted = plain["bound"]
        most, alpha, size, least_s, blatant_s = plain["terms"]
        live: Live | Matched | None = None
        if plain["live"] is not None:
            kind, kept = plain["live"]
            live = Matched.from_plain(kept) if kind == "Matched" else Live.from_plain(kept)
        bet = Bet.from_plain(plain["bet"])
        return cls(
            Bound(
                bound_s=None if bound_s is None else float(bound_s),
                limit=float(limit),
                baseline=float(baseline),
                base_own=float(base_own),
                lifted=str(lifted),
            ),
            _terms_of([float(number) for number in (most, alpha, size, least_s, blatant_s)]),
            bet,
            live,
            Levels.from_plain(plain["levels"]),
            bool(plain["old_too"]),
            strata_of(plain["strata"]),
            bet.log_evidence,
            {str(machine): [float(bad), float(of)] for machine, (bad, of) in plain["suspects"].items()},
        )


def _terms_of(numbers: Sequence[float]) -> Terms:
    limit, alpha, size, least_s, blatant_s = numbers
    if not (0.0 < alpha < 1.0 and all(0.0 < number < math.inf for number in (size, least_s, blatant_s))):
        raise ValueError("no terms of a bet")
    return Terms(limit=limit, alpha=alpha, size=size, least_s=least_s, blatant_s=blatant_s)


def strata_plain(strata: Iterable[Stratum]) -> list[Any]:
    """As JSON values."""
    return [[s.at, s.dt_s, s.gap, _tallies(s.new), _tallies(s.old)] for s in strata]


def _tallies(some: Sequence[Tally]) -> list[list[Any]]:
    return [[t.machine, t.bad, t.of] for t in some]


def strata_of(plain: Sequence[Any]) -> deque[Stratum]:
    """What ``strata_plain`` gave."""
    strata = [
        Stratum(
            at=float(at),
            dt_s=float(dt_s),
            gap=float(gap),
            new=tuple(Tally(str(m), float(bad), float(of)) for m, bad, of in new),
            old=tuple(Tally(str(m), float(bad), float(of)) for m, bad, of in old),
        )
        for at, dt_s, gap, new, old in plain
    ]
    return deque(strata, STRATA_KEPT)
