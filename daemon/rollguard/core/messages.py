"""The sentences that people get: every page says what, on which numbers, what held the act, and what works by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollguard.core import text
from rollguard.core.budgets import Burn
from rollguard.core.case import Refusal
from rollguard.core.finding import Finding, RuleState
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.model import Snapshot
from rollguard.core.pages import Kind, Page, Severity
from rollguard.core.policy import Compared, Condition, Failing, Gauge, Policy, Probes, Quantile, Ratio
from rollguard.core.status import limit_of

OPERATIONS = "https://github.com/rollguard/rollguard/blob/main/docs/operations.md"
FIELD_MAX = 600
DETAILS_MAX = 19
OTHERS_MAX, HELD_MAX, NOTES_MAX = 3, 4, 2


def by_digest(image_ref: str, digest: str) -> str:
    """``registry/app:tag`` → ``registry/app@sha256:…``: tags can be moved, digests cannot."""
    name = image_ref.partition("@")[0]
    head, _, last = name.rpartition("/")
    repository = f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]
    return f"{repository}@{digest}"


def by_hand(policy: Policy, target: DigestRecord | None) -> str:
    """The command that does by hand what the guard would do."""
    if target is None:
        return f"flyctl releases --image --app {policy.target.app}"
    image = by_digest(target.image_ref, target.digest)
    return f"flyctl deploy --app {policy.target.app} --image {image} --skip-release-command"


def page(
    policy: Policy,
    incident: str,
    summary: str,
    at: float,
    *,
    about: str,
    severity: Severity = Severity.CRITICAL,
    resolve: bool = False,
    findings: Sequence[Finding] = (),
    refusals: Sequence[Refusal] = (),
    warnings: Sequence[Refusal] = (),
    target: DigestRecord | None = None,
    snapshot: Snapshot | None = None,
    more: Sequence[tuple[str, str]] = (),
) -> Page:
    """One message about one incident. ``about`` is its reason; the same reason is said once an incident.

    ``more`` are further (name, text) details.
    """
    evidence = [*_told(findings), *_named("held by", refusals, HELD_MAX), *_named("note:", warnings, NOTES_MAX)]
    needed = [*more]
    if snapshot is not None:
        needed.append(("machines", mix(snapshot)))
    if not resolve:
        needed.append(("by hand", by_hand(policy, target)))
    if policy.runbook:
        needed.append(("runbook", policy.runbook))
    details = [*evidence[: DETAILS_MAX - len(needed)], *needed]
    return Page(
        key=f"rollguard/{policy.target.name}/{incident}",
        target=policy.target.name,
        summary=f"{policy.target.name}: {summary}"[:1000],
        severity=severity,
        resolve=resolve,
        at=at,
        details=tuple((name, value[:FIELD_MAX]) for name, value in details),
        link=f"{OPERATIONS}#{section(about, findings, refusals)}",
        about=about,
    )


def acknowledged(policy: Policy, incident: str, summary: str, at: float) -> Page:
    """A person answered: nobody else needs to be woken for this alert."""
    return Page(
        key=f"rollguard/{policy.target.name}/{incident}",
        target=policy.target.name,
        summary=f"{policy.target.name}: {summary}"[:1000],
        severity=Severity.INFO,
        at=at,
        kind=Kind.ACKNOWLEDGE,
    )


def change(policy: Policy, summary: str, at: float, details: Sequence[tuple[str, str]] = ()) -> Page:
    """Something was done to the app: shown beside alerts, and nobody is woken by it."""
    return Page(
        key=f"rollguard/{policy.target.name}/changes",
        target=policy.target.name,
        summary=f"{policy.target.name}: {summary}"[:1000],
        severity=Severity.INFO,
        at=at,
        details=tuple((name, value[:FIELD_MAX]) for name, value in details),
        kind=Kind.CHANGE,
    )


def _told(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """The first finding with each of its numbers in a line of its own, those after it in a line each."""
    if not findings:
        return []
    first, others = findings[0], findings[1:]
    machines = [("failing machines", text.listing(first.machines, most=10))] if first.machines else []
    lines = [(first.rule.name, _sentence(first)), *numbers(first), *machines]
    for finding in others[:OTHERS_MAX]:
        known = ", ".join(f"{name} {value}" for name, value in numbers(finding))
        on = f"on {text.listing(finding.machines)}" if finding.machines else ""
        lines.append((finding.rule.name, "; ".join(part for part in (_sentence(finding), known, on) if part)))
    if rest := [finding.rule.name for finding in others[OTHERS_MAX:]]:
        lines.append(("also", text.listing(rest, most=10)))
    return lines


def _sentence(finding: Finding) -> str:
    cite = f" [{finding.rule.cite}]" if finding.rule.cite else ""
    return f"{finding.sentence}{cite} ({finding.rule.origin})"


def _named(word: str, refusals: Sequence[Refusal], most: int) -> list[tuple[str, str]]:
    lines = [(f"{word} {refusal.name}", refusal.sentence) for refusal in refusals[:most]]
    rest = [refusal.name for refusal in refusals[most:]]
    return [*lines, (f"{word} also", text.listing(rest, most=10))] if rest else lines


def numbers(finding: Finding) -> list[tuple[str, str]]:
    """Value, limit, baseline and since when, as far as there are any, in the unit of the rule."""
    show = _unit_of(finding.rule.condition)
    measured = (("value", finding.value), ("limit", limit_of(finding)), ("baseline", finding.baseline))
    lines = [(name, show(value)) for name, value in measured if value is not None]
    return [*lines, *([("since", text.clock(finding.since))] if finding.since is not None else [])]


def _unit_of(condition: Condition) -> Callable[[float], str]:
    match condition.of if isinstance(condition, Compared) else condition:
        case Burn() | Ratio() | Probes():
            return text.percent
        case Quantile() | Gauge():
            return text.seconds
        case Failing(of=None):
            return lambda value: f"{value:g} in a row"
        case Failing(of=many):
            return lambda value: f"{value:g} of {many}"
        case _:
            return lambda value: f"{value:g}"


def mix(snapshot: Snapshot) -> str:
    """How many machines run which digest: ``3 on 0123456789ab, 1 on ba9876543210``."""
    counts: dict[str, int] = {}
    for machine in snapshot.managed:
        counts[machine.digest] = counts.get(machine.digest, 0) + 1
    return ", ".join(f"{n} on {text.short(d) or 'an unknown image'}" for d, n in sorted(counts.items()))


def gap_notice(snapshot: Snapshot) -> str:
    """The gap that groups of one machine have, to be said beforehand; empty when there is none."""
    groups: dict[str, int] = {}
    for machine in snapshot.managed:
        if machine.started:
            groups[machine.group] = groups.get(machine.group, 0) + 1
    lonely = sorted(name for name, count in groups.items() if count == 1)
    return f"group {text.listing(lonely)} has one machine: it is down while it changes" if lonely else ""


def section(about: str, findings: Sequence[Finding] = (), refusals: Sequence[Refusal] = ()) -> str:
    """The anchor of the operations page for this reason: few and fixed, no name out of a policy is in it."""
    if refusals:
        return _slug(f"held by {refusals[0].name}")
    if findings and all(f.state is RuleState.BLIND for f in findings):
        return "blind"
    reasons = about.split("|")
    if "would roll back" in reasons:
        return "would-roll-back"
    if any(reason.startswith("rule ") for reason in reasons):
        return "a-rule-is-firing"
    return _slug(reasons[0].partition(":")[0])


def _slug(words: str) -> str:
    return words.replace(" ", "-")
