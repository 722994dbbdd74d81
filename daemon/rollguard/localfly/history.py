"""What a metrics store remembers: the samples of all series, taken at intervals, kept for a while.

Time is an argument. The faults `metrics` and `metrics_lag_s` act here: `stale` takes no samples, which leaves a gap,
`reset` lets every counter begin at zero again with the next sample, once; a lag hides the newest samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rollguard.localfly.counters import Match, Series
from rollguard.localfly.faults import Faults

EVERY_S = 15.0
KEPT_S = 1800.0
LOOKBACK_S = 300.0  # an instant query takes no older sample
COUNTERS = frozenset({"counter", "histogram"})

Sample = tuple[str, str, Series, float]  # family, type, labels, value
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """All samples of one moment: labels to family, type and value."""

    at: float
    values: Mapping[Key, tuple[str, str, float]]


@dataclass(slots=True)
class History:
    """The scrapes of one source, oldest first."""

    source: Callable[[], Iterable[Sample]]
    faults: Faults
    _scrapes: deque[Scrape] = field(default_factory=deque)
    _zeros: dict[Key, float] = field(default_factory=dict)  # where counters were when they were reset
    _was_reset: bool = False

    def record(self, now: float) -> None:
        """Take a sample if one is due."""
        if self._scrapes and 0 <= now - self._scrapes[-1].at < EVERY_S:
            return
        if self.faults.metrics == "stale":
            return
        raw = {tuple(labels.items()): (family, kind, value) for family, kind, labels, value in self.source()}
        resets = self.faults.metrics == "reset"
        if resets and not self._was_reset:
            self._zeros = {key: value for key, (_, kind, value) in raw.items() if kind in COUNTERS}
        self._was_reset = resets
        self._scrapes.append(Scrape(now, {key: self._since_reset(key, *each) for key, each in raw.items()}))
        while self._scrapes[0].at < now - KEPT_S:
            self._scrapes.popleft()

    def at(self, when: float, now: float) -> Scrape | None:
        """The newest scrape that a query for `when` sees; None where all are too old, or too new."""
        seen = (scrape for scrape in reversed(self._scrapes) if scrape.at <= min(when, self._newest(now)))
        found = next(seen, None)
        return found if found and found.at >= when - LOOKBACK_S else None

    def between(self, start: float, end: float, now: float) -> list[Scrape]:
        """The scrapes after `start` and not after `end`."""
        return [scrape for scrape in self._scrapes if start < scrape.at <= min(end, self._newest(now))]

    def _newest(self, now: float) -> float:
        return now - self.faults.metrics_lag_s

    def _since_reset(self, key: Key, family: str, kind: str, value: float) -> tuple[str, str, float]:
        zero = self._zeros.get(key, 0.0)
        if zero > value:  # its process has begun anew by itself
            del self._zeros[key]
            zero = 0.0
        return family, kind, value - zero


def select(scrape: Scrape | None, match: Match) -> list[tuple[Series, float]]:
    """The series of a scrape that match, with their values."""
    if scrape is None:
        return []
    found = [(dict(key), value) for key, (_, _, value) in scrape.values.items()]
    return [(labels, value) for labels, value in found if match(labels)]
