"""Evidence that one cohort is worse than another in the same seconds, whatever the shared level is.

    pair_factors(k1=15, n1=300, r1=300, k0=1, n0=900, odds=ODDS, ratio=2.0, more=0.001, size=6.0)

gives, for each alternative m of ``odds``, the logarithm of the factor by which a bet against

    "cohort 1's share is at most ``ratio`` times cohort 0's, plus ``more``"

grows when k1 bad ones are seen in the exposure n1 (r1 plain requests), and k0 in n0. Given the total, k1 is a coin's
throws whose bias does not depend on the shared level: that level is never estimated, and what raises both cohorts
together does not make the bet grow (its expectation is at most 1 for every shared level).

    stakes = Mixture()
    stakes.take(factors, dt_s=15.0, most=5.4)     # one scrape: the stake falls due, then each alternative grows
    stakes.log_evidence                           # what the stake of 1 has grown to, as a logarithm

A ``Mixture`` of ``pair_factors`` exceeds 1/alpha in at most the share alpha of all deploys within the claim, however
often one looks (Ville 1939). ``most`` only lowers it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.evidence.machines import COUNT_MAX

ODDS = (1.6, 2.5, 5.0, 15.0, 60.0)
NOTHING = (0.0,) * len(ODDS)
STAKE_MAX = 1e12
FIRST_STAKE = 0.5
STAKES_OVER_S = 300.0
"""Half of the stake is bet at once, half over so long: a later regression is not buried under good scrapes."""
_STEP_MAX, _STEP_MIN = 60.0, -700.0


def pair_factors(
    *,
    k1: float,
    n1: float,
    r1: float,
    k0: float,
    n0: float,
    odds: Sequence[float] = ODDS,
    ratio: float,
    more: float = 0.0,
    size: float = math.inf,
) -> list[float]:
    """The log-evidence of each alternative, all 0 where a cohort has no exposure, or the counts are impossible.

    ``size``: bad things come in clusters, so that all of one scrape counts for about so many events at most.
    """
    plausible = 0 <= k1 <= COUNT_MAX and 0 <= k0 <= COUNT_MAX and 0 <= r1 <= COUNT_MAX
    if not (plausible and 0 < n1 < math.inf and 0 < n0 < math.inf):
        return [0.0] * len(odds)
    x = ratio * n1 / n0
    if not 0 < x < math.inf:
        return [0.0] * len(odds)
    divisor = 1 + (k1 + k0) * (x / (1 + x)) / (1 + x) / size
    factors = []
    for m in odds:
        rise = (m - 1) / (1 + m * x)  # h_m / h_0 - 1, with h_m = m x / (1 + m x)
        step = k1 * math.log1p(rise) - k0 * math.log1p((m - 1) * (x / (1 + x))) - more * r1 * rise
        factors.append(step / divisor)
    return factors


def added(factors: Sequence[Sequence[float]]) -> list[float]:
    """The log-evidence of several regions together."""
    if len(factors) == 1:
        return list(factors[0])
    return [math.fsum(column) for column in zip(*factors, strict=True)] if factors else list(NOTHING)


@dataclass(slots=True)
class Mixture:
    """A stake of 1 spread over the alternatives and over the first minutes. Resumed it goes on to the last bit."""

    stakes: list[float] = field(default_factory=lambda: list(NOTHING))
    left: float = 1.0

    def take(
        self, factors: Sequence[float], dt_s: float, most: float = math.inf, over_s: float = STAKES_OVER_S
    ) -> None:
        """One scrape ``dt_s`` after the one before: none of the ``factors`` counts for more than ``most``."""
        share, most, exp = self._due(dt_s, over_s), min(most, _STEP_MAX), math.exp
        grown = [
            (stake + share) * exp(most if factor > most else max(_STEP_MIN, factor))
            for stake, factor in zip(self.stakes, factors, strict=True)
        ]
        self.stakes = [min(STAKE_MAX, stake) for stake in grown] if max(grown) > STAKE_MAX else grown

    def idle(self, dt_s: float, over_s: float = STAKES_OVER_S) -> None:
        """A scrape without evidence: the stake falls due all the same, the half of it spread over ``over_s``.

        A ``dt_s`` that is no length of time makes nothing due.
        """
        if share := self._due(dt_s, over_s):
            self.stakes = [stake + share for stake in self.stakes]

    def _due(self, dt_s: float, over_s: float) -> float:
        """What falls due of the stake in that time, for each alternative."""
        if self.left <= 0.0 or not 0.0 < dt_s < math.inf:
            return 0.0
        first = 0.0 if self.begun else FIRST_STAKE
        due = min(first + (1 - FIRST_STAKE) * dt_s / over_s, self.left)
        self.left -= due
        return due / len(self.stakes)

    @property
    def begun(self) -> bool:
        """Whether anything has been staked yet."""
        return self.left < 1.0

    @property
    def log_evidence(self) -> float:
        """Minus infinity before anything is staked."""
        evidence = math.fsum(self.stakes)
        return math.log(evidence) if evidence > 0 else -math.inf

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        return [self.left, *self.stakes]

    @classmethod
    def from_plain(cls, plain: Sequence[Any], alternatives: int = len(ODDS)) -> Mixture:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        left, *stakes = (float(value) for value in plain)
        if len(stakes) != alternatives or not 0 <= left <= 1 or not all(0 <= stake <= STAKE_MAX for stake in stakes):
            raise ValueError("no stakes of a mixture")
        return cls(stakes, left)
