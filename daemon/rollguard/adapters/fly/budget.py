"""Fly's rate limits, kept by ourselves: a bucket of tokens for each action on each machine or app.

Fly counts per action and identifier: one request a second and bursts of 3; five a second and bursts of 10 for one
machine's state. What only watches leaves the last tokens of a bucket to what acts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BUCKETS_MAX = 2000
HINT_S_MAX = 8.0
_WHOLE = 1.0 - 1e-6  # a token, as floating point counts it


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``rate`` tokens come in a second, a little under Fly's own, for two requests may arrive closer than they left.

    ``reserve`` of the ``burst`` are for acting only.
    """

    rate: float
    burst: int
    reserve: int


USUAL = Limit(rate=0.95, burst=3, reserve=2)
ONE_MACHINE = Limit(rate=4.75, burst=10, reserve=6)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    refusals: int = 0


class Budget:
    """What may be sent now. Time is an argument in seconds; one that goes back refills nothing."""

    def __init__(self, limit_of: Callable[[str], Limit]) -> None:
        """``limit_of`` an action, which is a request's method and path: each machine's and each app's is its own."""
        self._limit_of = limit_of
        self._buckets: dict[str, _Bucket] = {}

    def take(self, action: str, now: float, *, acting: bool) -> float:
        """Take a token and return 0, or the seconds (> 0) after which to ask again."""
        limit, bucket = self._limit_of(action), self._bucket(action, now)
        wanted = 1.0 if acting else 1.0 + limit.reserve
        if bucket.tokens >= wanted - 1.0 + _WHOLE:
            bucket.tokens -= 1.0
            return 0.0
        return (wanted - bucket.tokens) / limit.rate

    def refused(self, action: str, now: float) -> float:
        """Fly said 429: the bucket is empty. Return the seconds to stay away: 1, doubled with each one in a row."""
        bucket = self._bucket(action, now)
        bucket.tokens = 0.0
        bucket.refusals += 1
        return min(HINT_S_MAX, 2.0 ** (bucket.refusals - 1))

    def admitted(self, action: str) -> None:
        """Fly took this one."""
        if bucket := self._buckets.get(action):
            bucket.refusals = 0

    def _bucket(self, action: str, now: float) -> _Bucket:
        """As full as it is now; moved to the end, so that the first is the one unused for longest."""
        limit = self._limit_of(action)
        bucket = self._buckets.pop(action, None) or _Bucket(tokens=limit.burst, at=now)
        bucket.tokens = min(limit.burst, bucket.tokens + max(0.0, now - bucket.at) * limit.rate)
        bucket.at = now
        self._buckets[action] = bucket
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return bucket
