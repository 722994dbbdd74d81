"""Rules that compare a release with the one before it: worse than what that did, and more than chance can explain.

What decides are counts: a share of bad requests, or of requests slower than a bucket's bound. Quantiles are shown to
people and decide nothing: between two bounds nobody knows where a request was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from rollguard.core import bounds, text
from rollguard.core.baseline import Baseline, Times, measure_of
from rollguard.core.bounds import Latencies
from rollguard.core.by_sum import Limit, by_sum
from rollguard.core.finding import Finding, Trigger
from rollguard.core.judging import MARGIN_S, Evidence, settled
from rollguard.core.policy import Compared, Quantile, Ratio, Rule
from rollguard.core.ratios import Measure, quantile

REQUESTS_MIN = 50.0
"""A baseline of fewer requests says nothing."""

SURE_Z, PART_Z = 2.6, 0.5
"""By how many standard errors a release must be beyond what is tolerated: in the whole window, and in each part."""

PARTS, PARTS_S_MIN = 3, 45.0
"""A release is worse in every third of the time, and for so long at least: hiccups of others pass sooner."""


def compared(rule: Rule, condition: Compared, evidence: Evidence, now: float) -> Finding:
    """The release against its baseline. Without one there is no evidence: clear, and the sentence says so."""
    settle_s = evidence.policy.comparing.settle_s
    evidence = replace(evidence, view=settled(evidence.view, settle_s))
    limit = _missing(condition, evidence, now) or _limit(condition, evidence)
    return by_sum(rule, condition.of, evidence, now, limit)


def _missing(condition: Compared, evidence: Evidence, now: float) -> Limit | None:
    """Why the release cannot be compared, if so."""
    baseline = evidence.baseline
    if baseline is None:
        return _nothing(f"nothing to compare with yet: {evidence.no_baseline or 'the older release is not known yet'}")
    requests = baseline.requests(measure_of(condition.of, evidence.policy))
    if requests < REQUESTS_MIN:
        known = f"{requests:.0f} requests of {text.short(baseline.digest)} are known"
        return _nothing(f"nothing to compare with yet: {known}, {REQUESTS_MIN:.0f} are needed")
    if evidence.view.serving and all(t.since > now for t in evidence.view.serving):
        settle = text.seconds(evidence.policy.comparing.settle_s)
        why = f"every machine settles: what it does in its first {settle} is not compared"
        return _nothing(why, until=min(t.since for t in evidence.view.serving) - MARGIN_S)
    return None


def _nothing(why: str, until: float = math.inf) -> Limit:
    no: Callable[[Measure], bool] = lambda m: False
    said: Callable[[Measure], str] = lambda m: why
    return Limit(
        value=None,
        beyond=no,
        sure=no,
        doubt="",
        near=said,
        past=said,
        trigger=Trigger.RELATIVE,
        nothing=why,
        nothing_until=until,
    )


def _limit(condition: Compared, evidence: Evidence) -> Limit:
    assert evidence.baseline is not None
    measure = measure_of(condition.of, evidence.policy)
    if isinstance(condition.of, Ratio):
        return _of_share(condition, evidence.baseline, measure)
    return _of_quantile(condition, condition.of, evidence.baseline, measure)


# -- shares ------------------------------------------------------------------------------------------------------------


def _of_share(condition: Compared, baseline: Baseline, measure: str) -> Limit:
    whole = bounds.pooled(baseline.shares(measure))
    most = _share_limit(baseline, measure, condition.factor, condition.add)
    known = f"baseline {text.percent(whole.bad / whole.total)} of {whole.total:.0f}"
    words = f"tolerated {text.percent(most)} ({known})"
    return Limit(
        value=most,
        baseline=whole.bad / whole.total,
        beyond=lambda m: bounds.wilson_lower(m.bad, m.count, 0.0) > most,
        sure=lambda m: bounds.wilson_lower(m.bad, m.count, SURE_Z) > most,
        throughout=lambda m: bounds.wilson_lower(m.bad, m.count, PART_Z) > most,
        doubt="chance alone may do that",
        near=lambda m: words,
        past=lambda m: words,
        trigger=Trigger.RELATIVE,
        parts=PARTS,
        parts_s_min=PARTS_S_MIN,
    )


@lru_cache(maxsize=32)
def _share_limit(baseline: Baseline, measure: str, factor: float, add: float) -> float:
    return bounds.share_limit(baseline.shares(measure), factor, add)


# -- latencies ---------------------------------------------------------------------------------------------------------


def _of_quantile(condition: Compared, of: Quantile, baseline: Baseline, measure: str) -> Limit:
    latencies = _latencies(baseline, measure, condition.factor)
    if not latencies.comparable:
        return _nothing("nothing to compare with: the buckets of the baseline are too coarse or not alike")
    before = quantile(of.q, latencies.merged)
    tolerated = (
        f"baseline {text.seconds(before)} of {latencies.total:.0f}, {condition.factor:g} times as slow tolerated"
    )
    return Limit(
        value=before * condition.factor,
        baseline=before,
        beyond=lambda m: latencies.exceeded(_times(m), 0.0),
        sure=lambda m: latencies.exceeded(_times(m), SURE_Z),
        throughout=lambda m: latencies.exceeded(_times(m), PART_Z),
        doubt="chance alone may do that",
        near=lambda m: f"{tolerated}{_shown(m, latencies)}",
        past=lambda m: f"{tolerated}{_shown(m, latencies)}",
        trigger=Trigger.RELATIVE,
        parts=PARTS,
        parts_s_min=PARTS_S_MIN,
    )


@lru_cache(maxsize=32)
def _latencies(baseline: Baseline, measure: str, factor: float) -> Latencies:
    return Latencies(baseline.times(measure), factor)


def _shown(measured: Measure, latencies: Latencies) -> str:
    """At the bound that tells most: how many are slower, and how many may be."""
    found = latencies.telling(_times(measured), SURE_Z)
    if found is None:
        return "; no bucket lies where it could be compared"
    edge, share = found
    return f": {text.percent(share)} above {text.seconds(edge.bound)}, tolerated {text.percent(edge.limit)}"


def _times(measured: Measure) -> Times:
    return Times(measured.buckets, measured.own)
