"""The sentences that people get: every page says what, on which numbers, what held the act, and what works by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollguard.core import text
from rollguard.core.case import Refusal
from rollguard.core.finding import Finding, RuleState
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.model import Snapshot
from rollguard.core.pages import Kind, Page, Severity
from rollguard.core.policy import Compared, Policy, Quantile, Ratio

OPERATIONS = "https://github.com/rollguard/rollguard/blob/main/docs/operations.md"
FIELD_MAX = 600


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
    details: list[tuple[str, str]] = []
    for finding in findings:
        cite = f" [{finding.rule.cite}]" if finding.rule.cite else ""
        details.append((finding.rule.name, f"{finding.sentence}{cite} ({finding.rule.origin})"))
        if figures := numbers(finding):
            details.append((f"{finding.rule.name} figures", figures))
        if finding.machines:
            details.append((f"{finding.rule.name} machines", text.listing(finding.machines, most=10)))
    details += [(f"held by {r.name}", r.sentence) for r in refusals]
    details += [(f"note: {w.name}", w.sentence) for w in warnings]
    details += more
    if snapshot is not None:
        details.append(("machines", mix(snapshot)))
    if not resolve:
        details.append(("by hand", by_hand(policy, target)))
    if policy.runbook:
        details.append(("runbook", policy.runbook))
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


def numbers(finding: Finding) -> str:
    """``value 36.6 %, limit 10 %, baseline 0.2 %, since 22:18:21Z``, as far as there are any."""
    show = _unit_of(finding)
    named = (("value", finding.value), ("limit", finding.limit), ("baseline", finding.baseline))
    parts = [f"{name} {show(value)}" for name, value in named if value is not None]
    if finding.since is not None:
        parts.append(f"since {text.clock(finding.since)}")
    return ", ".join(parts)


def _unit_of(finding: Finding) -> Callable[[float], str]:
    condition = finding.rule.condition
    match condition.of if isinstance(condition, Compared) else condition:
        case Ratio():
            return text.percent
        case Quantile():
            return text.seconds
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
