"""One bet against "this release is within tolerance": its stake grows with every scrape that is worse, and shrinks.

    terms = Terms(limit=0.0025, alpha=0.0004, size=6.0)     # at most 0.25 % may fail; the bet may be wrong that often
    bet.count(12, 300, terms, dt_s=15.0, gap=1.0, watch_s=3600.0)
    bet.log_evidence >= terms.need                          # won: the release is worse than tolerated

The stake is a mixture over how much worse the release may be, and over when that began: half is bet at the release,
half is spread over the watch, so that healthy hours do not bury a late regression. What it has grown to exceeds
``1 / alpha`` in at most the share ``alpha`` of releases that are within tolerance, however often one looks (Ville 1939;
the mixture over onsets is Shiryaev's). The speed limit and the discount for clusters only lower it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.evidence.machines import possible
from rollguard.core.evidence.pairs import ODDS, Mixture

LOG_ODDS = tuple(math.log(odds) for odds in ODDS)
MORE = math.log(len(ODDS)) + 0.7
"""One alternative holds a tenth of the stake at first: this much more must it grow to win the bet alone."""
GAP_MAX = 2.0
PART_MAX = 0.4
"""Nor do two scrapes decide, however long they are: a blip of a minute lies in two scrapes of a minute."""
BLATANT_N, BLATANT = 4.0, 0.35
"""So many requests, and so large a failing share among them, are no blip of one: the evidence may come faster."""
_LIMITS_KEPT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is bet: at most ``limit`` may be bad. ``alpha`` is this bet's own budget. Evidence for a regression takes
    at least ``least_s`` to come together (``blatant_s`` where most fails), and one scrape counts for ``size`` tolerated
    events at most: what comes in bursts is not so many independent cases. No limit between 0 and 1: nothing is bet.
    """

    limit: float
    alpha: float
    size: float
    least_s: float = 75.0
    blatant_s: float = 40.0

    need: float = field(init=False)
    """The log-evidence at which it is won."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "need", -math.log(self.alpha))


def fastest(need: float, span_s: float, least_s: float) -> float:
    """The most that one scrape of ``span_s`` may say, so that the whole takes ``least_s``, and three scrapes."""
    return (need + MORE) * min(span_s / least_s, PART_MAX)


@dataclass(slots=True)
class Bet:
    """The stakes of one bet. Resumed from what it was saved as, it goes on to the last bit."""

    stakes: Mixture = field(default_factory=Mixture)

    def count(
        self, bad: float, of: float, terms: Terms, dt_s: float, gap: float, watch_s: float, faster: float = 1.0
    ) -> None:
        """Take one scrape: ``bad`` out of ``of``, in ``gap`` intervals of ``dt_s``, the newest of which falls due.

        ``faster`` 2: others show that it is the release, so that it may be decided in half the time. Nothing out of
        nothing, and counts that cannot be, are no evidence; a time that cannot be is no scrape at all.
        """
        limit = terms.limit
        countable = of > 0.0 and possible(bad, of) and 0.0 < limit < 1.0
        if not (countable and 0.0 < gap < math.inf and 0.0 < dt_s < math.inf):
            self.idle(dt_s, watch_s)
            return
        blatant = of >= BLATANT_N and bad >= BLATANT * of
        least_s = min(terms.least_s, terms.blatant_s) if blatant else terms.least_s
        most = fastest(terms.need, dt_s * min(gap * faster, GAP_MAX), least_s)
        discounted = 1.0 + of * limit / terms.size
        bad, of = bad / discounted, of / discounted
        factors = [bad * odds - of * cost for odds, cost in zip(LOG_ODDS, _costs(limit), strict=True)]
        self.stakes.take(factors, dt_s, most, watch_s)

    def idle(self, dt_s: float, watch_s: float) -> None:
        """A scrape that did not come, or may not count."""
        self.stakes.idle(dt_s, watch_s)

    @property
    def log_evidence(self) -> float:
        """What the stake of 1 has grown to, as a logarithm; minus infinity before anything is staked."""
        return self.stakes.log_evidence

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        return self.stakes.to_plain()

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Bet:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        return cls(Mixture.from_plain(plain))


def _costs(limit: float) -> tuple[float, ...]:
    """What each request, good or bad, takes from each alternative's log-evidence.

    With p = mU / (1 + (m - 1) U), a bad one multiplies it by p / U = m / (1 + (m - 1) U), a good one by
    (1 - p) / (1 - U) = 1 / (1 + (m - 1) U).
    """
    found = _COSTS.get(limit)
    if found is None:
        if len(_COSTS) >= _LIMITS_KEPT:
            _COSTS.clear()
        found = _COSTS[limit] = tuple(math.log1p((m - 1) * limit) for m in ODDS)
    return found


_COSTS: dict[float, tuple[float, ...]] = {}
