"""The runbook's absolute thresholds: a rule, the readings, and now; a finding out.

Every condition is judged for the cohort of the candidate: by digest, never by release row. Comparison with a
baseline is one more entry of the table below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollguard.core import by_machine, by_sum
from rollguard.core.finding import Finding, RuleState, Trigger
from rollguard.core.judging import Evidence
from rollguard.core.policy import Crashed, Failing, Quantile, Ratio, Reported, Rule, Threshold


def judge(rule: Rule, evidence: Evidence, now: float) -> Finding:
    """What ``rule`` says about the candidate now."""
    return _JUDGES[type(rule.condition)](rule, rule.condition, evidence, now)


def judge_all(evidence: Evidence, now: float) -> tuple[Finding, ...]:
    """Every rule of the policy, in its order."""
    return tuple(judge(rule, evidence, now) for rule in evidence.policy.rules)


def _reported(rule: Rule, condition: Reported, evidence: Evidence, now: float) -> Finding:
    """Somebody reported one of these kinds against the serving digest, no longer ago than a release is guarded."""
    since = now - evidence.policy.interlocks.release_age_s
    kinds, digest = condition.kinds, evidence.view.candidate
    mine = [r for r in evidence.reports if r.kind in kinds and r.digest == digest and r.at > since]
    if not mine:
        return Finding(rule=rule, state=RuleState.CLEAR, sentence="no report", trigger=Trigger.REPORT)
    newest = mine[-1]
    return Finding(
        rule=rule,
        state=RuleState.FIRING,
        sentence=f"{newest.kind} reported by {newest.by}: {newest.reason}",
        since=newest.at,
        trigger=Trigger.REPORT,
    )


_JUDGES: dict[type, Callable[[Rule, Any, Evidence, float], Finding]] = {
    Failing: by_machine.failing,
    Threshold: by_machine.threshold,
    Ratio: by_sum.ratio,
    Quantile: by_sum.quantile,
    Crashed: by_machine.crashed,
    Reported: _reported,
}
