"""Rules over sums of the cohort: a ratio of counters, a quantile of a histogram."""

from __future__ import annotations

from collections.abc import Callable

from rollguard.core import ratios, text
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judging import Evidence, beyond, stale_after_s
from rollguard.core.policy import Quantile, Ratio, Rule


def ratio(rule: Rule, condition: Ratio, evidence: Evidence, now: float) -> Finding:
    """The share of bad ones in the window, over the cohort together; held for ``for_s`` where the rule says so."""
    return _by_sum(
        rule,
        condition,
        evidence,
        now,
        lambda at: ratios.ratio_at(condition, evidence.policy, evidence.view, evidence.windows, at),
    )


def quantile(rule: Rule, condition: Quantile, evidence: Evidence, now: float) -> Finding:
    """A quantile of the cohort's histogram in the window."""
    return _by_sum(
        rule,
        condition,
        evidence,
        now,
        lambda at: ratios.quantile_at(condition, evidence.policy, evidence.view, evidence.windows, at),
    )


def _by_sum(
    rule: Rule,
    condition: Ratio | Quantile,
    evidence: Evidence,
    now: float,
    measure: Callable[[float], ratios.Measure],
) -> Finding:
    key = condition.total if isinstance(condition, Ratio) else condition.key
    signal = evidence.policy.signal(key.partition(".")[0])
    measured = measure(now)
    blame = Blame.RELEASE if evidence.view.whole or not measured.of_edge else Blame.EVERYONE
    show = text.percent if isinstance(condition, Ratio) else text.seconds
    name = (
        f"{condition.bad} / {condition.total}" if isinstance(condition, Ratio) else f"{condition.key} q{condition.q:g}"
    )

    def make(state: RuleState, sentence: str, since: float | None = None) -> Finding:
        value, limit = measured.value, condition.limit
        return Finding(rule=rule, state=state, sentence=sentence, value=value, limit=limit, blame=blame, since=since)

    if measured.newest_at is None or now - measured.newest_at > stale_after_s(signal):
        young = now - max(evidence.alive_since, evidence.view.whole_since) <= stale_after_s(signal) + signal.every_s
        if young:
            return make(RuleState.CLEAR, f"{name}: nothing read yet")
        return make(RuleState.BLIND, f"no readings of {key}: {measured.gap or 'no answer'}")
    if measured.value is None:
        window = f"{measured.count:.0f} of {condition.min_count:.0f} in {text.seconds(condition.over_s)}"
        sentence = f"{name}: too little traffic to judge, {window}"
        return make(RuleState.CLEAR, sentence)
    side = "above" if condition.above else "below"
    words = f"{name} {show(measured.value)} of {measured.count:.0f} in {text.seconds(condition.over_s)}"
    if not beyond(measured.value, condition.limit, above=condition.above):
        return make(RuleState.CLEAR, f"{words}, limit {show(condition.limit)}")
    since = _held_since(condition, evidence, now, measure)
    words = f"{words}, {side} {show(condition.limit)}"
    if now - since >= condition.for_s:
        first_at = measured.first_at if measured.first_at is not None else now
        return make(RuleState.FIRING, f"{words} since {text.clock(first_at)}", first_at)
    return make(
        RuleState.PENDING, f"{words}, for {text.seconds(now - since)} of {text.seconds(condition.for_s)}", since
    )


def _held_since(
    condition: Ratio | Quantile, evidence: Evidence, now: float, measure: Callable[[float], ratios.Measure]
) -> float:
    """The earliest instant, back to ``for_s``, from which the measure was beyond its limit at every reading."""
    if condition.for_s == 0:
        return now
    held = now
    key = condition.total if isinstance(condition, Ratio) else condition.key
    for at in ratios.reading_times(key, evidence.view, evidence.windows, now - condition.for_s - 60.0, now):
        then = measure(at)
        if then.value is None or not beyond(then.value, condition.limit, above=condition.above):
            break
        held = at
    return held
