"""Rate limits of the Machines API: per action and identifier (a machine, or an app), as buckets of tokens."""

from __future__ import annotations

from rollguard.localfly.refusal import Refused

DEFAULT = (1.0, 3)  # requests a second, burst
BY_ACTION = {"get": (5.0, 10)}
BUCKETS_MAX = 10_000


class Limits:
    """Time is an argument; a clock that goes back refills nothing."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, action: str, identifier: str, now: float) -> None:
        """One request; 429 when too many came. A refused one costs nothing."""
        rate, burst = BY_ACTION.get(action, DEFAULT)
        key = (action, identifier)
        tokens, at = self._buckets.pop(key, (float(burst), now))
        tokens = min(burst, tokens + max(0.0, now - at) * rate)
        allowed = tokens >= 1.0 - 1e-9
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)  # at the end: the first is the oldest
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        if not allowed:
            raise Refused(429, "rate limit exceeded")
