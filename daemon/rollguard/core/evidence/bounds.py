"""How bad a release may be and still pass: the bounds that the evidence is counted against.

    error_bound(blocks, recent)             # blocks: (bad, of), oldest first; recent: the newest of them, whatever ran
    slow_bounds(blocks, recent, 1.5)        # blocks: histograms; all may take half as long again

They are made once, when the release begins, and cover how this very app wanders by itself: that is where the price
of a restless app is paid, in tolerance and not in false alarms. The worst tenth of the blocks is left out, so that a
blip of the past does not excuse the release. Blocks that count nothing, or what cannot be counts, are left out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

from rollguard.core.evidence.limits import Trial, lower, upper, wandering
from rollguard.core.evidence.machines import COUNT_MAX, possible

Buckets = tuple[tuple[float, float], ...]
"""(upper bound in seconds, cumulative count), the last bound infinite."""

WORST = 0.1
CUT_SPREAD = 0.844
"""What is left of a normal curve's standard deviation when its upper tenth is cut off."""
Z_LEVEL, Z_LATENCY, Z_RECENT = 1.65, 1.0, 1.0
ERRORS_MIN = 0.002
"""Nor is a tenth of a percentage point more errors ever a reason to go back: with a factor of 2, this sees to it."""
ERRORS_UNKNOWN = 0.05
"""The bound where hardly anything is known of the app: the plain limit that runbooks have."""
ERRORS_FACTOR = 2.0
ENVELOPE, ENVELOPE_MAX, ENVELOPE_PAGE = 2.75, 1.6, 0.5
KNOWN_MIN, TIMED_MIN = 20.0, 50.0
RECENT_ERRORS, RECENT_SLOW, RECENT_BAD = 2.0, 1.4, 2.0
"""What it was already just before the release is no release's doing: so many times that is tolerated, and of slow ones
more where they were beyond what is tolerated even then: something was wrong already.
"""
PROBES = 0.25
EDGES = ((0.003, 0.07, 0.04), (0.07, 0.40, 0.15))
"""Of the histogram's bounds two are watched: the tolerated share within (from, below), nearest to the third."""
SLOW_MAX = 0.9
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """At most the share ``limit`` of requests may fail. ``baseline`` is what did before."""

    limit: float
    baseline: float


@dataclass(frozen=True, slots=True)
class SlowBound:
    """At most the share ``limit`` of requests may be slower than ``bound_s`` seconds, a bound of the histogram.
    ``baseline`` is what was before.
    """

    bound_s: float
    limit: float
    baseline: float


def error_bound(blocks: Sequence[Trial], recent: Sequence[Trial], add: float = 0.0, factor: float = 1.0) -> ErrorBound:
    """The tolerated share of errors. ``add`` (a ratio) and ``factor`` are the policy's margin: it can only widen."""
    kept = trimmed(blocks)
    bad, of = _pooled(kept)
    baseline = bad / of if of else 0.0
    level = upper(bad, of, Z_LEVEL) if of else 0.0
    spread = wandering(kept) / CUT_SPREAD
    limit = max(
        level * max(ERRORS_FACTOR, math.exp(min(ENVELOPE * spread, ENVELOPE_MAX))),
        ERRORS_MIN,
        RECENT_ERRORS * lower(*_pooled(counted(recent)), Z_RECENT),
        ERRORS_UNKNOWN if of < KNOWN_MIN else 0.0,
        baseline + add,
        baseline * factor,
    )
    return ErrorBound(min(1.0, limit), baseline)


def slow_bounds(
    blocks: Sequence[Buckets], recent: Sequence[Buckets], factor: float, page: bool = False
) -> list[SlowBound]:
    """The tolerated shares of slow requests if everything may take ``factor`` times as long, at up to two bounds.

    The old distribution is scaled and read at the exact bounds of the histogram that all blocks have, so that coarse
    ones cost power and never validity. None where too little was timed.
    """
    known = [dict(block) for block in blocks if _is_histogram(block)]
    edges = sorted(set.intersection(*map(set, known)) - {math.inf}) if known else []
    if not edges:
        return []
    kept = _without_slowest(known, edges)
    of = math.fsum(h[math.inf] for h in kept)
    if of < TIMED_MIN:
        return []
    shares = [math.fsum(_slower(h, edge)[0] for h in kept) / of for edge in edges]
    tolerated = _scaled(shares, edges, factor, of)
    newest = [dict(block) for block in recent if _is_histogram(block)]
    found = []
    for low, below, best in EDGES:
        there = [(edge, share) for edge, share in tolerated.items() if low <= share < below]
        if not there:
            continue
        edge, share = min(there, key=lambda pair: abs(math.log(pair[1] / best)))
        already = _pooled([_slower(h, edge) for h in newest if edge in h])
        limit, before = upper(share * of, of, Z_LATENCY), lower(*already, Z_RECENT)
        limit = max(limit, before * (RECENT_BAD if before > limit else RECENT_SLOW))
        if page:
            limit *= math.exp(ENVELOPE_PAGE * wandering([_slower(h, edge) for h in kept]))
        if limit < SLOW_MAX:
            found.append(SlowBound(edge, limit, shares[edges.index(edge)]))
    return found


def counted(trials: Iterable[Trial]) -> list[Trial]:
    """Those that counted something, and are possible."""
    return [(bad, of) for bad, of in trials if of > 0 and possible(bad, of)]


def trimmed(trials: Iterable[Trial]) -> list[Trial]:
    """Those that counted something but for the worst tenth, the best first."""
    best_first = sorted(counted(trials), key=lambda trial: trial[0] / trial[1])
    return best_first[: len(best_first) - int(len(best_first) * WORST)]


def _pooled(trials: Sequence[Trial]) -> Trial:
    return math.fsum(bad for bad, _ in trials), math.fsum(of for _, of in trials)


def _is_histogram(buckets: Buckets) -> bool:
    """Whether it is one, of something."""
    if not buckets or buckets[-1][0] != math.inf or not 0 < buckets[-1][1] <= COUNT_MAX:
        return False
    (first, count), rising = buckets[0], all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(buckets))
    return first > 0 and count >= 0 and rising


def _slower(histogram: Mapping[float, float], edge: float) -> Trial:
    total = histogram[math.inf]
    return total - histogram[edge], total


def _without_slowest(known: Sequence[Mapping[float, float]], edges: Sequence[float]) -> list[Mapping[float, float]]:
    """But for the tenth that has most beyond the edge that about 15 % of all requests are slower than."""
    of = math.fsum(h[math.inf] for h in known)
    slow = {edge: max(math.fsum(_slower(h, edge)[0] for h in known), 0.5) for edge in edges}
    middle = min(edges, key=lambda edge: abs(math.log(slow[edge] / of / EDGES[1][2])))
    fastest_first = sorted(known, key=lambda h: -h[middle] / h[math.inf])
    return fastest_first[: len(known) - int(len(known) * WORST)]


def _scaled(shares: Sequence[float], edges: Sequence[float], factor: float, of: float) -> dict[float, float]:
    """The share beyond each edge if everything took ``factor`` times as long: normal scores, linear in log time.

    An edge is left out where that asks for what lies below the first one: how much does, nobody knows.
    """
    least = 0.5 / of
    scores = [NORMAL.inv_cdf(1 - min(max(share, least), 1 - least)) for share in shares]
    places = [math.log(edge) for edge in edges]
    found = {}
    for edge, place in zip(edges, places, strict=True):
        at = place - math.log(factor)
        if at >= places[0]:
            right = max(1, bisect_left(places, at))
            found[edge] = 1 - NORMAL.cdf(_between(places, scores, right, at)) if len(edges) > 1 else shares[0]
    return found


def _between(places: Sequence[float], scores: Sequence[float], right: int, at: float) -> float:
    left = right - 1
    part = (at - places[left]) / (places[right] - places[left])
    return scores[left] + part * (scores[right] - scores[left])
