"""How bad a release may be, from what the one before it did: upper limits of a share and of a latency.

A baseline is finite and wanders. Each bound is therefore the baseline's upper confidence limit, widened by how much
its blocks differ from each other; a release is beyond it only when its own lower confidence limit is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rollguard.core.baseline import Buckets, Share, Times

SHARE_Z, LATENCY_Z, RECENT_Z = 1.65, 1.0, 1.0
WORST = 0.1
"""This part of the blocks, the worst ones, is left out: a blip of the baseline must not excuse the release."""

RECENT = 2
"""What the newest blocks had already is no release's doing: that much, and the factors below, are tolerated."""
RECENT_SHARE, RECENT_LATENCY = 2.0, 1.4

PRIOR_BLOCKS, PRIOR_VARIATION = 6, 0.06
"""What is assumed of an app's wandering before its blocks show it, and as how many blocks that counts."""
WANDERS, WANDERS_MAX, WANDERS_SLOW = 2.75, 1.6, 0.5
POINTS_MIN = 0.001
"""A tenth of a percentage point more errors is nobody's reason to go back."""

EDGES = ((0.003, 0.04, 0.07), (0.07, 0.15, 0.40))
"""Where latencies are compared: at the bucket bounds with a tolerated share in each range, nearest its middle."""

_NORMAL = NormalDist()


def upper(bad: float, total: float, z: float) -> float:
    """The upper confidence limit of a small share."""
    return (bad + z * z / 2 + z * math.sqrt(bad + z * z / 4)) / total


def lower(bad: float, total: float, z: float) -> float:
    """The lower confidence limit of a small share."""
    return max(0.0, (bad + z * z / 2 - z * math.sqrt(bad + z * z / 4)) / total)


def wilson_lower(bad: float, total: float, z: float) -> float:
    """The lower end of Wilson's interval: right for few requests and for shares near 0 or 1."""
    if total <= 0:
        return 0.0
    p, zz = bad / total, z * z / total
    return max(0.0, (p + zz / 2 - z * math.sqrt(p * (1 - p) / total + zz / (4 * total))) / (1 + zz))


def pooled(shares: Sequence[Share]) -> Share:
    """All of them as one."""
    return Share(sum(s.bad for s in shares), sum(s.total for s in shares))


def trimmed(shares: Sequence[Share]) -> list[Share]:
    """Without the worst of them, in their order."""
    worst_first = sorted(range(len(shares)), key=lambda i: -shares[i].bad / shares[i].total)
    left_out = set(worst_first[: int(len(shares) * WORST)])
    return [s for i, s in enumerate(shares) if i not in left_out]


def wandering(shares: Sequence[Share]) -> float:
    """How much more than by chance the blocks differ: the standard deviation of the share's logarithm."""
    whole, m = pooled(shares), len(shares)
    p = whole.bad / whole.total
    expected = [s.total * p for s in shares]
    variation = 0.0
    if m > 1 and p > 0:
        excess = sum((s.bad - e) ** 2 for s, e in zip(shares, expected, strict=True)) / sum(expected) * m / (m - 1)
        variation = max(0.0, excess - 1) / max(sum(expected) / m, 0.5)
    variation = (m * variation + PRIOR_BLOCKS * PRIOR_VARIATION) / (m + PRIOR_BLOCKS)
    return math.sqrt(math.log1p(variation))


def share_limit(shares: Sequence[Share], factor: float, add: float) -> float:
    """The share of bad ones that a release may have: the baseline's times ``factor`` plus ``add``, or what the
    baseline's own wandering makes it, whichever is more.
    """
    kept = trimmed(shares)
    whole, recent = pooled(kept), pooled(shares[-RECENT:])
    most = upper(whole.bad, whole.total, SHARE_Z)
    by_itself = most * math.exp(min(WANDERS * wandering(kept), WANDERS_MAX))
    already = RECENT_SHARE * lower(recent.bad, recent.total, RECENT_Z)
    return min(1.0, max(most * factor + add, by_itself, most + POINTS_MIN, already))


@dataclass(frozen=True, slots=True)
class Edge:
    """A bucket bound at which latencies are compared, and the share of slower requests that is tolerated there."""

    bound: float
    limit: float


class Latencies:
    """The latencies of a baseline that everything may be ``factor`` times slower than."""

    def __init__(self, times: Sequence[Times], factor: float) -> None:
        """``times`` are one or more blocks, oldest first, each with a count."""
        self._histograms = [dict(t.buckets) for t in times]
        self._factor = factor
        shared = set(self._histograms[0]).intersection(*self._histograms[1:])
        self._bounds = sorted(b for b in shared if math.isfinite(b) and b > 0)
        slow_by_block = [[_slower(h, bound) for h in self._histograms] for bound in self._bounds]
        self._shares = [pooled(trimmed(slow)) for slow in slow_by_block]
        self._wanders = [wandering(trimmed(slow)) for slow in slow_by_block]
        self._z = [_z(s) for s in self._shares]
        self.total = sum(h[math.inf] for h in self._histograms)
        self._users = 1 - sum(t.own for t in times) / self.total

    @property
    def comparable(self) -> bool:
        """Whether the blocks have a bound in common."""
        return bool(self._bounds)

    @property
    def merged(self) -> Buckets:
        """All blocks as one histogram, at the bounds that all of them have."""
        bounds = (*self._bounds, math.inf)
        return tuple((bound, sum(h[bound] for h in self._histograms)) for bound in bounds)

    def edges_of(self, times: Times) -> list[Edge]:
        """Up to two of a release's bucket bounds, at which it can be compared with this baseline.

        The guard's own probes may be fast ones: where they are a smaller part of the release's requests than of the
        baseline's, so many more may be slow.
        """
        users = 1 - times.own / times.total if times.total else 1.0
        wider = max(1.0, users / self._users) if self._users > 0 else math.inf
        limits = [
            Edge(b, min(1.0, limit * wider)) for b, _ in times.buckets if (limit := self._tolerated(b)) is not None
        ]
        found = []
        for low, middle, high in EDGES:
            there = [e for e in limits if low <= e.limit < high]
            if there:
                found.append(min(there, key=lambda e: abs(math.log(e.limit / middle))))
        return found

    def exceeded(self, times: Times, z: float) -> bool:
        """Whether more are slower than may be, by so many standard errors, at any edge."""
        return any(_surely(times, e, z) > e.limit for e in self.edges_of(times))

    def telling(self, times: Times, z: float) -> tuple[Edge, float] | None:
        """The edge that is exceeded most, and the share that is slower; None where there is no edge."""
        edges = self.edges_of(times)
        if not edges:
            return None
        edge = max(edges, key=lambda e: _surely(times, e, z) / e.limit)
        return edge, _surely(times, edge, 0.0)

    def _tolerated(self, bound: float) -> float | None:
        """The share of requests slower than ``bound`` if all took ``factor`` times as long; as an upper limit."""
        at = bound / self._factor
        if not self._bounds or not 0 < self._bounds[0] <= at or math.isinf(bound):
            return None  # how much of the first bucket would be slower nobody knows
        place = bisect_right(self._bounds, at) - 1
        z, wanders = self._z[place], self._wanders[place]
        if place + 1 < len(self._bounds):
            part = math.log(at / self._bounds[place]) / math.log(self._bounds[place + 1] / self._bounds[place])
            z += part * (self._z[place + 1] - z)
            wanders = max(wanders, self._wanders[place + 1]) if part > 0 else wanders
        share = (1 - _NORMAL.cdf(z)) * math.exp(WANDERS_SLOW * wanders)
        limit = upper(share * self.total, self.total, LATENCY_Z)
        return min(1.0, max(limit, RECENT_LATENCY * self._already(bound)))

    def _already(self, bound: float) -> float:
        """What the newest blocks show at that bound for certain: it was so before the release."""
        recent = self._histograms[-RECENT:]
        if bound not in self._bounds:
            return 0.0
        slow = pooled([_slower(h, bound) for h in recent])
        return lower(slow.bad, slow.total, RECENT_Z)


def _slower(histogram: dict[float, float], bound: float) -> Share:
    total = histogram[math.inf]
    return Share(max(0.0, total - histogram[bound]), total)


def _z(share: Share) -> float:
    """Where a normal curve has that share above it; none and all are taken for half a request more or less."""
    part = min(max(share.bad, 0.5), share.total - 0.5) / share.total if share.total > 1 else 0.5
    return _NORMAL.inv_cdf(1 - part)


def _surely(times: Times, edge: Edge, z: float) -> float:
    slow = _slower(dict(times.buckets), edge.bound)
    return wilson_lower(slow.bad, slow.total, z)
