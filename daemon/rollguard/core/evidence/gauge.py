"""The same bet where only a gauge is to be had: a percentile over a trailing window, read every so often.

    bound = GaugeBound.learnt(values, factor=1.5)       # values of the time before, None where there are too few
    bet.count(p95_s, bound, terms, dt_s=15.0, gap=1.0, watch_s=3600.0)

Calibrated by measurement only: successive values of a trailing window are anything but independent, so that nothing is
proven of this bet. A gauge that trails an hour hides a doubling for twenty minutes. Prefer counters and histograms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rollguard.core.evidence.bets import GAP_MAX, Terms, fastest
from rollguard.core.evidence.pairs import Mixture

SHIFTS = tuple(math.log(times) for times in (1.15, 1.4, 2.0))
"""How many times beyond the tolerated factor the release may be: the alternatives."""
VALUES_MIN = 8
"""Of fewer values nobody can tell how the gauge wanders."""
USUAL_SD, MORE_SD = 0.05, 0.05
MAD_TO_SD = 1.48
ONE_VALUE_S = 30.0
"""One value counts as much as so many seconds of values: they overlap."""


@dataclass(frozen=True, slots=True)
class GaugeBound:
    """The release's value is tolerated up to ``limit``; ``baseline`` is the median of what was before, ``sd`` the
    standard deviation of the logarithm of single values around it.
    """

    limit: float
    baseline: float
    sd: float

    @classmethod
    def learnt(cls, values: Iterable[float], factor: float = 1.5) -> GaugeBound | None:
        """From the values before the release; None where there are fewer than ``VALUES_MIN`` positive ones."""
        logs = [math.log(value) for value in values if 0.0 < value < math.inf]
        if len(logs) < VALUES_MIN:
            return None
        middle = median(logs)
        apart = MAD_TO_SD * median(abs(x - middle) for x in logs)
        baseline = math.exp(middle)
        return cls(baseline * factor, baseline, math.hypot(max(USUAL_SD, apart), MORE_SD))


@dataclass(slots=True)
class GaugeBet:
    """The stakes of one bet on a gauge. Resumed from what it was saved as, it goes on to the last bit."""

    stakes: Mixture = field(default_factory=lambda: Mixture([0.0] * len(SHIFTS)))

    def count(self, value: float, bound: GaugeBound, terms: Terms, dt_s: float, gap: float, watch_s: float) -> None:
        """Take one value, ``gap`` intervals of ``dt_s`` after the last. What is not positive and finite, is none."""
        sane = 0.0 < value < math.inf and 0.0 < gap < math.inf and 0.0 < dt_s < math.inf
        if not (sane and 0.0 < bound.limit < math.inf and 0.0 < bound.sd < math.inf):
            self.idle(dt_s, watch_s)
            return
        beyond = math.log(value / bound.limit)
        weight = min(dt_s / ONE_VALUE_S, 1.0) / bound.sd**2
        most = fastest(terms.need, dt_s * min(gap, GAP_MAX), terms.least_s)
        self.stakes.take([(beyond - shift / 2) * shift * weight for shift in SHIFTS], dt_s, most, watch_s)

    def idle(self, dt_s: float, watch_s: float) -> None:
        """A value that did not come, or may not count."""
        self.stakes.idle(dt_s, watch_s)

    @property
    def log_evidence(self) -> float:
        """What the stake of 1 has grown to, as a logarithm; minus infinity before anything is staked."""
        return self.stakes.log_evidence

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        return self.stakes.to_plain()

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> GaugeBet:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        return cls(Mixture.from_plain(plain, len(SHIFTS)))
