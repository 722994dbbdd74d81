"""Counters and histograms summed over a cohort and a window of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollguard.core.fleet import View
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Policy, Quantile, Ratio
from rollguard.core.signals import CountSignal, JourneySignal, ProbeSignal, Scope
from rollguard.core.window import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value over a window, or why there is none.

    ``value`` None with ``newest_at`` set: something was read, but fewer than the rule's minimum ``count``.
    ``gap`` is the newest reason for missing readings. ``of_edge``: the counts are what users got, of all digests.
    ``covered`` is the part of a ratio's window that was counted so far, up to 1; ``span_s`` the time from the first to
    the last count in the window, which was read at ``counted_to``. ``bad`` of ``count`` were bad in a
    ratio; ``buckets`` are a quantile's, with ``own`` probes of the guard in them. ``unread``: the newest thing heard is
    a gap.
    """

    value: float | None
    count: float = 0.0
    first_at: float | None = None
    newest_at: float | None = None
    gap: str = ""
    of_edge: bool = False
    covered: float = 1.0
    bad: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()
    own: float = 0.0
    span_s: float = 0.0
    counted_to: float | None = None
    unread: bool = False


def ratio_at(condition: Ratio, policy: Policy, view: View, windows: Windows, at: float) -> Measure:
    """Bad over total within ``over_s`` before ``at``, the guard's own probes taken out of both.

    Where the bad ones could not be read although somebody tried, the total says nothing: unread is not zero.
    """
    total = _rows(condition.total, view, windows, at - condition.over_s, at)
    bad = _rows(condition.bad, view, windows, at - condition.over_s, at)
    own = _own_probes(policy, condition.total, view, windows, total.rows)
    counts, errors = _by_subject(total.rows), _by_subject(bad.rows)
    count = failed = 0.0
    for subject, counted in counts.items():  # one machine's probes are not taken out of another one's requests
        probes, probes_bad = own.get(subject, (0.0, 0.0))
        users = max(0.0, counted - probes)
        count += users
        failed += min(users, max(0.0, errors.get(subject, 0.0) - probes_bad))
    enough = count >= condition.min_count and count > 0
    return Measure(
        value=failed / count if enough else None,
        count=count,
        first_at=min((r.to for r in bad.rows if r.value), default=None),
        newest_at=bad.newest_at if bad.unread else total.newest_at,
        gap=bad.gap if bad.unread else total.gap,
        of_edge=total.of_edge,
        covered=min(1.0, _span_s(total.rows) / condition.over_s),
        bad=failed,
        span_s=_from_first_to_last_s(total.rows),
        counted_to=max((r.at for r in total.rows), default=None),
        unread=bad.unread or total.unread,
    )


def quantile_at(condition: Quantile, policy: Policy, view: View, windows: Windows, at: float) -> Measure:
    """The quantile within ``over_s`` before ``at``, by linear interpolation inside its bucket.

    As Prometheus' ``histogram_quantile``: in the last, infinite bucket the answer is that bucket's lower bound. The
    guard's own probes cannot be told apart in a histogram, but they do not count towards its minimum.
    """
    read = _rows(condition.key, view, windows, at - condition.over_s, at)
    buckets = _summed(read.rows)
    own = _own_probes(policy, condition.key, view, windows, read.rows)
    counts = _by_subject(read.rows)
    probes = sum(min(n, own.get(subject, (0.0, 0.0))[0]) for subject, n in counts.items())
    count = sum(counts.values()) - probes if buckets else 0.0
    enough = count >= condition.min_count and count > 0 and len(buckets) > 1
    return Measure(
        value=quantile(condition.q, buckets) if enough else None,
        count=count,
        first_at=min((r.to for r in read.rows), default=None),
        newest_at=read.newest_at,
        gap=read.gap,
        of_edge=read.of_edge,
        buckets=tuple(buckets),
        own=probes,
        span_s=_from_first_to_last_s(read.rows),
        counted_to=max((r.at for r in read.rows), default=None),
        unread=read.unread,
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
    """``unread``: the newest thing heard is a gap. ``gap`` is its reason, ``newest_at`` the last answer before."""

    rows: list[Reading]
    newest_at: float | None
    gap: str
    unread: bool
    of_edge: bool


def _rows(key: str, view: View, windows: Windows, start: float, end: float) -> _Rows:
    """Increments of the cohort wholly inside its machines' present lives, and when the source last answered.

    What users got at the edge counts for the candidate alone only since every machine runs it.
    """
    lives = [(t.machine, t.since) for t in view.serving]
    heard: list[Reading] = []
    rows: list[Reading] = []
    for subject, since in (*lives, (EDGE, view.whole_since if view.whole else -math.inf)):
        for reading in windows.since(key, subject, start):
            if reading.at > end:
                break
            heard.append(reading)
            if reading.gap is None and reading.since is not None and reading.since >= since:
                rows.append(reading)
    gap = max((r for r in heard if not _answers(r)), key=lambda r: r.at, default=None)
    newest_at = max((r.at for r in heard if _answers(r)), default=None)
    return _Rows(
        rows=rows,
        newest_at=newest_at if newest_at is not None else _last_answer(key, view, windows),
        gap=str(gap.gap) if gap else "",
        unread=gap is not None and (newest_at is None or gap.at > newest_at),
        of_edge=any(r.subject == EDGE and r.gap is None for r in heard),
    )


def _answers(reading: Reading) -> bool:
    """Whether the source answered: that nothing was asked of a machine is an answer too."""
    return reading.gap is None or reading.gap is GapKind.NO_TRAFFIC


def _last_answer(key: str, view: View, windows: Windows) -> float | None:
    newest = (
        next((r.at for r in windows.newest_first(key, subject) if _answers(r)), None)
        for subject in (EDGE, *(t.machine for t in view.serving))
    )
    return max((at for at in newest if at is not None), default=None)


def _by_subject(rows: Iterable[Reading]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in rows:
        sums[row.subject] = sums.get(row.subject, 0.0) + (row.value or 0.0)
    return sums


def _own_probes(
    policy: Policy, key: str, view: View, windows: Windows, rows: Iterable[Reading]
) -> dict[str, tuple[float, float]]:
    """By subject: how many of its counted requests were the guard's own probes, and how many of those got a 5xx."""
    signal = policy.signal(key.partition(".")[0])
    if not isinstance(signal, CountSignal) or not signal.counts_probes:
        return {}
    started = [t.machine for t in (*view.serving, *(t for t in view.others if t.started))]
    probes = [s for s in policy.signals if isinstance(s, ProbeSignal)]
    everyone = {EDGE: 1.0} | dict.fromkeys(started, 1.0)
    at_edge: dict[tuple[str, float, float], tuple[float, float]] = {}  # the same for each of hundreds of machines
    made: dict[str, tuple[float, float]] = {}
    for counted, start, end in _spans(rows):
        # The edge counts every probe; a machine its own, and its share of those that came in at the edge.
        asked = everyone if counted == EDGE else {EDGE: 1.0 / len(started), counted: 1.0}
        for probe in probes:
            for subject, weight in asked.items():
                if subject == EDGE and Scope.EDGE in probe.scopes:
                    place = probe.name, start, end
                    if place not in at_edge:
                        at_edge[place] = _count(windows, probe, EDGE, start, end)
                    own, failed = at_edge[place]
                elif subject != EDGE and Scope.MACHINE in probe.scopes:
                    own, failed = _count(windows, probe, subject, start, end)
                else:
                    continue
                count, bad = made.get(counted, (0.0, 0.0))
                made[counted] = count + own * weight, bad + failed * weight
    return made


def _spans(rows: Iterable[Reading]) -> list[tuple[str, float, float]]:
    """(subject, start, end) of the increments, those that follow upon each other as one."""
    spans: list[tuple[str, float, float]] = []
    for row in rows:
        start = row.since if row.since is not None else row.at
        if spans and spans[-1][0] == row.subject and spans[-1][2] == start:
            start = spans.pop()[1]
        spans.append((row.subject, start, row.to))
    return spans


def _span_s(rows: Sequence[Reading]) -> float:
    """For how long was counted, on average over the subjects."""
    spans = [end - start for _, start, end in _spans(rows)]
    return sum(spans) / max(1, len({row.subject for row in rows}))


def _from_first_to_last_s(rows: Sequence[Reading]) -> float:
    starts = [row.since for row in rows if row.since is not None]
    return max(row.to for row in rows) - min(starts) if starts else 0.0


def _count(windows: Windows, probe: ProbeSignal, subject: str, start: float, end: float) -> tuple[float, float]:
    """How many requests a probe made, and how many of them were answered with a 5xx."""
    made = [r for r in windows.since(probe.name, subject, start) if r.at <= end and r.gap is None]
    failed = float(sum(r.detail.startswith("HTTP 5") for r in made))
    if not isinstance(probe, JourneySignal):
        return float(len(made)), failed
    steps = (windows.since(f"{probe.name}.{step.name}", subject, start) for step in probe.steps)
    return float(sum(r.at <= end and r.gap is None for row in steps for r in row)), failed


def _summed(rows: Iterable[Reading]) -> list[tuple[float, float]]:
    """The rows' histograms as one, at the bounds that all of them have: only there can cumulative counts be added."""
    some = [dict(r.buckets) for r in rows if r.buckets]
    shared = set(some[0]).intersection(*some[1:]) if some else set()
    return [(bound, sum(buckets[bound] for buckets in some)) for bound in sorted(shared)]
