"""One rule against one release: its bets, what they stand at, and in which words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollguard.core.evidence.pairs import STAKE_MAX
from rollguard.core.evidence.strata import Stratum
from rollguard.core.finding import Finding
from rollguard.core.relative.counts import Counts
from rollguard.core.relative.gauges import GaugeWager
from rollguard.core.relative.wagers import HINT, Wager

SETTLE_S_MAX = 180.0
PAGE_NEED = math.log(1 / 0.02)
"""The log-evidence from which on people should look."""
EARLY_S = 75.0
"""Nobody is paged about a release that is younger: a blip is over by then."""
GROWS_S, GOES_ON_S = 45.0, 120.0
"""People are called for what still grows so long after it became suspicious, the second after the watch: what a blip
left behind only fades, and evidence that grows as fast as it may has become enough to act on by the first.
"""
FULL = math.log(STAKE_MAX)
"""Evidence hardly grows any more."""


def a_day(watch_s: float) -> float:
    """How many times a day bets are made anew once the watch is over: what a day may page for is divided among them."""
    return max(1.0, 86400.0 / watch_s)


@dataclass(slots=True)
class Comparison:
    """All bets of one rule against one release.

    ``since``: there is more against it than chance since then, ``suspicious_at``: enough that people should look,
    ``won_at``: enough to act. ``highest`` is the most log-evidence since ``suspicious_at``, reached at ``grew_at``.
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
    highest: float = 0.0
    grew_at: float | None = None
    calm: Finding | None = None
    """What was said last, where only another interval can change it."""

    def take(self, counts: Counts, settle_s: float, *, frozen: bool) -> None:
        """Count one interval of this rule's measure; what is not later than the last one counts for nothing."""
        elapsed_s = counts.at - (self.armed_at if self.last_at is None else self.last_at)
        if elapsed_s <= 0.0:
            return
        if elapsed_s < counts.dt_s and counts.instant:  # asked again at once: no more evidence in the same time
            counts = counts._replace(dt_s=elapsed_s)
        idle_s = elapsed_s - counts.dt_s
        self.last_at, self.calm = counts.at, None
        for count in counts.every:
            self.requests += count.of if count.new else 0.0
        for wager in self.wagers:
            if idle_s > 0.0:
                wager.idle(idle_s, self.watch_s)
            stratum = self._stratum(counts, settle_s, wager)
            if stratum is None:
                wager.idle(counts.dt_s, self.watch_s)
            else:
                wager.take(stratum, counts.by_region(stratum), self.watch_s, frozen=frozen)

    def _stratum(self, counts: Counts, settle_s: float, wager: Wager) -> Stratum | None:
        cold = wager.counts_cold(counts) if settle_s > 0.0 else None
        return cold or counts.stratum(settle_s, wager.bound.bound_s, wager.bound.base_own)

    @property
    def strongest(self) -> Wager | None:
        """The bet that is nearest to being won, or beyond it."""
        if len(self.wagers) == 1:
            return self.wagers[0]
        return max(self.wagers, key=lambda w: w.strength, default=None)

    @property
    def won(self) -> bool:
        """Whether the past alone convicts the release."""
        strongest = self.strongest
        return strongest is not None and strongest.strength >= 0.0

    @property
    def side_by_side(self) -> Wager | None:
        """The bet by which machines on the old image show that it is the release, if one does."""
        for wager in self.wagers:
            if wager.live is not None and wager.shown:
                return wager
        return None

    @property
    def suspicious(self) -> bool:
        """Whether people should look, though it is not enough to act."""
        need = PAGE_NEED + (math.log(a_day(self.watch_s)) if self.rearmed else 0.0)
        return any(w.log_evidence >= need for w in self.wagers)

    def mark(self, log_odds: float, now: float, *, won: bool) -> None:
        """Keep since when it has been as bad as it is now."""
        self.since = (self.since or now) if won or log_odds >= HINT else None
        self.suspicious_at = (self.suspicious_at or now) if won or self.suspicious else None
        self.won_at = (self.won_at or now) if won else None
        if self.suspicious_at is None:
            self.highest, self.grew_at = 0.0, None
        elif log_odds > self.highest or log_odds >= FULL:
            self.highest, self.grew_at = log_odds, now

    def goes_on(self) -> bool:
        """Whether what is suspicious grew for long enough to call people."""
        if self.suspicious_at is None or self.grew_at is None:
            return False
        return self.grew_at - self.suspicious_at >= (GOES_ON_S if self.rearmed else GROWS_S)

    def cold_s(self, counts: Counts) -> float:
        """How old the oldest young machine is that does worse than tolerated by more than chance; 0: none does."""
        found = 0.0
        for wager in self.wagers:
            stratum = counts.stratum(0.0, wager.bound.bound_s, wager.bound.base_own)
            for tally in stratum.new if stratum is not None else ():
                age_s = next(c.age_s for c in counts.every if c.machine == tally.machine)
                if age_s <= SETTLE_S_MAX and wager.is_worse(tally):
                    found = max(found, age_s)
        return found

    def shift(self, by_s: float) -> None:
        """The clock was put right by ``by_s``."""
        self.armed_at += by_s
        self.last_at, self.since, self.suspicious_at, self.won_at, self.grew_at = (
            None if at is None else at + by_s
            for at in (self.last_at, self.since, self.suspicious_at, self.won_at, self.grew_at)
        )
        self.calm = None
        for wager in self.wagers:
            if wager.live is not None and wager.live.at is not None:
                wager.live.at += by_s

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
            "highest": self.highest,
            "grew_at": self.grew_at,
            "wagers": [w.to_plain() for w in self.wagers],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Comparison:
        """What ``to_plain`` gave."""
        return cls(
            [(GaugeWager if "gauge" in w else Wager).from_plain(w) for w in plain["wagers"]],
            finite(plain["watch_s"]),
            finite(plain["armed_at"]),
            bool(plain["rearmed"]),
            _instant(plain["last_at"]),
            finite(plain["requests"]),
            _instant(plain["since"]),
            _instant(plain["suspicious_at"]),
            _instant(plain["won_at"]),
            finite(plain["highest"]),
            _instant(plain["grew_at"]),
        )


def finite(value: Any) -> float:
    """A number as it was kept. Raises ``ValueError``, ``TypeError`` for anything else."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no number")
    return number


def _instant(value: Any) -> float | None:
    return None if value is None else finite(value)
