"""From what counters say at two instants to what happened in between.

A *series* is one label set of a counter or a histogram; its *subject* the machine it is about, or the edge. A counter
is a histogram with the one bound infinity, so both go the same way:

* the first sight of a subject says nothing; a series born later counts whole (its subject was read before it);
* a value that drops was reset: the new value is what happened since;
* what happened is dated by the samples' own times where the page has them: a store is behind what it tells of;
* a page older than the one before it (a replica that is behind) is no reset: it is not looked at;
* a subject on the page without a series under a key did nothing there: 0, not a gap;
* what cannot be believed is a gap and is not remembered; the next good value spans the longer time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from rollguard.core.model import GapKind, Reading
from rollguard.core.parts import Parts, parted

SERIES_MAX = 2000
"""Series on one page, all keys together; twice as many are remembered."""

BOUNDS_MAX = 200
COUNT_MAX = 2.0**53
"""Beyond this a float does not count any more."""

RATE_MAX = 100_000.0
"""No machine counts more per second; a small pause between two pages excuses as much as a second."""

DIP_MIN = 20.0
"""Counts below this may well start over and pass half of it within one interval."""

CONTRADICTED_MAX = 3
"""A count that has shrunk alone is not believed before so many pages say so."""

FORGET_AFTER_S = 3600.0
INF = math.inf

Place = tuple[str, str]
"""Key and subject."""

Buckets = dict[float, float]
"""By upper bound, cumulative."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a page, wanted under ``key``. ``series`` names its label set, without the bound.

    ``bound`` is a bucket's upper bound, infinite for a counter; ``at`` the sample's own time where the page has one;
    ``part`` the value of the label that the page's counters are split by.
    """

    key: str
    subject: str
    series: str
    value: float
    bound: float = INF
    at: float | None = None
    part: str = ""


class TooMany(ValueError):
    """The page has more series or bounds than one app can have."""


class _Unbelievable(Exception):
    def __init__(self, gap: GapKind, why: str) -> None:
        super().__init__(why)
        self.gap = gap


class _Contradicted(_Unbelievable):
    """One count of a source says that it started over, and the others that it did not."""


@dataclass(slots=True)
class _Row:
    """What is remembered at one place: the series' last good values, when they were so and read, if that was all; and
    how often in a row it was contradicted since.
    """

    true_at: float
    read_at: float
    series: dict[str, Buckets]
    complete: bool
    contradicted: int = 0


@dataclass(slots=True)
class _Page:
    rows: dict[Place, dict[str, Buckets]] = field(default_factory=dict)
    twice: set[Place] = field(default_factory=set)
    parts: dict[str, str] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)


class CounterBook:
    """The memory of one metrics page. ``counters`` and ``histograms`` are the keys that its samples may have; of the
    ``parts`` that counters are split into at most so many are told apart.
    """

    def __init__(
        self, counters: Iterable[str], histograms: Iterable[str] = (), *, stale_after_s: float = INF, parts: int = 0
    ) -> None:
        self._histograms = frozenset(histograms)
        self._keys = (*counters, *sorted(self._histograms))
        self._stale_after_s = stale_after_s
        self._seen_at: dict[str, float] = {}
        self._rows: dict[Place, _Row] = {}
        self._parts = Parts(parts)

    def take(self, samples: Sequence[Sample], now: float, *, complete: bool = True) -> list[Reading]:
        """The readings of a page read at ``now``: one per key for each subject on it that was read before.

        ``complete`` False: lines of the page were lost, so that a series that is new on the next page need not have
        been born since; it counts from there on. Raises ``TooMany``, and then remembers nothing of the page.
        """
        page = _page(samples, now)
        page.parts = self._parts.of((s.series, s.part, s.value) for s in samples if s.key not in self._histograms)
        readings: list[Reading] = []
        for subject, newest in page.newest.items():
            self._seen_at[subject] = now
            if math.isnan(newest):
                why = "a sample is dated with what is no time"
                readings += [_gap((key, subject), now, GapKind.NOT_A_NUMBER, why) for key in self._keys]
                continue
            if now - newest > self._stale_after_s:
                why = f"the newest sample is {now - newest:.0f}s old"
                readings += [_gap((key, subject), now, GapKind.STALE, why) for key in self._keys]
                continue
            restarted = self._restarted(subject, page)
            for key in self._keys:
                place = key, subject
                try:
                    if reading := self._read(place, page, min(newest, now), now, restarted, complete=complete):
                        readings.append(reading)
                except _Unbelievable as error:
                    readings.append(_gap(place, now, error.gap, str(error)))
        self._forget(now)
        return readings

    def _restarted(self, subject: str, page: _Page) -> bool:
        """Whether the source may have started over: what shrank is at least half of all that was counted before."""
        shrank = went_on = 0.0
        for key in self._keys:
            row, series = self._rows.get((key, subject)), page.rows.get((key, subject), {})
            for name, old in row.series.items() if row is not None else ():
                new = series.get(name, {})
                if any(new.get(bound, count) < count for bound, count in old.items()):
                    shrank += max(old.values())
                elif new:
                    went_on += max(old.values())
        return shrank >= went_on

    def _read(
        self, place: Place, page: _Page, true_at: float, now: float, restarted: bool, *, complete: bool
    ) -> Reading | None:
        series, is_histogram = page.rows.get(place, {}), place[0] in self._histograms
        if place in page.twice:
            raise _Unbelievable(GapKind.BAD_ANSWER, "the same series twice on one page")
        _believe(series.values(), is_histogram=is_histogram)
        row = self._rows.get(place)
        if row is None:
            self._rows[place] = _Row(true_at, now, dict(series), complete)
            return None
        if true_at < row.true_at and now >= row.read_at:
            raise _Unbelievable(GapKind.STALE, f"the page is {row.true_at - true_at:.0f}s older than the one before")
        after = _Row(true_at, now, row.series | series, complete)
        total, by_series = self._increase(place, row, after, series, restarted=restarted)
        bounds = sorted(total)
        buckets = tuple(zip(bounds, accumulate((total[bound] for bound in bounds), max), strict=True))
        count = buckets[-1][1] if buckets else 0.0
        shown = buckets if is_histogram else ()
        until = true_at if true_at < now else None
        return Reading(
            key=place[0],
            subject=place[1],
            at=now,
            value=count,
            since=row.true_at,
            until=until,
            buckets=shown,
            parts=parted(by_series, page.parts) if page.parts and not is_histogram else (),
        )

    def _increase(
        self, place: Place, before: _Row, after: _Row, series: Mapping[str, Buckets], *, restarted: bool
    ) -> tuple[Buckets, dict[str, float]]:
        """The increases by bound, and by series. What cannot have happened is not remembered; other bounds are,
        although they give no reading: there is nothing older to compare with.
        """
        try:
            total, by_series = _increase(before, series, restarted=restarted)
        except _Contradicted:
            before.contradicted += 1
            if before.contradicted >= CONTRADICTED_MAX:
                self._rows[place] = after
            raise
        except _Unbelievable:
            self._rows[place] = after
            raise
        if max(total.values(), default=0.0) > RATE_MAX * max(1.0, after.read_at - before.read_at):
            raise _Unbelievable(GapKind.NOT_A_NUMBER, "more at once than any app answers")
        self._rows[place] = after
        return total, by_series

    def _forget(self, now: float) -> None:
        """Drop subjects not seen for long; drop everything (one interval is lost) when too much has piled up."""
        if sum(len(row.series) for row in self._rows.values()) > 2 * SERIES_MAX * len(self._keys):
            self._rows.clear()
            self._seen_at.clear()
        gone = {subject for subject, seen_at in self._seen_at.items() if now - seen_at > FORGET_AFTER_S}
        if gone:
            self._rows = {place: row for place, row in self._rows.items() if place[1] not in gone}
            self._seen_at = {subject: at for subject, at in self._seen_at.items() if subject not in gone}


def _page(samples: Sequence[Sample], now: float) -> _Page:
    page, names = _Page(), {sample.series for sample in samples}
    if len(names) > SERIES_MAX:
        raise TooMany(f"more than {SERIES_MAX} series")
    for sample in samples:
        place = sample.key, sample.subject
        buckets = page.rows.setdefault(place, {}).setdefault(sample.series, {})
        if sample.bound in buckets:
            page.twice.add(place)
        buckets[sample.bound] = sample.value
        if len(buckets) > BOUNDS_MAX:
            raise TooMany(f"more than {BOUNDS_MAX} buckets in a histogram")
        at = now if sample.at is None else sample.at
        newest = page.newest.get(sample.subject, at)
        page.newest[sample.subject] = math.nan if math.isnan(at) or math.isnan(newest) else max(at, newest)
    return page


def _believe(series: Iterable[Buckets], *, is_histogram: bool) -> None:
    bounds: frozenset[float] | None = None
    for buckets in series:
        if not all(0 <= value <= COUNT_MAX for value in buckets.values()):
            raise _Unbelievable(GapKind.NOT_A_NUMBER, "a count that is negative, too large or no number")
        if is_histogram and (INF not in buckets or bounds not in (None, buckets.keys())):
            raise _Unbelievable(GapKind.BAD_ANSWER, "a histogram with unequal bounds, or without the infinite one")
        bounds = frozenset(buckets)


def _increase(before: _Row, now: Mapping[str, Buckets], *, restarted: bool) -> tuple[Buckets, dict[str, float]]:
    """The increases of all series together by bound, and of each as a whole. A series with one count less than before
    was reset whole.
    """
    total: Buckets = {}
    by_series: dict[str, float] = {}
    for name in sorted(now):  # so that the order of lines makes no difference, not even in the last digit
        new = now[name]
        old = before.series.get(name, {} if before.complete else new)
        if old and old.keys() != new.keys():
            raise _Unbelievable(GapKind.BAD_ANSWER, "the histogram's bounds changed")
        if any(new[bound] < count for bound, count in old.items()):
            if not restarted:
                raise _Contradicted(GapKind.BAD_ANSWER, "a count that shrank while the others of its source went on")
            if _dipped(old, new):
                raise _Unbelievable(GapKind.BAD_ANSWER, "a count that shrank a little, which no restart does")
            old = {}
        for bound, count in new.items():
            total[bound] = total.get(bound, 0.0) + count - old.get(bound, 0.0)
        by_series[name] = new.get(INF, 0.0) - old.get(INF, 0.0)
    return total, by_series


def _dipped(old: Buckets, new: Buckets) -> bool:
    """Whether a count shrank without starting over, as when two copies of a source answer in turn.

    Taken for a reset, the whole of it would count as new. A process that starts anew within an interval does not come
    back to more than half of what its predecessor had counted in all its life, unless that was next to nothing.
    """
    before, after = max(old.values()), max(new.values())
    return before >= DIP_MIN and after > before / 2


def _gap(place: Place, at: float, gap: GapKind, detail: str) -> Reading:
    return Reading(key=place[0], subject=place[1], at=at, gap=gap, detail=detail)
