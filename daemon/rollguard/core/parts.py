"""Counters told apart by a label, such as the route: a bounded number of its values, whatever a page says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

OTHERS = ""
"""All values together beyond the most that are told apart, and series without the label."""

CHARS_MAX = 120
"""A label's value is cut to so many characters; it is shown to people, escaped."""


class Parts:
    """Which values of the label are told apart: the ``most`` that are seen first, the busiest of a page first.

    Once chosen they stay, so that a part is the same on every page and of every counter.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, counted: Iterable[tuple[str, str, float]]) -> dict[str, str]:
        """The part of each series of a page, which is (series, the label's value, count)."""
        if not self._most:
            return {}
        named = {series: (value[:CHARS_MAX], count) for series, value, count in counted}
        busy: dict[str, float] = {}
        for value, count in named.values():
            if value not in self._known:
                busy[value] = busy.get(value, 0.0) + (count if 0 <= count < math.inf else 0.0)
        busy.pop(OTHERS, None)
        room = self._most - len(self._known)
        self._known.update(sorted(busy, key=lambda value: (-busy[value], value))[:room])
        return {series: value if value in self._known else OTHERS for series, (value, _) in named.items()}


def parted(increases: Mapping[str, float], parts: Mapping[str, str]) -> tuple[tuple[str, float], ...]:
    """The increases of series, by part; in order, without those in which nothing happened."""
    found: dict[str, float] = {}
    for series, increase in increases.items():
        if increase and (part := parts.get(series)) is not None:
            found[part] = found.get(part, 0.0) + increase
    return tuple(sorted(found.items()))


def names(rows: Iterable[Sequence[tuple[str, float]]]) -> list[str]:
    """The parts that anything happened in, in order."""
    return sorted({name for row in rows for name, _ in row})
