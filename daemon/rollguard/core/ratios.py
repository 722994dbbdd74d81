"""Counters and histograms summed over a cohort and a window of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from rollguard.core.confirm import again
from rollguard.core.fleet import View
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Policy, Quantile, Ratio
from rollguard.core.signals import CountSignal, JourneySignal, ProbeSignal, Scope
from rollguard.core.window import Windows

Span = tuple[float, float]
"""From when to when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A value over a window, or why there is none.

    ``value`` None with ``newest_at`` set: something was read, but fewer than the rule's minimum ``count``.
    ``gap`` is the newest reason for missing readings. ``of_edge``: the counts are what users got, of all digests.
    ``covered`` is the part of a ratio's window that was counted so far, up to 1; ``span_s`` the time from the first to
    the last count in the window, which was read at ``counted_to``. ``bad`` of ``count`` were bad in a
    ratio; ``buckets`` are a quantile's, with ``own`` probes of the guard in them. ``unread``: the newest thing heard is
    a gap. ``oldest_at``: nothing in the window was heard before that.
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
    oldest_at: float = math.inf


def ratio_at(condition: Ratio, policy: Policy, view: View, windows: Windows, at: float) -> Measure:
    """Bad over total within ``over_s`` before ``at``, the guard's own probes taken out of both.

    Where the bad ones could not be read although somebody tried, the total says nothing: unread is not zero.
    """
    total = _rows(condition.total, view, windows, at - condition.over_s, at)
    bad = _rows(condition.bad, view, windows, at - condition.over_s, at)
    own = own_of(policy, condition.total, view, windows, total.spans)
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
        first_at=min((r.to for r in bad.every if r.value), default=None),
        newest_at=bad.newest_at if bad.unread else total.newest_at,
        gap=bad.gap if bad.unread else total.gap,
        of_edge=total.of_edge,
        covered=min(1.0, _span_s(total.spans) / condition.over_s),
        bad=failed,
        span_s=_from_first_to_last_s(total.rows),
        counted_to=max((mine[-1].at for mine in total.rows.values()), default=None),
        unread=bad.unread or total.unread,
        oldest_at=min(bad.oldest_at, total.oldest_at),
    )


def quantile_at(condition: Quantile, policy: Policy, view: View, windows: Windows, at: float) -> Measure:
    """The quantile within ``over_s`` before ``at``, by linear interpolation inside its bucket.

    As Prometheus' ``histogram_quantile``: in the last, infinite bucket the answer is that bucket's lower bound. The
    guard's own probes cannot be told apart in a histogram, but they do not count towards its minimum.
    """
    read = _rows(condition.key, view, windows, at - condition.over_s, at)
    buckets = _summed(read.every)
    own = own_of(policy, condition.key, view, windows, read.spans)
    counts = _by_subject(read.rows)
    probes = sum(min(n, own.get(subject, (0.0, 0.0))[0]) for subject, n in counts.items())
    count = sum(counts.values()) - probes if buckets else 0.0
    enough = count >= condition.min_count and count > 0 and len(buckets) > 1
    return Measure(
        value=quantile(condition.q, buckets) if enough else None,
        count=count,
        first_at=min((r.to for r in read.every), default=None),
        newest_at=read.newest_at,
        gap=read.gap,
        of_edge=read.of_edge,
        buckets=tuple(buckets),
        own=probes,
        span_s=_from_first_to_last_s(read.rows),
        counted_to=max((mine[-1].at for mine in read.rows.values()), default=None),
        unread=read.unread,
        oldest_at=read.oldest_at,
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
    return sorted({r.at for r in _rows(key, view, windows, start, end).every}, reverse=True)


@dataclass(slots=True)
class _Rows:
    """What was read of a key in a window.

    ``rows`` are by subject the increments wholly inside its present life, ``spans`` their times (see ``_spans``).
    ``newest_at`` is the last answer, ``gap`` the
    newest reason for none, ``unread``: it is newer than any answer in the window. Nothing was heard before
    ``oldest_at``.
    """

    rows: dict[str, list[Reading]] = field(default_factory=dict)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    newest_at: float | None = None
    gap: str = ""
    unread: bool = False
    of_edge: bool = False
    oldest_at: float = math.inf

    @property
    def every(self) -> Iterator[Reading]:
        """The increments of all subjects."""
        return chain.from_iterable(self.rows.values())


def _rows(key: str, view: View, windows: Windows, start: float, end: float) -> _Rows:
    """Increments of the cohort wholly inside its machines' present lives, and when the source last answered.

    What users got at the edge counts for the candidate alone only since every machine runs it.
    """
    lives = [(t.machine, t.since) for t in view.serving]
    found, gap, answered_at = _Rows(), None, -math.inf
    for subject, since in (*lives, (EDGE, view.whole_since if view.whole else -math.inf)):
        heard = windows.since(key, subject, start)
        while heard and heard[-1].at > end:
            heard.pop()
        if not heard:
            continue
        found.oldest_at = min(found.oldest_at, heard[0].at)
        gaps = [r for r in heard if r.gap is not None]
        silent = next((r for r in gaps[::-1] if not _answers(r)), None)
        if silent is not None and (gap is None or silent.at > gap.at):
            gap = silent
        answered_at = max(answered_at, next((r.at for r in heard[::-1] if _answers(r)), -math.inf))
        found.of_edge |= subject == EDGE and len(gaps) < len(heard)
        mine = [r for r in heard if r.gap is None and r.since is not None and r.since >= since]
        if mine:
            found.rows[subject], found.spans[subject] = mine, _spans(mine)
    found.newest_at = answered_at if answered_at > -math.inf else last_answer(key, view, windows)
    if gap is not None:
        found.gap, found.unread = str(gap.gap), gap.at > answered_at
    return found


def _answers(reading: Reading) -> bool:
    """Whether the source answered: that nothing was asked of a machine is an answer too."""
    return reading.gap is None or reading.gap is GapKind.NO_TRAFFIC


def last_answer(key: str, view: View, windows: Windows) -> float | None:
    """When the source of ``key`` last answered, for the edge or any machine of the cohort; None: never."""
    newest = (
        next((r.at for r in windows.newest_first(key, subject) if _answers(r)), None)
        for subject in (EDGE, *(t.machine for t in view.serving))
    )
    return max((at for at in newest if at is not None), default=None)


def answered_since(start: float, key: str, view: View, windows: Windows) -> bool:
    """Whether the source of ``key`` has answered at ``start`` or later, for the edge or any machine of the cohort."""
    before = math.nextafter(start, -math.inf)
    for subject in (*[t.machine for t in view.cohort if t.started], EDGE):
        newest = windows.newest(key, subject)
        if newest is None or newest.at <= before:
            continue
        if _answers(newest) or any(_answers(reading) for reading in windows.newest_first(key, subject, before)):
            return True
    return False


def newest_gap(key: str, view: View, windows: Windows) -> str:
    """The newest reason for which nothing was read of the cohort; empty where there is none."""
    heard = (next(windows.newest_first(key, s), None) for s in (EDGE, *(t.machine for t in view.serving)))
    gaps = [r for r in heard if r is not None and r.gap is not None]
    return str(max(gaps, key=lambda r: r.at).gap) if gaps else ""


def _by_subject(rows: Mapping[str, Sequence[Reading]]) -> dict[str, float]:
    return {subject: sum(row.value or 0.0 for row in mine) for subject, mine in rows.items()}


def own_probes(policy: Policy, key: str) -> list[ProbeSignal]:
    """The guard's own probes that a counter may have in it."""
    signal = policy.signal(key.partition(".")[0])
    counted = isinstance(signal, CountSignal) and signal.counts_probes
    return [s for s in policy.signals if isinstance(s, ProbeSignal)] if counted else []


def probe_keys(policy: Policy, key: str) -> Iterator[str]:
    """The keys that say how many of the guard's own probes a counter has in it."""
    for probe in own_probes(policy, key):
        yield probe.name
        yield again(probe.name)
        if isinstance(probe, JourneySignal):
            yield from (f"{probe.name}.{step.name}" for step in probe.steps)


def own_of(
    policy: Policy, key: str, view: View, windows: Windows, spans: Mapping[str, Sequence[Span]]
) -> dict[str, tuple[float, float]]:
    """By subject: how many of its counted requests were the guard's own probes, and how many of those got a 5xx."""
    probes = own_probes(policy, key)
    if not probes:
        return {}
    started = [t.machine for t in (*view.serving, *(t for t in view.others if t.started))]
    at_edge: dict[tuple[str, float, float], tuple[float, float]] = {}  # the same for each of hundreds of machines
    made: dict[str, tuple[float, float]] = {}
    for counted, times in spans.items():
        # The edge counts every probe; a machine its own, and its share of those that came in at the edge.
        share, asked = (1.0, started) if counted == EDGE else (1.0 / len(started), [counted])
        count = bad = 0.0
        for start, end in times:
            for probe in probes:
                if Scope.EDGE in probe.scopes:
                    place = probe.name, start, end
                    if place not in at_edge:
                        at_edge[place] = _count(windows, probe, EDGE, start, end)
                    own, failed = at_edge[place]
                    count, bad = count + own * share, bad + failed * share
                for subject in asked if Scope.MACHINE in probe.scopes else ():
                    own, failed = _count(windows, probe, subject, start, end)
                    count, bad = count + own, bad + failed
        made[counted] = count, bad
    return made


def _spans(rows: Sequence[Reading]) -> list[Span]:
    """The times of one subject's increments, those that follow upon each other as one."""
    spans: list[Span] = []
    for row in rows:
        start = row.since if row.since is not None else row.at
        if spans and spans[-1][1] == start:
            start, _ = spans.pop()
        spans.append((start, row.to))
    return spans


def _span_s(spans: Mapping[str, Sequence[Span]]) -> float:
    """For how long was counted, on average over the subjects."""
    return sum(end - start for times in spans.values() for start, end in times) / max(1, len(spans))


def _from_first_to_last_s(rows: Mapping[str, Sequence[Reading]]) -> float:
    if not rows:
        return 0.0
    every = list(chain.from_iterable(rows.values()))
    return max(r.to for r in every) - min(r.since for r in every if r.since is not None)


def _count(windows: Windows, probe: ProbeSignal, subject: str, start: float, end: float) -> tuple[float, float]:
    """How many requests a probe made, and how many of them were answered with a 5xx."""
    asked = [windows.answers(key, subject, start, end) for key in (probe.name, again(probe.name))]
    made, failed = (sum(counts) for counts in zip(*asked, strict=True))
    if isinstance(probe, JourneySignal):
        made = sum(windows.answers(f"{probe.name}.{step.name}", subject, start, end)[0] for step in probe.steps)
    return float(made), float(failed)


def _summed(rows: Iterable[Reading]) -> list[tuple[float, float]]:
    """The rows' histograms as one, at the bounds that all of them have: only there can cumulative counts be added."""
    split = [tuple(zip(*r.buckets, strict=True)) for r in rows if r.buckets]
    if len({bounds for bounds, _ in split}) == 1:  # as nearly always, and then ten times as fast
        counts = zip(*(counts for _, counts in split), strict=True)
        return sorted(zip(split[0][0], map(sum, counts), strict=True))
    some = [dict(zip(bounds, counts, strict=True)) for bounds, counts in split]
    shared = set(some[0]).intersection(*some[1:]) if some else set()
    return [(bound, sum(buckets[bound] for buckets in some)) for bound in sorted(shared)]
