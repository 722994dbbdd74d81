"""Counts responses and their times, and writes them down in Prometheus's text format."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

# Fly does not document its bounds; these resolve a page of 120 ms and a limit of 1 s or 3 s.
BOUNDS_S = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
)  # fmt: skip
EDGES = (*(f"{bound:g}" for bound in BOUNDS_S), "+Inf")
SELECTOR = re.compile(r"\s*(?P<name>[a-zA-Z_:][\w:]*)?\s*(?:\{(?P<matchers>.*)\})?\s*", re.DOTALL)
MATCHER = re.compile(r'\s*(?P<label>\w+)\s*(?P<op>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\]|\\.)*)"\s*(?:,|$)')
SELECTOR_CHARS_MAX = 500

Series = dict[str, str]  # the labels, the metric's name under "__name__"
Match = Callable[[Series], bool]


@dataclass(slots=True)
class _Tally:
    """One label set's responses: how many in each bucket (not cumulative), and their total time."""

    buckets: list[int]
    total_s: float = 0.0


class ResponseCounter:
    """A counter of responses and the histogram of their times, over the same labels."""

    def __init__(self, *, count: str, time: str, labels: Sequence[str]) -> None:
        self._count, self._time, self._labels = count, time, tuple(labels)
        self._tallies: dict[tuple[str, ...], _Tally] = {}

    def observe(self, values: tuple[str, ...], duration_s: float) -> None:
        """Count one response; ``values`` are those of the labels, in their order."""
        self.observe_many(values, duration_s, 1)

    def observe_many(self, values: tuple[str, ...], duration_s: float, times: int) -> None:
        """Count so many responses of the same duration."""
        tally = self._tallies.get(values)
        if tally is None:
            tally = self._tallies[values] = _Tally([0] * len(EDGES))
        tally.buckets[bisect_left(BOUNDS_S, duration_s)] += times
        tally.total_s += duration_s * times

    def forget_all_but(self, label: str, values: frozenset[str]) -> None:
        """Drop the series whose ``label`` is none of ``values``: what is gone must not be counted for ever."""
        at = self._labels.index(label)
        self._tallies = {key: tally for key, tally in self._tallies.items() if key[at] in values}

    def samples(self) -> Iterator[tuple[str, str, Series, float]]:
        """Every sample: its family's name, the family's type, its labels (name included), its value."""
        for values, tally in self._tallies.items():
            labels = dict(zip(self._labels, values, strict=True))
            yield self._count, "counter", {"__name__": self._count, **labels}, sum(tally.buckets)
        for values, tally in self._tallies.items():
            labels = dict(zip(self._labels, values, strict=True))
            for edge, count in zip(EDGES, accumulate(tally.buckets), strict=True):
                yield self._time, "histogram", {"__name__": f"{self._time}_bucket", **labels, "le": edge}, count
            yield self._time, "histogram", {"__name__": f"{self._time}_sum", **labels}, tally.total_s
            yield self._time, "histogram", {"__name__": f"{self._time}_count", **labels}, sum(tally.buckets)


def gauge(name: str, value: float) -> Iterator[tuple[str, str, Series, float]]:
    """One sample without labels."""
    yield name, "gauge", {"__name__": name}, value


def exposition(
    samples: Iterator[tuple[str, str, Series, float]], *, match: Match | None = None, at_ms: int | None = None
) -> bytes:
    """The samples in text format 0.0.4; only those that ``match``, with a timestamp where one is given."""
    lines: list[str] = []
    family = ""
    stamp = "" if at_ms is None else f" {at_ms}"
    for name, kind, series, value in samples:
        if match is not None and not match(series):
            continue
        if name != family:
            family = name
            lines.append(f"# TYPE {name} {kind}")
        labels = ",".join([_label(key, text) for key, text in series.items() if key != "__name__"])
        lines.append(f"{series['__name__']}{f'{{{labels}}}' if labels else ''} {value}{stamp}")
    return "".join(line + "\n" for line in lines).encode()


@lru_cache(maxsize=4096)
def _label(key: str, text: str) -> str:
    """The same few on every page."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{key}="{escaped}"'


def selector(text: str) -> Match:
    """What a ``match[]`` selects: a name, label matchers with ``= != =~ !~``, or both. Raises ValueError."""
    parts = SELECTOR.fullmatch(text) if len(text) <= SELECTOR_CHARS_MAX else None
    if parts is None:
        raise ValueError("not a series selector")
    wanted: list[tuple[str, bool, re.Pattern[str]]] = []
    if parts["name"]:
        wanted.append(("__name__", True, re.compile(re.escape(parts["name"]))))
    rest = (parts["matchers"] or "").strip()
    while rest:
        matcher = MATCHER.match(rest)
        if matcher is None:
            raise ValueError("not a label matcher")
        rest = rest[matcher.end() :]
        value = matcher["value"].replace('\\"', '"').replace("\\\\", "\\")
        try:
            pattern = re.compile(value if "~" in matcher["op"] else re.escape(value))
        except re.error as error:
            raise ValueError("not a regular expression") from error
        wanted.append((matcher["label"], "!" not in matcher["op"], pattern))
    if not wanted:
        raise ValueError("an empty selector would select everything")
    return lambda series: all(
        (pattern.fullmatch(series.get(label, "")) is not None) is positive for label, positive, pattern in wanted
    )
