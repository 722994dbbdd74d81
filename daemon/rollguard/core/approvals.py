"""A person's yes: bound to one incident, one release, one target and one policy, for one use and a short time."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.case import Case
from rollguard.core.events import ApprovalAsked
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.policy import Policy


def ask(
    policy: Policy, incident: str, candidate: DigestRecord, target: DigestRecord, sentence: str, now: float
) -> ApprovalAsked:
    """The question, open for as long as the policy says."""
    return ApprovalAsked(
        at=now,
        incident=incident,
        candidate=candidate.digest,
        target=target.digest,
        policy=policy.hash,
        until=now + policy.approval_s,
        sentence=sentence,
    )


def how(policy: Policy, asked: ApprovalAsked) -> tuple[str, str]:
    """How to say yes, as a detail of a page."""
    name = policy.target.name
    until = f"until {text.clock(asked.until)}, once"
    return "approve", f'rollguard approve {name} --reason "…" ({until}; no: rollguard veto {name} --reason "…")'


def why_void(asked: ApprovalAsked, case: Case, quiet_s: float) -> str | None:
    """Why the question has no meaning any more, or None: the world is as it was when it was asked.

    ``quiet_s`` is for how long no rule has pointed at the release: one that comes and goes is no recovery.
    """
    if case.candidate.digest != asked.candidate:
        return "another release serves now"
    if case.target is None or case.target.digest != asked.target:
        return "a rollback would go elsewhere now"
    if case.policy.hash != asked.policy:
        return "another policy is in force"
    goal = case.state.incident.goal if case.state.incident else None
    began = goal is not None and goal.candidate == asked.candidate
    if not began and quiet_s >= case.policy.verify.settle_s / 2:
        return f"it recovered: no rule has pointed at the release for {text.seconds(quiet_s)}"
    return None
