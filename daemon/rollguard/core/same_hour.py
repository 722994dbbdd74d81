"""What the app did at the same hour of earlier days: a nightly job is no regression.

Per measure, a week of hours with what was counted in each. A release that comes before an hour which is always worse
is given as much more, within ``LEAST`` and ``MOST``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median_low
from typing import Any

from rollguard.core import text

HOUR_S, DAY_S = 3600.0, 86400.0
DAYS, DAYS_MIN = 7, 2
"""So many earlier days are kept; of fewer than two nothing is concluded: one day's outage is no habit."""
MEASURES_MAX = 32
BOUNDS_MAX = 24
BEFORE_S = 7200.0
"""The baseline is the last two hours, and so is what an hour of an earlier day is held against."""
OVERLAP_S_MIN = 300.0
"""An hour of which the watch has less than that does not count."""
REQUESTS_MIN = 200.0
"""An hour, or the time before it, with fewer requests says nothing."""
MOVES = 0.2
"""What moves less than that is left alone."""
LEAST, MOST = 0.8, 1.5
COUNT_MAX = 2.0**53
"""Beyond this a float does not count any more."""
FORMAT = 1

Buckets = tuple[tuple[float, float], ...]
"""(upper bound, cumulative count), the last bound infinite."""


@dataclass(slots=True)
class _Hour:
    """``bad`` of ``total``, or of a histogram how many were not ``slower`` than each finite bound."""

    bad: float = 0.0
    total: float = 0.0
    slower: dict[float, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lift:
    """How many times its level of the hours before a measure reaches in the hours that come, as it did on earlier days.

    ``days`` are how many of them said so. ``times`` is within ``LEAST`` and ``MOST``, 1.0 where nothing is known.
    """

    times: float = 1.0
    days: int = 0

    @property
    def sentence(self) -> str:
        """For the person on call; empty where nothing moves."""
        if self.times == 1.0:
            return ""
        change = f"{text.percent(abs(self.times - 1.0))} {'worse' if self.times > 1.0 else 'better'}"
        return f"at this hour of {self.days} earlier days it was {change} than before, too"


@dataclass(slots=True)
class SameHours:
    """A week of hours, per measure. Times are epoch seconds; hours are UTC's, whatever clocks on walls do in March."""

    hours: dict[str, dict[int, _Hour]] = field(default_factory=dict)

    def add(self, measure: str, at: float, bad: float, total: float, buckets: Buckets = ()) -> None:
        """Count what was counted until ``at``: ``bad`` of ``total``, or a histogram of ``total``.

        Counts that are negative, infinite, no number, or more bad than all are not evidence, and are left out; so are
        measures beyond ``MEASURES_MAX``. A clock that was put back by more than a week begins anew.
        """
        if not _sound(at, bad, total) or not all(_sound(at, n, total) for _, n in buckets):
            return
        rows = self.hours.get(measure)
        if rows is None:
            if len(self.hours) >= MEASURES_MAX:
                return
            rows = self.hours[measure] = {}
        number = int(at // HOUR_S)
        hour = rows.get(number) or _begun(rows, number)
        hour.total += total
        hour.bad = min(hour.total, hour.bad + bad)
        for bound, below in buckets:
            if math.isfinite(bound) and (bound in hour.slower or len(hour.slower) < BOUNDS_MAX):
                hour.slower[bound] = min(hour.total, hour.slower.get(bound, 0.0) + total - below)

    def lift(self, measure: str, at: float, watch_s: float, bound_s: float | None = None) -> Lift:
        """What a baseline that was learnt up to ``at`` is to be multiplied by for the ``watch_s`` that follow.

        It is the worst of the hours that the watch meets, over the two hours before, as the middle one of the earlier
        days has it. ``bound_s``: of a histogram, the share that was slower than that.
        """
        rows = self.hours.get(measure, {})
        found = []
        for day in range(1, DAYS + 1):
            then = at - day * DAY_S
            before = _level(rows, _hours(then - BEFORE_S, then), bound_s)
            after = [level for n in _hours(then, then + watch_s) if (level := _level(rows, [n], bound_s)) is not None]
            if before and after:
                found.append(max(after) / before)
        if len(found) < DAYS_MIN:
            return Lift(days=len(found))
        times = median_low(found)
        return Lift(min(MOST, max(LEAST, times)) if abs(times - 1.0) > MOVES else 1.0, len(found))

    # -- kept across restarts --------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """As JSON."""
        plain = {
            name: [[n, h.bad, h.total, sorted(h.slower.items())] for n, h in sorted(rows.items())]
            for name, rows in self.hours.items()
        }
        return json.dumps({"format": FORMAT, "hours": plain}, separators=(",", ":"))

    @classmethod
    def from_text(cls, kept: str) -> SameHours:
        """What ``to_text`` wrote. Raises ``ValueError`` for anything else."""
        try:
            plain = json.loads(kept)
            if plain["format"] != FORMAT:
                raise ValueError(f"format {plain['format']!r} is not known")
            hours = {str(name): _rows(rows) for name, rows in plain["hours"].items()}
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"not the kept hours: {error}") from error
        return cls(dict(list(hours.items())[:MEASURES_MAX]))


_KEPT = int((DAYS + 1) * DAY_S // HOUR_S)
"""The hours of the kept days, and those of today."""


def _begun(rows: dict[int, _Hour], number: int) -> _Hour:
    """A new hour; what is older than the kept days is forgotten, and all where the clock was put back by as much."""
    if number <= max(rows, default=number) - _KEPT:
        rows.clear()
    rows[number] = _Hour()
    for old in [n for n in rows if n <= max(rows) - _KEPT]:
        del rows[old]
    return rows[number]


def _sound(at: float, part: float, total: float) -> bool:
    return math.isfinite(at) and 0.0 <= part <= total <= COUNT_MAX


def _hours(start: float, end: float) -> list[int]:
    """The hours of which the time from ``start`` to ``end`` has enough."""
    edges = range(int(start // HOUR_S), int(end // HOUR_S) + 2)
    met = ((n, min(end, b * HOUR_S) - max(start, n * HOUR_S)) for n, b in pairwise(edges))
    return [n for n, overlap_s in met if overlap_s >= OVERLAP_S_MIN]


def _level(rows: Mapping[int, _Hour], numbers: Iterable[int], bound_s: float | None) -> float | None:
    """The share of bad ones over these hours; None where too little was counted. A share of 0 is one of a few."""
    known = [rows[n] for n in numbers if n in rows and (bound_s is None or bound_s in rows[n].slower)]
    total = sum(hour.total for hour in known)
    if total < REQUESTS_MIN:
        return None
    bad = sum(hour.bad if bound_s is None else hour.slower[bound_s] for hour in known)
    return (bad + 1.0) / (total + 2.0)


def _rows(plain: Iterable[Any]) -> dict[int, _Hour]:
    rows = {}
    for number, bad, total, slower in list(plain)[-_KEPT:]:
        shares = {float(bound): float(n) for bound, n in slower[:BOUNDS_MAX]}
        counts = (float(bad), *shares.values())
        if not math.isfinite(number) or not all(0.0 <= n <= float(total) < math.inf for n in counts):
            raise ValueError("an hour that counts nothing, or more bad ones than all")
        rows[int(number)] = _Hour(float(bad), float(total), shares)
    return rows
