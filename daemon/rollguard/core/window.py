"""The recent readings, bounded in time and in number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollguard.core.model import GapKind, Reading

READINGS_MAX = 4096
"""Per key and subject. At one reading every 250 ms that is 17 minutes; longer windows have longer intervals."""

SUBJECTS_MAX = 2000
"""Per key. More than that is not one app; and a key that is full takes no place from another one."""


class Windows:
    """Readings per (key, subject), oldest first; anything older than ``horizon_s`` may be forgotten."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._readings: dict[str, dict[str, list[Reading]]] = {}

    def add(self, readings: Iterable[Reading]) -> None:
        """Take readings in. One that is older than its predecessor (a late answer) is put in its place."""
        for reading in readings:
            rows = self._readings.setdefault(reading.key, {})
            row = rows.get(reading.subject)
            if row is None:
                if len(rows) >= SUBJECTS_MAX:
                    continue
                row = rows[reading.subject] = []
            if row and row[-1].at > reading.at:
                row.insert(bisect_right(row, reading.at, key=lambda r: r.at), reading)
            else:
                row.append(reading)
            if len(row) > READINGS_MAX:
                del row[: len(row) - READINGS_MAX]

    def since(self, key: str, subject: str, start: float) -> list[Reading]:
        """Readings later than ``start``, oldest first."""
        row = self._readings.get(key, {}).get(subject, [])
        return row[bisect_right(row, start, key=lambda r: r.at) :]

    def newest_first(self, key: str, subject: str) -> Iterator[Reading]:
        """All that is still known, newest first."""
        return reversed(self._readings.get(key, {}).get(subject, []))

    def doubt(self, start: float) -> None:
        """Since ``start`` the guard itself was cut off: what it could not reach says nothing."""
        for row in self._rows():
            for place in range(bisect_right(row, start, key=lambda r: r.at), len(row)):
                if row[place].unanswered:
                    row[place] = replace(row[place], value=None, gap=GapKind.NO_ANSWER, detail="the guard was cut off")

    def forget(self, now: float) -> None:
        """Drop what is beyond the horizon."""
        for row in self._rows():
            del row[: bisect_right(row, now - self._horizon_s, key=lambda r: r.at)]
        kept = {key: {subject: row for subject, row in rows.items() if row} for key, rows in self._readings.items()}
        self._readings = {key: rows for key, rows in kept.items() if rows}

    def take_over(self, other: Windows) -> None:
        """Keep what another store has read, within this one's bounds."""
        self._readings = {
            key: {subject: list(row) for subject, row in rows.items()} for key, rows in other._readings.items()
        }

    def clear(self) -> None:
        """Forget everything: after a clock jump nothing in here can be dated."""
        self._readings.clear()

    def _rows(self) -> Iterator[list[Reading]]:
        return (row for rows in self._readings.values() for row in rows.values())
