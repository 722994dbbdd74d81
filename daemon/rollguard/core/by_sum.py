"""Rules over sums of the cohort: a ratio of counters, a quantile of a histogram."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from rollguard.core import ratios, text
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import Tenure, View
from rollguard.core.judging import Evidence, beyond, quorum, stale_after_s
from rollguard.core.policy import Quantile, Ratio, Rule
from rollguard.core.ratios import Measure

ALIKE = 0.5
"""Old machines that do at least half as badly as the new ones say that it is not the release."""

Measured = Callable[[View, float, float], Measure]
"""The measure of a view's cohort at an instant, of at least so many requests."""


def ratio(rule: Rule, condition: Ratio, evidence: Evidence, now: float) -> Finding:
    """The share of bad ones in the window, over the cohort together; held for ``for_s`` where the rule says so."""
    policy, windows = evidence.policy, evidence.windows
    measure: Measured = lambda view, at, least: ratios.ratio_at(
        replace(condition, min_count=least), policy, view, windows, at
    )
    return _by_sum(rule, condition, evidence, now, measure)


def quantile(rule: Rule, condition: Quantile, evidence: Evidence, now: float) -> Finding:
    """A quantile of the cohort's histogram in the window."""
    policy, windows = evidence.policy, evidence.windows
    measure: Measured = lambda view, at, least: ratios.quantile_at(
        replace(condition, min_count=least), policy, view, windows, at
    )
    return _by_sum(rule, condition, evidence, now, measure)


def _by_sum(rule: Rule, condition: Ratio | Quantile, evidence: Evidence, now: float, measure: Measured) -> Finding:
    key = condition.total if isinstance(condition, Ratio) else condition.key
    signal, view = evidence.policy.signal(key.partition(".")[0]), evidence.view
    measured = measure(view, now, condition.min_count)
    show = text.percent if isinstance(condition, Ratio) else text.seconds
    name = (
        f"{condition.bad} / {condition.total}" if isinstance(condition, Ratio) else f"{condition.key} q{condition.q:g}"
    )

    def make(state: RuleState, sentence: str, since: float | None = None, who: _Who | None = None) -> Finding:
        value, limit = measured.value, condition.limit
        who = who or _Who(Blame.RELEASE)
        return Finding(
            rule=rule,
            state=state,
            sentence=f"{who.words}{sentence}",
            value=value,
            limit=limit,
            blame=who.blame,
            machines=who.machines,
            since=since,
        )

    if measured.newest_at is None or now - measured.newest_at > stale_after_s(signal):
        youngest = max((t.since for t in view.cohort), default=-math.inf)
        born_at = max(evidence.alive_since, view.whole_since, youngest)
        if view.asleep or now - born_at <= stale_after_s(signal) + signal.every_s:
            return make(RuleState.CLEAR, f"{name}: nothing read yet")
        return make(RuleState.BLIND, f"no readings of {key}: {measured.gap or 'no answer'}")
    if measured.value is None:
        window = f"{measured.count:.0f} of {condition.min_count:.0f} in {text.seconds(condition.over_s)}"
        return make(RuleState.CLEAR, f"{name}: too little traffic to judge, {window}")
    side = "above" if condition.above else "below"
    words = f"{name} {show(measured.value)} of {measured.count:.0f} in {text.seconds(condition.over_s)}"
    if not beyond(measured.value, condition.limit, above=condition.above):
        return make(RuleState.CLEAR, f"{words}, limit {show(condition.limit)}")
    if not _whatever_comes(condition, measured):
        return make(RuleState.PENDING, f"{words}, limit {show(condition.limit)}: the window is not full yet")
    since = _held_since(condition, evidence, now, measure)
    words = f"{words}, {side} {show(condition.limit)}"
    if now - since >= condition.for_s:
        first_at = measured.first_at if measured.first_at is not None else now
        who = _who(rule, condition, view, measured, now, measure)
        return make(RuleState.FIRING, f"{words} since {text.clock(first_at)}", first_at, who)
    return make(
        RuleState.PENDING, f"{words}, for {text.seconds(now - since)} of {text.seconds(condition.for_s)}", since
    )


def _whatever_comes(condition: Ratio | Quantile, measured: Measure) -> bool:
    """Whether a share is too high even if the rest of its window should be clean: the first seconds of a machine's
    life may be rough.
    """
    if not isinstance(condition, Ratio) or not condition.above or measured.value is None:
        return True
    return measured.value * measured.covered > condition.limit


@dataclass(frozen=True, slots=True)
class _Who:
    """Whose doing it is, in which words, and which machines stand out."""

    blame: Blame
    words: str = ""
    machines: tuple[str, ...] = ()


def _who(rule: Rule, condition: Ratio | Quantile, view: View, measured: Measure, now: float, measure: Measured) -> _Who:
    """The release, if it does as badly without its worst machines (fewer than the quorum) and beside the old ones."""
    if measured.of_edge:
        return _Who(Blame.RELEASE if view.whole else Blame.EVERYONE)
    assert measured.value is not None
    old = _of(view, tuple(t for t in view.others if t.started))
    others = measure(old, now, condition.min_count).value if old.cohort else None
    if others is not None and _alike(condition, others, measured.value):
        return _Who(Blame.EVERYONE, "old and new machines alike, not the release: ")
    alone = [(t, measure(_of(view, (t,)), now, 0.0).value) for t in view.serving]
    ranked = sorted(
        ((value, t) for t, value in alone if value is not None), key=lambda p: p[0], reverse=condition.above
    )
    few = quorum(rule, view, len(ranked)) - 1
    worst, rest = ranked[:few], tuple(t for _, t in ranked[few:])
    without = measure(_of(view, rest), now, 0.0).value if worst else None
    if without is None or beyond(without, condition.limit, above=condition.above):
        return _Who(Blame.RELEASE)
    sick = tuple(t.machine for value, t in worst if beyond(value, condition.limit, above=condition.above))
    return _Who(Blame.MACHINE, f"machine {text.listing(sick)}, not the release: ", sick)


def _of(view: View, some: tuple[Tenure, ...]) -> View:
    """The same fleet with these machines alone in the middle."""
    rest = tuple(t for t in (*view.cohort, *view.others) if t not in some)
    return replace(view, cohort=some, others=rest)


def _alike(condition: Ratio | Quantile, old: float, new: float) -> bool:
    if not beyond(old, condition.limit, above=condition.above):
        return False
    return old >= ALIKE * new if condition.above else old * ALIKE <= new


def _held_since(condition: Ratio | Quantile, evidence: Evidence, now: float, measure: Measured) -> float:
    """The earliest instant, back to ``for_s``, from which the measure was beyond its limit at every reading."""
    if condition.for_s == 0:
        return now
    held = now
    key = condition.total if isinstance(condition, Ratio) else condition.key
    for at in ratios.reading_times(key, evidence.view, evidence.windows, now - condition.for_s - 60.0, now):
        then = measure(evidence.view, at, condition.min_count)
        if then.value is None or not beyond(then.value, condition.limit, above=condition.above):
            break
        held = at
    return held
