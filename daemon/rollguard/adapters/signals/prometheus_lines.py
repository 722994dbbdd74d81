"""Which series a signal's counters need, in how few questions, and what each key sees of the answers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rollguard.adapters.signals.matching import bucket_bound, matcher
from rollguard.adapters.signals.prometheus_wire import Series
from rollguard.core.counters import INF, Sample
from rollguard.core.model import EDGE
from rollguard.core.signals import Matcher, PrometheusSignal, Selector

CUTS_MAX = 32
"""Instants of one machine's resets that are looked at in one round; older ones are seen as one."""

_ANY_DIALECT = re.compile(r"[\w .|*+?()\[\]{},^$/-]*", re.ASCII)
"""Regular expressions that mean the same here as at the store."""


@dataclass(frozen=True, slots=True)
class Key:
    """A counter or histogram under its full name; ``matches`` says which series of its question's answer are its."""

    name: str
    is_histogram: bool
    matches: Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Question:
    """A selector of raw samples, and whom its answer serves."""

    query: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One wire series as one key sees it; ``samples`` are oldest first."""

    key: str
    series: str
    bound: float
    samples: tuple[tuple[float, float], ...]
    part: str = ""


def questions(signal: PrometheusSignal, lookback_s: float) -> list[Question]:
    """One for each selector that no wider one of the same name covers: 5xx are among all the responses."""
    named = [(f"{signal.name}.{name}", selector, False) for name, selector in signal.counters.items()]
    named += [(f"{signal.name}.{name}", _buckets(selector), True) for name, selector in signal.histograms.items()]
    asked: dict[tuple[str, frozenset[Matcher]], list[Key]] = {}
    for name, selector, is_histogram in sorted(named, key=lambda item: len(set(item[1].matchers))):
        own = selector.name, frozenset(selector.matchers)
        place = next((place for place in asked if _covers(place, selector)), own)
        rest = [one for one in selector.matchers if one not in place[1]]
        asked.setdefault(place, []).append(Key(name, is_histogram, matcher(rest)))
    return [Question(f"{_written(*place)}[{math.ceil(lookback_s)}s]", tuple(keys)) for place, keys in asked.items()]


def lines(
    question: Question, series: Sequence[Series], machine_label: str | None, split: str | None = None
) -> Iterator[tuple[str, Line]]:
    """(subject, line) for each key that wants the series; those without a machine's label are nobody's. ``split`` is
    the label that tells a line's part.

    Raises ``ValueError`` for a bucket whose bound is no number.
    """
    for one in series:
        subject = EDGE if machine_label is None else one.labels.get(machine_label, "")
        for key in question.keys if subject else ():
            if key.matches(one.labels):
                bound = bucket_bound(one.labels) if key.is_histogram else INF
                kept = sorted(item for item in one.labels.items() if item[0] != "le" or not key.is_histogram)
                yield subject, Line(key.name, str(kept), bound, one.samples, one.labels.get(split or "", ""))


def resets(some: Iterable[Line], since: float) -> list[float]:
    """The instants later than ``since`` right before and right after a line fell: between them it was reset, and not
    in between the newest samples of two rounds, where it might have passed its old value again.
    """
    cuts: set[float] = set()
    for line in some:
        for (after_at, after), (before_at, before) in pairwise(reversed(line.samples)):
            if before_at <= since:
                cuts |= {after_at} if after < before else set()
                break
            if after < before:
                cuts |= {before_at, after_at}
    return sorted(cut for cut in cuts if cut > since)[-CUTS_MAX:]


def page(subject: str, some: Iterable[Line], at: float = INF) -> list[Sample]:
    """What a metrics page of the subject would have shown at an instant: the newest sample of each line."""
    shown = ((line, next((s for s in reversed(line.samples) if s[0] <= at), None)) for line in some)
    return [
        Sample(line.key, subject, line.series, s[1], line.bound, s[0], line.part) for line, s in shown if s is not None
    ]


def _buckets(selector: Selector) -> Selector:
    name = selector.name if selector.name.endswith("_bucket") else f"{selector.name}_bucket"
    return Selector(name, selector.matchers)


def _covers(place: tuple[str, frozenset[Matcher]], selector: Selector) -> bool:
    """Whether a selector's series are among another one's, and can be told from the others here as the store would."""
    rest = set(selector.matchers) - place[1]
    return (
        place[0] == selector.name
        and place[1] <= set(selector.matchers)
        and all(one.op in {"=", "!="} or _ANY_DIALECT.fullmatch(one.value) for one in rest)
    )


def _written(name: str, matchers: Iterable[Matcher]) -> str:
    parts = [f"{one.label}{one.op}{json.dumps(one.value, ensure_ascii=False)}" for one in matchers]
    return f"{name}{{{','.join(sorted(parts))}}}" if parts else name
