"""Gauges that a release is compared by: what the machines of a cohort say in one round, as one value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median_low

from rollguard.core.baseline import VALUES_MAX, Baseline, measure_of
from rollguard.core.evidence.gauge import GaugeBound
from rollguard.core.fleet import View
from rollguard.core.judging import scopes_of
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Compared, Gauge, Policy, Threshold
from rollguard.core.signals import Scope
from rollguard.core.window import Windows


def middle(values: Iterable[float]) -> float | None:
    """The median; of an even number the lower one of both, so that more than half of the machines must be worse."""
    found = list(values)
    return median_low(found) if found else None


def is_value(reading: Reading) -> bool:
    """Whether it is a time at all. A gauge of 0 had nothing to measure."""
    return reading.gap is None and reading.value is not None and 0.0 < reading.value < math.inf


def lives_of(of: Gauge, policy: Policy, view: View) -> dict[str, tuple[float, bool]]:
    """Whose readings count: since when each runs what it runs, and whether that is the candidate.

    Where no machine is asked by name, the edge while every machine runs the candidate.
    """
    if Scope.MACHINE not in scopes_of(policy.signal(of.key.partition(".")[0])):
        return {EDGE: (view.whole_since, True)} if view.whole else {}
    others = {t.machine: (t.since, False) for t in view.others}
    return others | {t.machine: (t.since, True) for t in view.cohort}


def values_of(of: Gauge, policy: Policy, view: View, windows: Windows, start: float, end: float) -> tuple[float, ...]:
    """The cohort's value of each round from ``start`` to ``end``, at most ``VALUES_MAX``, spread over the time."""
    every_s = policy.signal(of.key.partition(".")[0]).every_s
    rounds: dict[int, list[float]] = {}
    for subject, (since, new) in lives_of(of, policy, view).items():
        for reading in _within(windows, of.key, subject, max(start, since), end) if new else ():
            if is_value(reading):
                rounds.setdefault(int(reading.at // every_s), []).append(reading.value or 0.0)
    values = [median_low(rounds[number]) for number in sorted(rounds)]
    return tuple(values[:: math.ceil(len(values) / VALUES_MAX) or 1])


def as_limit(condition: Compared, policy: Policy, baseline: Baseline | None) -> Threshold | None:
    """The limit that a comparison of a gauge comes to; None: nothing is known."""
    of = condition.of
    if baseline is None or not isinstance(of, Gauge):
        return None
    known = GaugeBound.learnt(baseline.gauges(measure_of(of, policy)), condition.factor)
    return None if known is None else Threshold(key=of.key, limit=known.limit, above=True, for_s=of.for_s)


def _within(windows: Windows, key: str, subject: str, start: float, end: float) -> Sequence[Reading]:
    return [reading for reading in windows.newest_first(key, subject, start) if start < reading.at <= end]
