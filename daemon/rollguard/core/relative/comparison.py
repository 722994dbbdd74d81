"""One rule against one release: its bets, what they stand at, and in which words."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.limits import lower
from rollguard.core.evidence.live import Live, old_are_bad_too, only_new_are_bad
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.matched import Asked, Matched
from rollguard.core.evidence.strata import Stratum, Tally, total
from rollguard.core.finding import Finding
from rollguard.core.relative.counts import Counts

SEVERE_N, SEVERE = 4.0, 0.35
"""So many requests and such a part of them failing are no cold start."""
STRATA_KEPT = 5
"""Over so many intervals a single sick machine is looked for."""
SETTLE_S_MAX = 180.0
PAGE_NEED = math.log(1 / 0.02)
"""The log-evidence from which on people should look."""
EARLY_S = 75.0
"""Nobody is paged about a release that is younger: a blip is over by then."""
GROWS_S = 45.0
"""Evidence that grows as fast as it may has become enough to act on by then: nobody need be paged before."""


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
            alone = bool(stratum.old) and only_new_are_bad(regions, self.levels, self.bound.limit)
            self.bet.count(bad, of, self.terms, stratum.dt_s, stratum.gap, watch_s, 2.0 if alone else 1.0)
        self.log_evidence = self.bet.log_evidence
        if frozen or not stratum.old:
            return
        if isinstance(self.live, Live):
            self.live.take(regions, self.levels)
        elif self.live is not None:
            self.live.take(stratum.at, [Asked(*total(s.new), *total(s.old)) for s in regions])

    @property
    def shown(self) -> bool:
        """Whether machines on the old image show that it is the release."""
        if self.live is None:
            return False
        agreed = isinstance(self.live, Live) and self.live.agreed_at is not None
        return self.live.fired_at is not None or (agreed and self.strength >= 0.0)

    def sick(self) -> tuple[str, ...]:
        """The machine that alone does it: without it the others, who had something to show, are within the bound."""
        by_machine: dict[str, list[float]] = {}
        for stratum in self.strata:
            for tally in stratum.new:
                row = by_machine.setdefault(tally.machine, [0.0, 0.0])
                row[0] += tally.bad
                row[1] += tally.of
        if len(by_machine) < 2:
            return ()
        limit = self.bound.limit
        worst = max(by_machine, key=lambda m: by_machine[m][0] - limit * by_machine[m][1])
        bad = sum(row[0] for m, row in by_machine.items() if m != worst)
        of = sum(row[1] for m, row in by_machine.items() if m != worst)
        return (worst,) if of * limit >= 1.0 and bad <= limit * of else ()


@dataclass(slots=True)
class Comparison:
    """All bets of one rule against one release.

    ``since``: there is more against it than chance since then, ``suspicious_at``: enough that people should look,
    ``won_at``: enough to act.
    ``rearmed``: the watch is over and the bets were made anew with a fresh baseline; they only page now.
    """

    wagers: list[Wager]
    watch_s: float
    armed_at: float
    rearmed: bool = False
    last_at: float | None = None
    requests: float = 0.0
    since: float | None = None
    suspicious_at: float | None = None
    won_at: float | None = None
    calm: Finding | None = None
    """What was said last, where only another interval can change it."""

    def take(self, counts: Counts, settle_s: float, *, frozen: bool) -> None:
        """Count one interval of this rule's measure; what is not later than the last one counts for nothing."""
        if counts.at <= (self.armed_at if self.last_at is None else self.last_at):
            return
        elapsed_s = counts.at - (self.armed_at if self.last_at is None else self.last_at)
        if counts.instant and elapsed_s < counts.dt_s:  # asked again at once: no more evidence in the same time
            counts = replace(counts, dt_s=elapsed_s)
        idle_s = elapsed_s - counts.dt_s
        self.last_at, self.calm = counts.at, None
        self.requests += sum(count.of for count in counts.every if count.new)
        for wager in self.wagers:
            if idle_s > 0.0:
                wager.idle(idle_s, self.watch_s)
            stratum = self._stratum(counts, settle_s, wager.bound)
            if stratum is None:
                wager.idle(counts.dt_s, self.watch_s)
            else:
                wager.take(stratum, counts.by_region(stratum), self.watch_s, frozen=frozen)

    def _stratum(self, counts: Counts, settle_s: float, bound: Bound) -> Stratum | None:
        """Cold machines count where nearly everything fails: that is no cold start."""
        if bound.bound_s is None and settle_s > 0.0:
            every = counts.stratum(0.0, None)
            if every is not None:
                bad, of = total(every.new)
                if of >= SEVERE_N and bad >= SEVERE * of:
                    return every
        return counts.stratum(settle_s, bound.bound_s, bound.base_own)

    @property
    def strongest(self) -> Wager | None:
        """The bet that is nearest to being won, or beyond it."""
        return max(self.wagers, key=lambda w: w.strength, default=None)

    @property
    def won(self) -> bool:
        """Whether the past alone convicts the release."""
        return any(w.strength >= 0.0 for w in self.wagers)

    @property
    def side_by_side(self) -> Wager | None:
        """The bet by which machines on the old image show that it is the release, if one does."""
        return next((wager for wager in self.wagers if wager.shown), None)

    @property
    def suspicious(self) -> bool:
        """Whether people should look, though it is not enough to act."""
        return any(w.log_evidence >= PAGE_NEED for w in self.wagers)

    def cold_s(self, counts: Counts) -> float:
        """How old the oldest young machine is that does worse than tolerated by more than chance; 0: none does."""
        found = 0.0
        for wager in self.wagers:
            stratum = counts.stratum(0.0, wager.bound.bound_s, wager.bound.base_own)
            for tally in stratum.new if stratum is not None else ():
                age_s = next(c.age_s for c in counts.every if c.machine == tally.machine)
                if age_s <= SETTLE_S_MAX and lower(tally.bad, tally.of, 1.0) > wager.bound.limit:
                    found = max(found, age_s)
        return found

    # -- kept across restarts --------------------------------------------------------------------------------------

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "watch_s": self.watch_s,
            "armed_at": self.armed_at,
            "rearmed": self.rearmed,
            "last_at": self.last_at,
            "requests": self.requests,
            "since": self.since,
            "suspicious_at": self.suspicious_at,
            "won_at": self.won_at,
            "wagers": [_wager_plain(w) for w in self.wagers],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Comparison:
        """What ``to_plain`` gave."""
        return cls(
            [_wager(w) for w in plain["wagers"]],
            float(plain["watch_s"]),
            float(plain["armed_at"]),
            bool(plain["rearmed"]),
            plain["last_at"],
            float(plain["requests"]),
            plain["since"],
            plain["suspicious_at"],
            plain["won_at"],
        )


def _wager_plain(wager: Wager) -> dict[str, Any]:
    bound, terms, live = wager.bound, wager.terms, wager.live
    return {
        "bound": [bound.bound_s, bound.limit, bound.baseline, bound.base_own, bound.lifted],
        "terms": [terms.limit, terms.alpha, terms.size, terms.least_s, terms.blatant_s],
        "bet": wager.bet.to_plain(),
        "live": None if live is None else [type(live).__name__, live.to_plain()],
        "levels": wager.levels.to_plain(),
        "old_too": wager.old_too,
        "strata": [[s.at, s.dt_s, s.gap, _tallies(s.new), _tallies(s.old)] for s in wager.strata],
    }


def _tallies(some: Sequence[Tally]) -> list[list[Any]]:
    return [[t.machine, t.bad, t.of] for t in some]


def _wager(plain: Mapping[str, Any]) -> Wager:
    bound_s, limit, baseline, base_own, lifted = plain["bound"]
    most, alpha, size, least_s, blatant_s = plain["terms"]
    live: Live | Matched | None = None
    if plain["live"] is not None:
        kind, kept = plain["live"]
        live = Matched.from_plain(kept) if kind == "Matched" else Live.from_plain(kept)
    strata = [
        Stratum(
            at=at,
            dt_s=dt_s,
            gap=gap,
            new=tuple(Tally(*tally) for tally in new),
            old=tuple(Tally(*tally) for tally in old),
        )
        for at, dt_s, gap, new, old in plain["strata"]
    ]
    bet = Bet.from_plain(plain["bet"])
    return Wager(
        Bound(bound_s=bound_s, limit=limit, baseline=baseline, base_own=base_own, lifted=str(lifted)),
        Terms(limit=most, alpha=alpha, size=size, least_s=least_s, blatant_s=blatant_s),
        bet,
        live,
        Levels.from_plain(plain["levels"]),
        plain["old_too"],
        deque(strata, STRATA_KEPT),
        bet.log_evidence,
    )
