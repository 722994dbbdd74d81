"""From the result of an expression to one value, or one reason why there is none, per machine or for the edge."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rollguard.adapters.http import excerpt
from rollguard.adapters.signals.prometheus_store import QUERY_CHARS_SHOWN, NoResult, Result
from rollguard.adapters.signals.prometheus_wire import Series
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import Query

SUBJECTS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What holds for every value of a round. ``alive``: who has fresh counters in the same store, at the same time."""

    at: float
    machine_label: str | None
    started: Sequence[str]
    alive: Collection[str]
    max_age_s: float


def value_readings(key: str, query: Query, result: Result, now: Round) -> list[Reading]:
    """The newest value per machine; of the edge where the series has no machine's label.

    That a machine, or everything, is missing says "no traffic" only where the counters show that the store sees it;
    otherwise nobody can tell why, and it is no answer.
    """
    everyone = (*now.started, EDGE) if now.machine_label is not None else (EDGE,)
    if isinstance(result, NoResult):
        return [_gap(key, subject, now, result.gap, result.detail) for subject in everyone]
    shown = f"(query {excerpt(query.text, QUERY_CHARS_SHOWN)})"
    series: dict[str, list[Series]] = {}
    for one in result:
        subject = EDGE if now.machine_label is None else one.labels.get(now.machine_label) or EDGE
        series.setdefault(subject, []).append(one)
    if len(series) > SUBJECTS_MAX:
        why = f"more than {SUBJECTS_MAX} machines {shown}"
        return [_gap(key, subject, now, GapKind.BAD_ANSWER, why) for subject in everyone]
    wanted = series.keys() & {*everyone} if now.started else series.keys()
    readings = [_value(key, subject, series[subject], query, now, shown) for subject in sorted(wanted)]
    if series.keys() == {EDGE}:
        return readings
    of = excerpt(", ".join(sorted(series)[:3]), 80)
    why = f"not in the result, which has {of} {shown}" if series else f"an empty result {shown}"
    missing = [subject for subject in everyone if subject not in series and (subject != EDGE or not series)]
    return [*readings, *(_gap(key, subject, now, _why_missing(subject, now), why) for subject in missing)]


def _why_missing(subject: str, now: Round) -> GapKind:
    seen = bool(now.alive) if subject == EDGE else subject in now.alive
    return GapKind.NO_TRAFFIC if seen else GapKind.NO_ANSWER


def _value(key: str, subject: str, series: Sequence[Series], query: Query, now: Round, shown: str) -> Reading:
    if len(series) > 1:
        what = f"without the label {now.machine_label}" if now.machine_label and subject == EDGE else f"for {subject}"
        return _gap(key, subject, now, GapKind.BAD_ANSWER, f"{len(series)} series {excerpt(what, 80)} {shown}")
    at, value = series[0].samples[-1]
    if not math.isfinite(value * query.scale):
        return _gap(key, subject, now, GapKind.NOT_A_NUMBER, f"{value} {shown}")
    if now.at - at > now.max_age_s:
        return _gap(key, subject, now, GapKind.STALE, f"the newest sample is {now.at - at:.0f}s old {shown}")
    until = at if at < now.at else None
    return Reading(key=key, subject=subject, at=now.at, value=value * query.scale, until=until)


def _gap(key: str, subject: str, now: Round, gap: GapKind, detail: str) -> Reading:
    return Reading(key=key, subject=subject, at=now.at, gap=gap, detail=detail)
