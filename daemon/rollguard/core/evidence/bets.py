"""One bet against "this release is within tolerance": its stake grows with every scrape that is worse, and shrinks.

The stake is a mixture over how much worse the release may be, and over when that began: half is bet at the release,
half is spread over the watch, so that healthy hours do not bury a late regression. What it has grown to, ``evidence``,
exceeds ``1 / alpha`` in at most the share ``alpha`` of releases that are within tolerance, however often one looks
(Ville 1939; the mixture over onsets is Shiryaev's, the clipping only lowers it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

ODDS = (1.6, 2.5, 5.0, 15.0, 60.0)
STAKE_MAX = 1e12
FIRST_STAKE = 0.5
MORE = math.log(len(ODDS)) + 0.7
GAP_MAX = 2.0
BLATANT_N, BLATANT = 4.0, 0.35
"""So many requests, and so large a failing share among them, are no blip of one: the evidence may come faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is bet: at most ``limit`` may be bad. ``alpha`` is this bet's own budget. Evidence for a regression takes
    at least ``least_s`` to come together (``blatant_s`` where most fails), and one scrape counts for ``size`` tolerated
    events at most: what comes in bursts is not so many independent cases.
    """

    limit: float
    alpha: float
    size: float
    least_s: float = 75.0
    blatant_s: float = 40.0

    @property
    def need(self) -> float:
        """The log-evidence at which it is won."""
        return math.log(1 / self.alpha)


@dataclass(slots=True)
class Bet:
    """The stakes of one bet, one for each alternative. Serialisable; resumed it goes on to the last bit."""

    stakes: list[float] = field(default_factory=lambda: [0.0] * len(ODDS))
    begun: bool = False

    def count(self, bad: float, of: float, terms: Terms, dt_s: float, gap: float, watch_s: float) -> None:
        """Take one scrape: ``bad`` out of ``of`` in ``gap`` intervals of ``dt_s``; nothing out of nothing is fine."""
        self._stake(dt_s, watch_s)
        if of <= 0:
            return
        least_s = terms.blatant_s if of >= BLATANT_N and bad >= BLATANT * of else terms.least_s
        fastest = (terms.need + MORE) * dt_s * min(gap, GAP_MAX) / least_s
        divisor = 1 + of * terms.limit / terms.size
        for i, (for_bad, for_good) in enumerate(_ratios(terms.limit)):
            step = min((bad * for_bad + (of - bad) * for_good) / divisor, fastest)
            self.stakes[i] = min(self.stakes[i] * math.exp(max(step, -700.0)), STAKE_MAX)

    def idle(self, dt_s: float, watch_s: float) -> None:
        """A scrape that did not come, or may not count."""
        self._stake(dt_s, watch_s)

    @property
    def evidence(self) -> float:
        """What the stake of 1 has grown to."""
        return sum(self.stakes)

    @property
    def log_evidence(self) -> float:
        return math.log(self.evidence) if self.evidence > 0 else -math.inf

    def _stake(self, dt_s: float, watch_s: float) -> None:
        stake = (1 - FIRST_STAKE) * dt_s / watch_s + (0.0 if self.begun else FIRST_STAKE)
        self.begun = True
        for i in range(len(self.stakes)):
            self.stakes[i] += stake / len(ODDS)


def _ratios(limit: float) -> Sequence[tuple[float, float]]:
    """The logarithms of what a bad and a good one multiply each stake by."""
    found = _RATIOS.get(limit)
    if found is None:
        if len(_RATIOS) >= 256:
            _RATIOS.clear()
        alternatives = [m * limit / (1 + (m - 1) * limit) for m in ODDS]
        found = _RATIOS[limit] = [(math.log(p / limit), math.log((1 - p) / (1 - limit))) for p in alternatives]
    return found


_RATIOS: dict[float, Sequence[tuple[float, float]]] = {}
