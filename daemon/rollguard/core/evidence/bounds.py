"""How bad a release may be and still pass: the bounds that the evidence is counted against.

They are made once, when the release begins, and cover how this very app wanders by itself: that is where the price
of a restless app is paid, in tolerance and not in false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rollguard.core.evidence.blocks import Block, Blocks, without_worst
from rollguard.core.evidence.limits import lower, upper, wandering

Z_LEVEL, Z_LATENCY, Z_RECENT = 1.65, 1.0, 1.0
ERRORS_MIN = 0.002
ERRORS_MORE = 0.001
ERRORS_UNKNOWN = 0.05
"""The bound where hardly anything is known of the app: the plain limit that runbooks have."""
ERRORS_FACTOR = 2.0
ENVELOPE, ENVELOPE_MAX = 2.75, 1.6
KNOWN_MIN, TIMED_MIN = 20.0, 50.0
RECENT_ERRORS, RECENT_SLOW = 2.0, 1.4
PROBES = 0.25
EDGES = ((0.003, 0.07, 0.04), (0.07, 0.40, 0.15))
"""Of the histogram's edges two are watched: the share beyond it within (from, below), nearest to the third."""
SLOW_MAX = 0.9
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """At most this share of requests may fail. ``baseline`` is what they did before."""

    limit: float
    baseline: float


@dataclass(frozen=True, slots=True)
class SlowBound:
    """At most this share of requests may be slower than the histogram's bound number ``edge``."""

    edge: int
    limit: float
    baseline: float


def error_bound(blocks: Blocks, *, add: float = 0.0, factor: float = 1.0) -> ErrorBound:
    """The tolerated share of errors. ``add`` (a ratio) and ``factor`` are the policy's margin: it can only widen."""
    kept = without_worst(blocks.chosen(), Block.errors_of)
    bad, of = sum(b.errors for b in kept), sum(b.requests for b in kept)
    recent = blocks.recent()
    level = upper(bad, of, Z_LEVEL) if of else 0.0
    spread = max(ERRORS_FACTOR, math.exp(min(ENVELOPE * wandering([b.errors_of() for b in kept]), ENVELOPE_MAX)))
    already = lower(sum(b.errors for b in recent), sum(b.requests for b in recent), Z_RECENT)
    baseline = bad / of if of else 0.0
    limit = max(
        spread * level,
        level + ERRORS_MORE,
        ERRORS_MIN,
        RECENT_ERRORS * already,
        ERRORS_UNKNOWN if of < KNOWN_MIN else 0.0,
        baseline + add,
        baseline * factor,
    )
    return ErrorBound(limit, baseline)


def slow_bounds(blocks: Blocks, bounds_s: Sequence[float], factor: float, *, page: bool = False) -> list[SlowBound]:
    """The tolerated shares of slow requests if latency may be ``factor`` times what it was.

    ``bounds_s`` are the histogram's finite upper bounds. The old distribution is scaled and read at the exact edges, so
    that coarse buckets cost power and never validity. None where too little was timed.
    """
    shape = len(bounds_s) + 1
    chosen = blocks.chosen(shape)
    middle = _middle(chosen, len(bounds_s))
    kept = without_worst(chosen, lambda b: b.slower_than(middle)) if chosen else ()
    of = sum(sum(b.buckets) for b in kept)
    if of < TIMED_MIN:
        return []
    shares = [sum(b.slower_than(edge)[0] for b in kept) / of for edge in range(len(bounds_s))]
    scaled = _scaled(shares, bounds_s, factor, of)
    found = []
    for low, below, best in EDGES:
        edges = [e for e, share in enumerate(scaled) if low <= share < below]
        if not edges:
            continue
        edge = min(edges, key=lambda e: abs(math.log(scaled[e] / best)))
        recent = [b.slower_than(edge) for b in blocks.recent(shape)]
        limit = max(
            upper(scaled[edge] * of, of, Z_LATENCY),
            RECENT_SLOW * lower(sum(k for k, _ in recent), sum(n for _, n in recent), Z_RECENT),
        )
        if page:
            limit *= math.exp(0.5 * wandering([b.slower_than(edge) for b in kept]))
        if limit < SLOW_MAX:
            found.append(SlowBound(edge, limit, shares[edge]))
    return found


def _middle(blocks: Sequence[Block], edges: int) -> int:
    """The edge that about 15 % of requests are slower than: by it a block is called slow."""
    of = sum(sum(b.buckets) for b in blocks)
    if not of:
        return 0
    shares = [max(sum(b.slower_than(e)[0] for b in blocks), 0.5) / of for e in range(edges)]
    return min(range(edges), key=lambda e: abs(math.log(shares[e] / EDGES[1][2])))


def _scaled(shares: Sequence[float], bounds_s: Sequence[float], factor: float, of: float) -> list[float]:
    """The share beyond each edge if everything took ``factor`` times as long: normal scores, linear in log time."""
    least = 0.5 / of
    points = [
        (math.log(bound), NORMAL.inv_cdf(1 - min(max(share, least), 1 - least)))
        for bound, share in zip(bounds_s, shares, strict=True)
    ]
    informative = [p for p, share in zip(points, shares, strict=True) if least < share < 1 - least]
    if len(informative) < 2:
        informative = points
    return [1 - NORMAL.cdf(_at(informative, x - math.log(factor))) for x, _ in points]


def _at(points: Sequence[tuple[float, float]], x: float) -> float:
    """The line through the two points around ``x``, or through the two nearest ones."""
    i = 1
    while i < len(points) - 1 and points[i][0] < x:
        i += 1
    (x0, z0), (x1, z1) = points[i - 1], points[i]
    return z0 + (z1 - z0) * (x - x0) / (x1 - x0)
