"""The recent readings, bounded in time and in number."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from rollguard.core.model import GapKind, Reading

READINGS_MAX = 4096
"""Per key and subject. At one reading every 250 ms that is 17 minutes; longer windows have longer intervals."""

SUBJECTS_MAX = 2000
"""Per key. More than that is not one app; and a key that is full takes no place from another one."""

SWEEPS = 8
"""How often within one horizon what is older than that is looked for: every row is touched for it."""

Stamp = tuple[int, int]


class Windows:
    """Readings per (key, subject), oldest first; anything older than ``horizon_s`` may be forgotten."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._keys: dict[str, _Key] = {}
        self._swept_at = -math.inf

    def add(self, readings: Iterable[Reading]) -> None:
        """Take readings in. One that is older than its predecessor (a late answer) is put in its place."""
        by_key: dict[str, list[Reading]] = {}
        for reading in readings:
            by_key.setdefault(reading.key, []).append(reading)
        for key, some in by_key.items():
            known = self._keys.get(key)
            if known is None:
                known = self._keys[key] = _Key()
            known.add(some)

    def since(self, key: str, subject: str, start: float) -> list[Reading]:
        """Readings later than ``start``, oldest first."""
        row = self._row(key, subject)
        return row.readings[bisect_right(row.times, start) :]

    def newest(self, key: str, subject: str) -> Reading | None:
        """The newest reading; None: there is none."""
        readings = self._row(key, subject).readings
        return readings[-1] if readings else None

    def newest_first(self, key: str, subject: str, start: float = -math.inf) -> Iterator[Reading]:
        """Readings later than ``start``, newest first."""
        for reading in reversed(self._row(key, subject).readings):
            if reading.at <= start:
                return
            yield reading

    def answers(self, key: str, subject: str, start: float, end: float) -> tuple[int, int]:
        """How many readings later than ``start``, up to ``end``, are no gaps; and how many of those are a 5xx."""
        row = self._row(key, subject)
        first = bisect_right(row.times, start)
        last = bisect_right(row.times, end, lo=first)
        return row.answered[last] - row.answered[first], row.failed[last] - row.failed[first]

    def stamp(self, key: str, end: float = math.inf) -> Stamp:
        """Two equal stamps of a key: nothing that was read of it up to ``end`` has changed in between."""
        known = self._keys.get(key)
        return (0, 0) if known is None else (known.rewritten, bisect_right(known.came, end))

    def newest_at(self, key: str) -> float:
        """When the newest reading of a key was made, whoever it is about."""
        known = self._keys.get(key)
        return -math.inf if known is None else known.newest_at

    def doubt(self, start: float) -> None:
        """Since ``start`` the guard itself was cut off: what it could not reach says nothing."""
        for known in self._keys.values():
            for row in known.rows.values():
                known.rewritten += row.doubt(start)

    def forget(self, now: float) -> None:
        """Drop what is beyond the horizon, if that was not done lately."""
        if 0 <= now - self._swept_at < self._horizon_s / SWEEPS:
            return
        self._swept_at = now
        for known in self._keys.values():
            known.forget(now - self._horizon_s)

    def take_over(self, other: Windows) -> None:
        """Keep what another store has read, within this one's bounds."""
        self._keys = {}
        self.add(r for known in other._keys.values() for row in known.rows.values() for r in row.readings)

    def clear(self) -> None:
        """Forget everything: after a clock jump nothing in here can be dated."""
        for known in self._keys.values():
            known.forget(math.inf)
            known.newest_at = -math.inf

    def _row(self, key: str, subject: str) -> _Row:
        known = self._keys.get(key)
        return _NOTHING if known is None else known.rows.get(subject, _NOTHING)


@dataclass(slots=True)
class _Row:
    """Readings of one subject, and their times. ``answered``, ``failed``: of the first so many, how many are no gaps,
    and a 5xx; both may begin at any number, only differences count.
    """

    readings: list[Reading] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=lambda: [0])
    failed: list[int] = field(default_factory=lambda: [0])

    def add(self, reading: Reading) -> None:
        """Put it in its place."""
        if not self.times or self.times[-1] <= reading.at:
            self.readings.append(reading)
            self.times.append(reading.at)
            self._count(reading)
            return
        place = bisect_right(self.times, reading.at)
        self.readings.insert(place, reading)
        self.times.insert(place, reading.at)
        self._count_from(place)

    def drop(self, count: int) -> bool:
        """Drop the oldest ones; False when there are none to drop."""
        if count <= 0:
            return False
        del self.readings[:count], self.times[:count], self.answered[:count], self.failed[:count]
        return True

    def doubt(self, start: float) -> bool:
        """See ``Windows.doubt``; whether anything is doubted."""
        first = bisect_right(self.times, start)
        places = [p for p in range(first, len(self.readings)) if self.readings[p].unanswered]
        for place in places:
            reading = self.readings[place]
            self.readings[place] = replace(reading, value=None, gap=GapKind.NO_ANSWER, detail="the guard was cut off")
        if places:
            self._count_from(places[0])
        return bool(places)

    def _count_from(self, place: int) -> None:
        del self.answered[place + 1 :], self.failed[place + 1 :]
        for reading in self.readings[place:]:
            self._count(reading)

    def _count(self, reading: Reading) -> None:
        answered = reading.gap is None
        self.answered.append(self.answered[-1] + answered)
        self.failed.append(self.failed[-1] + (answered and reading.detail.startswith("HTTP 5")))


_NOTHING = _Row()


@dataclass(slots=True)
class _Key:
    """One key's rows by subject.

    ``came``: of each lot of readings that were all newer than what was there before, the oldest one's time; so in
    order. ``rewritten`` counts what else has changed.
    """

    rows: dict[str, _Row] = field(default_factory=dict)
    newest_at: float = -math.inf
    came: list[float] = field(default_factory=list)
    rewritten: int = 0

    def add(self, readings: Sequence[Reading]) -> None:
        """Take readings in."""
        times = [reading.at for reading in readings]
        oldest_at = min(times)
        if oldest_at > self.newest_at:
            self.came.append(oldest_at)
        else:
            self.rewritten += 1
        self.newest_at = max(self.newest_at, *times)
        for reading in readings:
            row = self.rows.get(reading.subject)
            if row is None:
                if len(self.rows) >= SUBJECTS_MAX:
                    continue
                row = self.rows[reading.subject] = _Row()
            row.add(reading)
            if len(row.readings) > READINGS_MAX:
                self.rewritten += row.drop(len(row.readings) - READINGS_MAX)

    def forget(self, start: float) -> None:
        """Drop what is not later than ``start``."""
        for row in self.rows.values():
            self.rewritten += row.drop(bisect_right(row.times, start))
        self.rows = {subject: row for subject, row in self.rows.items() if row.readings}
        gone = bisect_right(self.came, start)
        if gone:
            self.rewritten += 1
            del self.came[:gone]
