"""What a rule that compares says at one instant: its state, whom it blames, and the sentence for the person on call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from rollguard.core import ratios, text
from rollguard.core.evidence.strata import Stratum, total
from rollguard.core.finding import Blame, Finding, RuleState, Trigger, Words
from rollguard.core.judging import Evidence, stale_after_s
from rollguard.core.policy import Action, Compared, Gauge, Probes, Quantile, Ratio, Rule
from rollguard.core.relative.comparison import EARLY_S, GOES_ON_S, Comparison
from rollguard.core.relative.gauges import GaugeWager, value_of
from rollguard.core.relative.wagers import HINT, Bound, Wager

LOG_ODDS_MAX = math.log(1e12)


def finding_of(rule: Rule, comparison: Comparison | None, evidence: Evidence, settle_s: float, now: float) -> Finding:
    """The rule's answer. ``comparison`` None: it was not begun for this release."""
    assert isinstance(rule.condition, Compared)
    blind = _blind(rule.condition, evidence, now)
    if blind is not None:
        return _said(rule, blind[1], blind[0])
    if comparison is None:
        return _said(rule, f"{_name(rule.condition)}: {_nothing(rule.condition, evidence)}")
    if comparison.calm is not None:
        return comparison.calm
    shown = comparison.side_by_side
    wager = shown or comparison.strongest
    if wager is None:
        return _said(rule, f"{_name(rule.condition)}: {_nothing(rule.condition, evidence)}")
    if not wager.counted:
        why = f"nothing was counted yet; what a machine does in its first {text.seconds(settle_s) or '0 s'} is left out"
        return _said(rule, f"{_name(rule.condition, wager.bound)}: {why}")
    return _judged(rule, rule.condition, comparison, wager, evidence, settle_s, now, shown=shown is not None)


def _said(rule: Rule, sentence: str, state: RuleState = RuleState.CLEAR) -> Finding:
    """There is nothing to weigh."""
    return Finding(rule=rule, state=state, said=sentence, trigger=Trigger.RELATIVE)


def _judged(
    rule: Rule,
    condition: Compared,
    comparison: Comparison,
    wager: Wager,
    evidence: Evidence,
    settle_s: float,
    now: float,
    *,
    shown: bool,
) -> Finding:
    log_odds = max(wager.log_evidence, wager.live.log_evidence) if shown and wager.live else wager.log_evidence
    won, odds = shown or comparison.won, math.exp(min(max(log_odds, 0.0), LOG_ODDS_MAX))
    comparison.mark(log_odds, now, won=won)
    value, said = _shown(condition, wager)
    finding = Finding(
        rule=rule,
        state=RuleState.CLEAR,
        said=said,
        value=value,
        limit=wager.bound.limit,
        baseline=wager.bound.baseline,
        bound_s=wager.bound.bound_s,
        since=comparison.since,
        trigger=Trigger.RELATIVE,
        odds=odds,
    )
    if log_odds < HINT and not won:
        comparison.calm = finding
        return finding
    words = finding.sentence
    convicted = (
        f"{words}: were it within tolerance, evidence this strong would turn up in fewer than 1 of {odds:,.0f} releases"
    )
    if won and comparison.requests < condition.of.min_count:
        why = f"{comparison.requests:.0f} of {condition.of.min_count:.0f} requests are counted"
        return replace(finding, state=RuleState.PENDING, said=f"{convicted}; {why}")
    if won and comparison.won_at is not None and now - comparison.won_at < condition.of.for_s:
        held = f"for {text.seconds(now - comparison.won_at) or '0 s'} of {text.seconds(condition.of.for_s)}"
        return replace(finding, state=RuleState.PENDING, said=f"{convicted}, {held}")
    if won and comparison.won_at is not None and (why := _may_be_a_blip(rule, comparison, wager, evidence, now)):
        return replace(finding, state=RuleState.PENDING, said=f"{convicted}; {why}")
    goes_on = comparison.goes_on()
    if won and comparison.rearmed and not goes_on:
        why = f"after the watch people are called for what still grows after {text.seconds(GOES_ON_S)}"
        return replace(finding, state=RuleState.PENDING, said=f"{convicted}; {why}")
    early = now - comparison.armed_at <= EARLY_S + settle_s
    if won:
        return _convicted(replace(finding, said=convicted), comparison, wager, evidence, early=early)
    if goes_on and rule.then is Action.ROLLBACK and not early:
        few = replace(finding, state=RuleState.FIRING, said=f"{convicted}: too few to act on")
        return _only_page(_sick(few, wager, evidence) or few)
    if log_odds >= HINT:
        return replace(finding, state=RuleState.PENDING, said=f"{words}: odds of {odds:,.0f} so far")
    return finding


def _may_be_a_blip(rule: Rule, comparison: Comparison, wager: Wager, evidence: Evidence, now: float) -> str:
    """Why one machine, which has nobody beside it, is not blamed yet; empty where it has gone on for long enough."""
    view, alone_s, won_at = evidence.view, evidence.policy.comparing.alone_s, comparison.won_at or now
    if len(view.cohort) + len(view.others) > 1 or rule.then is Action.PAGE or alone_s <= 0.0:
        return ""
    if now - won_at < alone_s:
        return f"one machine has nobody beside it: it must go on for {text.seconds(alone_s - (now - won_at))} more"
    if wager.is_over(since=won_at):
        comparison.won_at = now  # what the bet remembers for long is not to be brought up by a single stray error
        return "one machine has nobody beside it, and of late it is not surely beyond tolerance"
    return ""


def _convicted(finding: Finding, comparison: Comparison, wager: Wager, evidence: Evidence, *, early: bool) -> Finding:
    """Enough against the release: whose doing it is, and what may follow."""
    finding, view = replace(finding, state=RuleState.FIRING), evidence.view
    if finding.rule.then is Action.PAGE and early:
        return replace(finding, state=RuleState.PENDING)
    if comparison.side_by_side is not None:
        beside = "machines on the old image, under the same users, do not have it"
        return replace(finding, side_by_side=True, said=f"{finding.sentence}; {beside}")
    if wager.old_too:
        words = f"old and new machines alike, not the release: {finding.sentence}"
        return replace(finding, blame=Blame.EVERYONE, said=words)
    if (of_machine := _sick(finding, wager, evidence)) is not None:
        return of_machine
    if comparison.rearmed:
        return _only_page(finding)
    if (wager.live is not None or isinstance(wager, GaugeWager)) and not view.whole:
        why = "machines on the old image have not shown yet that it is the release"
        return _only_page(replace(finding, said=f"{finding.sentence}; {why}"))
    return finding


def _sick(finding: Finding, wager: Wager, evidence: Evidence) -> Finding | None:
    """The same, told of the one machine that does it, if one does."""
    sick = wager.sick() if evidence.view.whole else ()
    words = f"machine {text.listing(sick)}, not the release: {finding.sentence}"
    return replace(finding, blame=Blame.MACHINE, machines=sick, said=words) if sick else None


def _only_page(finding: Finding) -> Finding:
    """Fires, and asks for people only."""
    return replace(finding, rule=replace(finding.rule, then=Action.PAGE))


# -- why not -----------------------------------------------------------------------------------------------------------


def _blind(condition: Compared, evidence: Evidence, now: float) -> tuple[RuleState, str] | None:
    """Blind, or why that would be too much said; None: there are fresh readings."""
    key, view = _KEYS[type(condition.of)](condition.of), evidence.view
    signal = evidence.policy.signal(key.partition(".")[0])
    if ratios.answered_since(now - stale_after_s(signal), key, view, evidence.windows):
        return None
    youngest = max((t.since for t in view.cohort), default=-math.inf)
    born_at = max(evidence.alive_since, view.whole_since, youngest)
    if view.asleep or now - born_at <= stale_after_s(signal) + signal.every_s:
        return RuleState.CLEAR, f"{_name(condition)}: nothing read yet"
    return RuleState.BLIND, f"no readings of {key}: {ratios.newest_gap(key, view, evidence.windows) or 'no answer'}"


def _nothing(condition: Compared, evidence: Evidence) -> str:
    if evidence.baseline is None:
        return f"nothing to compare with yet: {evidence.no_baseline or 'the older release is not known yet'}"
    return f"nothing to compare with: too little is known of {text.short(evidence.baseline.digest)}"


# -- words -------------------------------------------------------------------------------------------------------------


_KEYS: Mapping[type, Callable[[object], str]] = {
    Ratio: attrgetter("total"),
    Quantile: attrgetter("key"),
    Probes: attrgetter("signal"),
    Gauge: attrgetter("key"),
}
"""What a comparison reads: where nothing comes of it, it is blind."""


def _name(condition: Compared, bound: Bound | None = None) -> str:
    match condition.of:
        case Ratio(bad=bad, total=total_key):
            return f"{bad} / {total_key}"
        case Probes(signal=signal):
            return f"failed {signal}"
        case Gauge(key=key):
            return key
        case Quantile(key=key):
            bound_s = bound.bound_s if bound is not None else None
            return f"{key} beyond {text.seconds(bound_s)}" if bound_s is not None else key


def _shown(condition: Compared, wager: Wager) -> tuple[float | None, Words]:
    """The value that is shown, and the sentence about it."""
    if isinstance(wager, GaugeWager):
        newest = value_of(wager.strata[-1].new)
        return newest, _Read(condition, wager.bound, newest)
    bad, of = total([tally for stratum in wager.strata for tally in stratum.new])
    return bad / of if of else None, _Counted(condition, wager.bound, bad, of, wager.strata[0], wager.strata[-1])


class _Read(NamedTuple):
    """The sentence about a gauge's newest value."""

    condition: Compared
    bound: Bound
    value: float | None

    def __str__(self) -> str:
        bound, said = self.bound, text.seconds(self.value) if self.value is not None else "not read"
        tolerated = f"tolerated {text.seconds(bound.limit)} (baseline {text.seconds(bound.baseline)})"
        return f"{_name(self.condition, bound)} {said}, {tolerated}"


class _Counted(NamedTuple):
    """The sentence about so many bad ones of so many, in the intervals from the oldest to the newest one."""

    condition: Compared
    bound: Bound
    bad: float
    of: float
    oldest: Stratum
    newest: Stratum

    def __str__(self) -> str:
        condition, bound, of = self.condition, self.bound, self.of
        span_s = self.newest.at - self.oldest.at + self.oldest.dt_s * self.oldest.gap
        shown = f"{text.percent(self.bad / of)} of {of:.0f}" if of else "no traffic"
        tolerated = _tolerated(bound.limit, None if isinstance(condition.of, Probes) else bound.baseline)
        lifted = f"; {bound.lifted}" if bound.lifted else ""
        return f"{_name(condition, bound)} {shown} in {text.seconds(span_s) or '0 s'}, {tolerated}{lifted}"


@lru_cache(maxsize=256)
def _tolerated(limit: float, baseline: float | None) -> str:
    """The same for every scrape of a release."""
    before = "" if baseline is None else f" (baseline {text.percent(baseline)})"
    return f"tolerated {text.percent(limit)}{before}"
