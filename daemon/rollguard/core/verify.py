"""How the restored release does: restored, not better, or cannot tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollguard.core import text
from rollguard.core.by_machine import threshold_answer
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judging import Evidence, Say, beyond, scopes_of, stale_after_s
from rollguard.core.model import EDGE
from rollguard.core.policy import Action, Ratio, Threshold
from rollguard.core.ratios import ratio_at
from rollguard.core.signals import Scope, Signal


@dataclass(frozen=True, slots=True)
class Verdict:
    """``result`` is restored, not better or cannot tell, with its sentence."""

    result: str
    sentence: str


def verify(evidence: Evidence, findings: tuple[Finding, ...], since: float, now: float) -> Verdict | None:
    """The verdict on the restored release, or None while it settles.

    A rule that would roll it back ends the wait at once. When the settle time is over, every required signal must
    answer well and every limit of the runbook be kept; what cannot be read makes the answer "cannot tell".
    """
    bad = [f for f in findings if f.firing and f.rule.then is Action.ROLLBACK and f.blame is not Blame.MACHINE]
    if bad:
        return Verdict("not better", "; ".join(f"{f.rule.name}: {f.sentence}" for f in bad))
    if now - since < evidence.policy.verify.settle_s:
        return None
    broken, unread = [], []
    for word, sentence in [*_required(evidence, now), *_limits(evidence, now)]:
        if word is Say.BREACH:
            broken.append(sentence)
        elif word is Say.NOTHING:
            unread.append(sentence)
    blind = [
        f"{f.rule.name}: {f.sentence}"
        for f in findings
        if f.state is RuleState.BLIND and f.rule.then is Action.ROLLBACK
    ]
    if broken:
        return Verdict("not better", "; ".join(broken))
    if unread or blind:
        return Verdict("cannot tell", "; ".join([*unread, *blind]))
    return Verdict("restored", f"clean for {text.seconds(now - since)}: rules, required signals and limits")


def _required(evidence: Evidence, now: float) -> list[tuple[Say, str]]:
    """The newest answer of every subject of every required signal."""
    answers = []
    for name in evidence.policy.verify.require:
        signal = evidence.policy.signal(name)
        subjects = _subjects(signal, evidence)
        if not subjects:
            answers.append((Say.NOTHING, f"{name} has nobody to ask"))
        for subject, since in subjects:
            seen = [r for r in evidence.windows.since(name, subject, since) if r.gap is None]
            newest = seen[-1] if seen else None
            if newest is None or now - newest.at > stale_after_s(signal):
                answers.append((Say.NOTHING, f"{name} has no answer from {subject}"))
            elif newest.value == 0.0:
                answers.append((Say.BREACH, f"{name} fails on {subject} ({newest.detail})"))
    return answers


def _limits(evidence: Evidence, now: float) -> list[tuple[Say, str]]:
    """The runbook's list of what to check for after a rollback."""
    answers: list[tuple[Say, str]] = []
    for limit in evidence.policy.verify.limits:
        answers += _ratio(limit, evidence, now) if isinstance(limit, Ratio) else _value(limit, evidence, now)
    return answers


def _ratio(limit: Ratio, evidence: Evidence, now: float) -> list[tuple[Say, str]]:
    measure = ratio_at(limit, evidence.policy, evidence.view, evidence.windows, now)
    name = f"{limit.bad} / {limit.total}"
    signal = evidence.policy.signal(limit.total.partition(".")[0])
    stale = measure.newest_at is None or now - measure.newest_at > stale_after_s(signal)
    if measure.value is None or stale:
        return [(Say.NOTHING, f"{name} cannot be read: {measure.gap or f'only {measure.count:.0f} requests'}")]
    if beyond(measure.value, limit.limit, above=limit.above):
        return [(Say.BREACH, f"{name} is {text.percent(measure.value)}, limit {text.percent(limit.limit)}")]
    return []


def _value(limit: Threshold, evidence: Evidence, now: float) -> list[tuple[Say, str]]:
    """Everybody's newest value. "None yet" (a gap, with traffic still to come) is no breach, and proves nothing."""
    signal = evidence.policy.signal(limit.key.partition(".")[0])
    subjects = _subjects(signal, evidence)
    answers = [] if subjects else [(Say.NOTHING, f"{limit.key} has nobody to ask")]
    for subject, since in subjects:
        answer = threshold_answer(replace(limit, for_s=0.0), signal, evidence, subject, since, now)
        if answer.say is Say.BREACH:
            answers.append((Say.BREACH, f"{limit.key} is {answer.value:g} on {subject}, limit {limit.limit:g}"))
        elif answer.say in {Say.NOTHING, Say.QUIET}:
            answers.append((Say.NOTHING, f"{limit.key} cannot be read on {subject}: {answer.detail}"))
    return answers


def _subjects(signal: Signal, evidence: Evidence) -> list[tuple[str, float]]:
    """Of whom a signal speaks, and since when each of them runs the release."""
    scopes, view = scopes_of(signal), evidence.view
    # Whom a person took out of routing serves nobody: that is neither the release's doing nor a restart's to mend.
    subjects = [(t.machine, t.since) for t in view.serving if not t.cordoned] if Scope.MACHINE in scopes else []
    return subjects + ([(EDGE, view.whole_since)] if Scope.EDGE in scopes else [])
