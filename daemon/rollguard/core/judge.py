"""The runbook's thresholds: a rule, the readings, and now; a finding out.

Every condition is judged for the cohort of the candidate: by digest, never by release row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rollguard.core import burn, by_label, by_machine, by_region, by_sum, confirm, text
from rollguard.core.budgets import Burn, ByLabel, ByRegion
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.judging import Evidence, by_chance, has_edge, of_users, quorum
from rollguard.core.one_region import told_apart
from rollguard.core.policy import (
    Compared,
    Condition,
    Crashed,
    Failing,
    Gauge,
    Policy,
    Probes,
    Quantile,
    Ratio,
    Reported,
    Rule,
    Threshold,
)
from rollguard.core.ratios import probe_keys
from rollguard.core.window import Stamp, Windows


def judge(rule: Rule, evidence: Evidence, now: float) -> Finding:
    """What ``rule`` says about the candidate now."""
    return _JUDGES[type(rule.condition)](rule, rule.condition, evidence, now)


def judge_all(evidence: Evidence, now: float) -> tuple[Finding, ...]:
    """Every rule of the policy, in its order."""
    return _blamed(tuple(judge(rule, evidence, now) for rule in evidence.policy.rules), evidence, now)


@dataclass(frozen=True, slots=True)
class _Known:
    """A finding, when it was made, and the stamps of what it was made of."""

    finding: Finding
    at: float
    stamps: tuple[Stamp, ...]


class Judge:
    """``judge_all`` again and again, where each rule is judged anew only when its finding may have changed.

    A finding holds until something is read that it is made of, the fleet or the policy changes, or it says itself
    that time alone may change it.
    """

    def __init__(self) -> None:
        self._evidence: Evidence | None = None
        self._sources: dict[str, _Sources] = {}
        self._known: dict[str, _Known] = {}
        self._burnt = burn.Ledgers()

    def judge_all(self, evidence: Evidence, now: float) -> tuple[Finding, ...]:
        """Every rule of the policy, in its order."""
        if evidence is not self._evidence and (self._evidence is None or not _alike(evidence, self._evidence)):
            self._known.clear()
            self._sources.clear()
        self._evidence = evidence
        self._burnt.take(evidence, now)
        return _blamed(tuple(self._judge(rule, evidence, now) for rule in evidence.policy.rules), evidence, now)

    def _judge(self, rule: Rule, evidence: Evidence, now: float) -> Finding:
        if isinstance(rule.condition, Compared):
            return judge(rule, evidence, now)  # it has a memory of its own
        sources, known = self._sources.get(rule.name), self._known.get(rule.name)
        if sources is None:
            sources = self._sources[rule.name] = _sources(rule.condition, evidence.policy)
        stamps = sources.stamps(evidence.windows)
        if known is not None and known.at <= now <= known.finding.holds_until and known.stamps == stamps:
            return known.finding
        if isinstance(rule.condition, Burn):
            finding = self._burnt.judge(rule, rule.condition, evidence, now)
        else:
            finding = judge(rule, evidence, now)
        if all(evidence.windows.newest_at(key) <= now for key in sources.keys):  # else time alone makes more count
            self._known[rule.name] = _Known(finding, now, stamps)
        return finding


def _alike(one: Evidence, other: Evidence) -> bool:
    """Whether all is the same but what was read."""
    return (
        one.policy is other.policy
        and one.windows is other.windows
        and one.baseline is other.baseline
        and one.no_baseline == other.no_baseline
        and one.alive_since == other.alive_since
        and one.reports == other.reports
        and one.view == other.view
    )


@dataclass(frozen=True, slots=True)
class _Sources:
    """The keys that a rule's finding is made of: what it is about, and the probes that are taken out of that."""

    keys: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()

    def stamps(self, windows: Windows) -> tuple[Stamp, ...]:
        """Of the probes only those count that may be in what was counted so far."""
        stamps = tuple(map(windows.stamp, self.keys))
        if not self.probes:
            return stamps
        counted_to = windows.newest_at(self.keys[0])
        return stamps + tuple(windows.stamp(key, counted_to) for key in self.probes)


def _sources(condition: Condition | Probes | Gauge, policy: Policy) -> _Sources:
    match condition:
        case Compared(of=of):
            return _sources(of, policy)
        case Failing(signal=key):
            return _Sources((key, confirm.again(key)))
        case Probes(signal=key) | Threshold(key=key) | Gauge(key=key):
            return _Sources((key,))
        case Burn(total=key, bad=bad) | Ratio(total=key, bad=bad):
            return _Sources((key, bad), tuple(probe_keys(policy, key)))
        case Quantile(key=key):
            return _Sources((key,), tuple(probe_keys(policy, key)))
        case Crashed() | Reported():
            return _Sources()


def _blamed(findings: tuple[Finding, ...], evidence: Evidence, now: float) -> tuple[Finding, ...]:
    """The same findings, those explained by sick machines or by one region that may be."""
    if all(f.state is not RuleState.FIRING for f in findings):
        return findings
    of_users = lambda finding: _is_anybodys(finding, evidence)
    return told_apart(_with_the_sick(findings, evidence), evidence, lambda rule, part: judge(rule, part, now), of_users)


def _with_the_sick(findings: tuple[Finding, ...], evidence: Evidence) -> tuple[Finding, ...]:
    """The same findings, those of what users get explained by sick machines where that may be so."""
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
    return replace(finding, blame=Blame.MACHINE, machines=sick, said=sentence)


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
    of = condition.of if isinstance(condition, Compared) else condition
    return isinstance(of, Burn | Ratio) and of_users(evidence.policy.signal(of.total.partition(".")[0]))


def _compared(rule: Rule, condition: Compared, evidence: Evidence, now: float) -> Finding:
    """What the comparison with the past, and with machines side by side, has come to."""
    if evidence.compare is not None:
        return evidence.compare(rule, evidence, now)
    return Finding(rule=rule, state=RuleState.CLEAR, said="nothing is compared here", trigger=Trigger.RELATIVE)


def _reported(rule: Rule, condition: Reported, evidence: Evidence, now: float) -> Finding:
    """Somebody reported one of these kinds against the serving digest, no longer ago than a release is guarded."""
    since = now - evidence.policy.interlocks.release_age_s
    kinds, digest = condition.kinds, evidence.view.candidate
    mine = [r for r in evidence.reports if r.kind in kinds and r.digest == digest and r.at > since]
    if not mine:
        return Finding(
            rule=rule,
            state=RuleState.CLEAR,
            said="no report",
            trigger=Trigger.REPORT,
            holds_until=math.inf,
        )
    newest = mine[-1]
    return Finding(
        rule=rule,
        state=RuleState.FIRING,
        said=f"{newest.kind} reported by {newest.by}: {newest.reason}",
        since=newest.at,
        trigger=Trigger.REPORT,
    )


def _counted(rule: Rule, condition: Ratio | Quantile, evidence: Evidence, now: float) -> Finding:
    """A share or a quantile against its limit, of all machines together or split."""
    if isinstance(condition.by, ByRegion):
        return by_region.by_region(rule, condition, evidence, now)
    if isinstance(condition, Ratio) and isinstance(condition.by, ByLabel):
        return by_label.by_label(rule, condition, condition.by, evidence, now)
    return by_sum.absolute(rule, condition, evidence, now)


_JUDGES: dict[type, Callable[[Rule, Any, Evidence, float], Finding]] = {
    Burn: burn.burning,
    Compared: _compared,
    Failing: by_machine.failing,
    Threshold: by_machine.threshold,
    Ratio: _counted,
    Quantile: _counted,
    Crashed: by_machine.crashed,
    Reported: _reported,
}
