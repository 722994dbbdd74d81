"""Probes, matched: all machines of both cohorts asked in the same second, so that a blip hits both or neither.

    matched = Matched()                                  # or Matched(alpha=..., limit=...)
    matched.take(at, [Asked(new_failed, new_asked, old_failed, old_asked), ...])    # one second; one per region
    matched.fired_at                                     # since when it says "bad release" by itself, or None
    matched.agreed_at                                    # since when it agrees with the frozen-baseline test, or None
    matched.log_evidence, matched.need

Asking only the failing machine again each second would be wrong: the others pass by luck during a partial outage, and
the release is blamed. A second in which only one cohort was asked is no evidence. A deploy that is over before the test
could fire by itself may have shown enough to agree with what the past says, see ``live``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rollguard.core.evidence.bounds import PROBES
from rollguard.core.evidence.live import AGREE_NEED, ALPHA_LIVE, MORE, WEIGHT_PROBES
from rollguard.core.evidence.machines import possible
from rollguard.core.evidence.pairs import NOTHING, ODDS, STAKES_OVER_S, Mixture, added, pair_factors

LEAST_S = 10.0
"""Evidence takes at least so long to come together."""
APART_S_MAX = 5.0
"""The usual time between two probes: after a longer pause a second counts for no more than this."""
RATIO = 2.0
HALF = 0.5


class Asked(NamedTuple):
    """Probes of one region in one second: so many failed of so many, on new machines and on old ones."""

    new_failed: float
    new: float
    old_failed: float
    old: float


@dataclass(slots=True)
class Matched:
    """The matched probes of one deploy. Impossible counts and a time that does not go on are no evidence."""

    alpha: float = ALPHA_LIVE
    limit: float = PROBES
    at: float | None = None
    mixture: Mixture = field(default_factory=Mixture)
    agrees: Mixture = field(default_factory=Mixture)
    fired_at: float | None = None
    agreed_at: float | None = None

    @property
    def need(self) -> float:
        """The log-evidence at which it fires."""
        return math.log(1 / (self.alpha * WEIGHT_PROBES))

    @property
    def log_evidence(self) -> float:
        """What the stake has grown to."""
        return self.mixture.log_evidence

    def take(self, at: float, regions: Sequence[Asked], *, new_failing_now: bool | None = None) -> None:
        """Count one second in which both cohorts were asked.

        ``new_failing_now``: whether more than half of the new machines fail now; None: as these probes say.
        """
        asked = [r for r in regions if possible(r.new_failed, r.new) and possible(r.old_failed, r.old)]
        if not math.isfinite(at) or (self.at is not None and at <= self.at) or not any(r.new for r in asked):
            return
        elapsed_s = 1.0 if self.at is None else min(at - self.at, STAKES_OVER_S)
        self.at = at
        frozen = _fails(math.fsum(r.old_failed for r in asked), math.fsum(r.old for r in asked))
        factors = [] if frozen else [_factors(r, self.limit) for r in asked if not _fails(r.old_failed, r.old)]
        most = (self.need + MORE) * min(elapsed_s, APART_S_MAX) / LEAST_S
        grows = added(factors) if factors else NOTHING
        self.mixture.take(grows, elapsed_s, most)
        self.agrees.take(grows, elapsed_s)
        if new_failing_now is None:
            new_failing_now = math.fsum(r.new_failed for r in asked) > HALF * math.fsum(r.new for r in asked)
        controlled = not frozen and any(r.old for r in asked)
        if not (controlled and new_failing_now):
            return
        if self.fired_at is None and self.log_evidence >= self.need:
            self.fired_at = at
        if self.agreed_at is None and self.agrees.log_evidence >= AGREE_NEED:
            self.agreed_at = at

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        instants = [self.at, self.fired_at, self.agreed_at]
        return [self.alpha, self.limit, instants, self.mixture.to_plain(), self.agrees.to_plain()]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Matched:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        alpha, limit, instants, mixture, agrees = plain
        at, fired_at, agreed_at = (None if value is None else float(value) for value in instants)
        mixtures = Mixture.from_plain(mixture), Mixture.from_plain(agrees)
        return cls(float(alpha), float(limit), at, *mixtures, fired_at, agreed_at)


def _fails(failed: float, of: float) -> bool:
    """Whether half or more of the old machines fail."""
    return of > 0 and failed >= HALF * of


def _factors(asked: Asked, limit: float) -> Sequence[float]:
    """Worse than probes may be at all, and worse than the old machines: the smaller evidence of the two."""
    failed, of, old_failed, old = asked
    if not (of and old):
        return NOTHING
    pairs = pair_factors(k1=failed, n1=of, r1=of, k0=old_failed, n0=old, ratio=RATIO)
    return [
        min(failed * math.log(m / (1 + (m - 1) * limit)) - (of - failed) * math.log1p((m - 1) * limit), pair)
        for m, pair in zip(ODDS, pairs, strict=True)
    ]
