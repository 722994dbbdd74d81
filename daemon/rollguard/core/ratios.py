"""Counters and histograms summed over a cohort and a window of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollguard.core.fleet import View
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import HttpSignal, JsonSignal, Policy, Quantile, Ratio, Scope, ScrapeSignal
from rollguard.core.window import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value over a window, or why there is none.

    ``value`` None with ``newest_at`` set: something was read, but fewer than the rule's minimum ``count``.
    ``gap`` is the newest reason for missing readings. ``of_edge``: the counts are what users got, of all digests.
    """

    value: float | None
    count: float = 0.0
    first_at: float | None = None
    newest_at: float | None = None
    gap: str = ""
    of_edge: bool = False


def ratio_at(condition: Ratio, policy: Policy, view: View, windows: Windows, at: float) -> Measure:
    """Bad over total within ``over_s`` before ``at``, the guard's own probes taken out of both."""
    total = _rows(condition.total, view, windows, at - condition.over_s, at)
    bad = _rows(condition.bad, view, windows, at - condition.over_s, at)
    own, own_bad = _own_probes(policy, condition.total, view, windows, total.rows)
    count = max(0.0, sum(r.value or 0.0 for r in total.rows) - own)
    failed = min(count, max(0.0, sum(r.value or 0.0 for r in bad.rows) - own_bad))
    enough = count >= condition.min_count and count > 0
    return Measure(
        value=failed / count if enough else None,
        count=count,
        first_at=min((r.at for r in bad.rows if r.value), default=None),
        newest_at=total.newest_at,
        gap=total.gap,
        of_edge=total.of_edge,
    )


def quantile_at(condition: Quantile, view: View, windows: Windows, at: float) -> Measure:
    """The quantile within ``over_s`` before ``at``, by linear interpolation inside its bucket.

    As Prometheus' ``histogram_quantile``: in the last, infinite bucket the answer is that bucket's lower bound.
    """
    read = _rows(condition.key, view, windows, at - condition.over_s, at)
    buckets = _summed(read.rows)
    count = buckets[-1][1] if buckets else 0.0
    enough = count >= condition.min_count and count > 0
    return Measure(
        value=quantile(condition.q, buckets) if enough else None,
        count=count,
        first_at=min((r.at for r in read.rows), default=None),
        newest_at=read.newest_at,
        gap=read.gap,
        of_edge=read.of_edge,
    )


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float:
    """``buckets`` are (upper bound, cumulative count), sorted, at least one of them with a count."""
    wanted = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, cumulative in buckets:
        if cumulative >= wanted:
            if math.isinf(bound):
                return lower
            inside = cumulative - below
            return lower + (bound - lower) * ((wanted - below) / inside if inside > 0 else 1.0)
        lower, below = bound, cumulative
    return lower


def reading_times(key: str, view: View, windows: Windows, start: float, end: float) -> list[float]:
    """When ``key`` was read for the cohort, newest first."""
    rows = _rows(key, view, windows, start, end).rows
    return sorted({r.at for r in rows}, reverse=True)


@dataclass(frozen=True, slots=True)
class _Rows:
    rows: list[Reading]
    newest_at: float | None
    gap: str
    of_edge: bool


def _rows(key: str, view: View, windows: Windows, start: float, end: float) -> _Rows:
    """Increments of the cohort wholly inside its machines' present lives, and when the source last answered."""
    rows: list[Reading] = []
    answered: list[float] = []
    gap, of_edge = "", False
    for subject, since in [*((t.machine, t.since) for t in view.serving), (EDGE, view.whole_since)]:
        for reading in windows.since(key, subject, start):
            if reading.at > end:
                continue
            if _answers(reading):
                answered.append(reading.at)
            if reading.gap is not None:
                gap = str(reading.gap)
                continue
            of_edge = of_edge or subject == EDGE
            if (reading.since or 0.0) >= since or (subject == EDGE and not view.whole):
                rows.append(reading)
    newest = max(answered, default=None) or _last_answer(key, view, windows)
    return _Rows(rows, newest, gap, of_edge)


def _answers(reading: Reading) -> bool:
    """Whether the source spoke: "no traffic" is an answer, no scrape and nonsense are not."""
    return reading.gap is None or reading.gap is GapKind.NO_TRAFFIC


def _last_answer(key: str, view: View, windows: Windows) -> float | None:
    """When the source last spoke of anybody in the cohort, within what is still known."""
    newest = (
        next((r.at for r in windows.newest_first(key, subject) if _answers(r)), None)
        for subject in (EDGE, *(t.machine for t in view.serving))
    )
    return max((at for at in newest if at is not None), default=None)


def _own_probes(policy: Policy, key: str, view: View, windows: Windows, rows: Iterable[Reading]) -> tuple[float, float]:
    """How many of the counted requests were the guard's own probes, and how many of those got a 5xx."""
    signal = policy.signal(key.partition(".")[0])
    if not isinstance(signal, ScrapeSignal) or not signal.counts_probes:
        return 0.0, 0.0
    spans = [(r.subject, r.since or r.at, r.at) for r in rows]
    if not spans:
        return 0.0, 0.0
    serving = len(view.serving)
    everyone = serving + sum(t.started for t in view.others)
    share = serving / everyone if everyone else 0.0
    start, end = min(s for _, s, _ in spans), max(e for _, _, e in spans)
    count = bad = 0.0
    for probe in (s for s in policy.signals if isinstance(s, HttpSignal | JsonSignal)):
        if Scope.MACHINE in probe.scopes:
            for tenure in (*view.serving, *((t for t in view.others if t.started) if spans[0][0] == EDGE else ())):
                own, failed = _count(windows, probe.name, tenure.machine, max(start, tenure.since), end)
                count, bad = count + own, bad + failed
        if Scope.EDGE in probe.scopes:
            own, failed = _count(windows, probe.name, EDGE, start, end)
            weight = 1.0 if spans[0][0] == EDGE else share
            count, bad = count + own * weight, bad + failed * weight
    return count, bad


def _count(windows: Windows, key: str, subject: str, start: float, end: float) -> tuple[float, float]:
    made = [r for r in windows.since(key, subject, start) if r.at <= end and r.gap is None]
    return float(len(made)), float(sum(r.detail.startswith("HTTP 5") for r in made))


def _summed(rows: Iterable[Reading]) -> list[tuple[float, float]]:
    sums: dict[float, float] = {}
    for reading in rows:
        for bound, count in reading.buckets:
            sums[bound] = sums.get(bound, 0.0) + count
    return sorted(sums.items())
