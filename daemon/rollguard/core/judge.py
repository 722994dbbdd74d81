"""The runbook's thresholds: a rule, the readings, and now; a finding out.

Every condition is judged for the cohort of the candidate: by digest, never by release row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rollguard.core import by_machine, by_sum, compare, text
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.judging import Evidence, by_chance, has_edge, of_users, quorum
from rollguard.core.policy import Compared, Crashed, Failing, Quantile, Ratio, Reported, Rule, Threshold


def judge(rule: Rule, evidence: Evidence, now: float) -> Finding:
    """What ``rule`` says about the candidate now."""
    return _JUDGES[type(rule.condition)](rule, rule.condition, evidence, now)


def judge_all(evidence: Evidence, now: float) -> tuple[Finding, ...]:
    """Every rule of the policy, in its order."""
    findings = tuple(judge(rule, evidence, now) for rule in evidence.policy.rules)
    sick = _sick(evidence, findings)
    return tuple(_explained(f, sick, evidence) for f in findings) if sick else findings


def _sick(evidence: Evidence, findings: Sequence[Finding]) -> tuple[str, ...]:
    """The machines that stand out, if by the machines' own evidence it is they and not the release."""
    firing = [f for f in findings if f.firing]
    if any(f.blame is Blame.RELEASE and not _is_anybodys(f, evidence) for f in firing):
        return ()
    return tuple(sorted({m for f in firing if f.blame is Blame.MACHINE for m in f.machines}))


def _explained(finding: Finding, sick: tuple[str, ...], evidence: Evidence) -> Finding:
    """What users get cannot say from whom: up to twice the sick machines' share of it is theirs, and so are failures in
    a row that may all have met them.
    """
    share = len(sick) / max(1, len(evidence.view.serving))
    if not finding.firing or finding.blame is not Blame.RELEASE or not _is_anybodys(finding, evidence):
        return finding
    condition = finding.rule.condition
    if isinstance(condition, Failing):
        theirs = by_chance(finding.value or 0.0, share, evidence.policy.signal(condition.signal))
    else:
        theirs = finding.value is not None and finding.value <= 2 * share
    if not theirs:
        return finding
    sentence = f"machine {text.listing(sick)}, not the release: {finding.sentence}"
    return replace(finding, blame=Blame.MACHINE, machines=sick, sentence=sentence)


def _is_anybodys(finding: Finding, evidence: Evidence) -> bool:
    """Whether this is what users or probes got at the edge, from whichever machine it was."""
    condition = finding.rule.condition
    if isinstance(condition, Failing) and has_edge(evidence.policy.signal(condition.signal)):
        need = quorum(finding.rule, evidence.view, len(evidence.view.serving))
        return finding.trigger is not Trigger.HARD_DOWN and len(finding.machines) < need
    return _is_users(finding, evidence)


def _is_users(finding: Finding, evidence: Evidence) -> bool:
    """Whether this is a share of what users got at the edge."""
    condition = finding.rule.condition
    if isinstance(condition, Compared):
        condition = condition.of
    return isinstance(condition, Ratio) and of_users(evidence.policy.signal(condition.total.partition(".")[0]))


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
    Compared: compare.compared,
    Failing: by_machine.failing,
    Threshold: by_machine.threshold,
    Ratio: by_sum.absolute,
    Quantile: by_sum.absolute,
    Crashed: by_machine.crashed,
    Reported: _reported,
}
