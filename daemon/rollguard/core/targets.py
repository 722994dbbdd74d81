"""Where a rollback would go back to."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.case import named
from rollguard.core.lifecycle import DigestRecord, TargetState
from rollguard.core.policy import Action, Interlocks, Policy, Reported


def target_of(state: TargetState, candidate: str, policy: Policy, now: float) -> tuple[DigestRecord | None, str]:
    """Where a rollback of ``candidate`` would go under this policy, or None and the reason; see ``choose``."""
    return choose(state, candidate, policy.interlocks, now, reported(state, policy))


def choose(
    state: TargetState, candidate: str, limits: Interlocks, now: float, avoid: frozenset[str] = frozenset()
) -> tuple[DigestRecord | None, str]:
    """The newest proven digest older than and other than the candidate, or None and the reason.

    ``avoid`` are digests that somebody reported for what a release is taken back for: steps, but no targets.

    At most ``furthest_releases`` back: digests that once ran on every machine count as a step, those that were
    rolled back, never got that far, or were left again for an older one do not. At most ``furthest_age_s``: how long
    ago the target stopped serving, which is when its successor appeared.
    """
    bad = {r.candidate for r in state.rollbacks}
    steps, successor = 0, state.record(candidate)
    older = _older(state, candidate)
    for place, record in reversed(list(enumerate(older))):
        if record.digest in bad or _was_left(record, older[:place]):
            continue
        if record.full_at is None and record.proven_at is None:
            continue
        steps += 1
        if steps > limits.furthest_releases:
            return None, f"none within {limits.furthest_releases} release{'s' * (limits.furthest_releases != 1)} back"
        if record.digest in avoid:
            successor = record
            continue
        if record.proven_at is not None:
            age_s = now - successor.first_seen_at if successor else 0.0
            if age_s > limits.furthest_age_s:
                return None, f"{named(record)} stopped serving {text.seconds(age_s)} ago"
            return record, ""
        successor = record
    return (
        None,
        "this guard has not yet seen an older release run clean" if steps == 0 else "the older one was never proven",
    )


def _was_left(record: DigestRecord, before: tuple[DigestRecord, ...]) -> bool:
    """Whether people went back from it to one that came before."""
    served_at = record.served_at
    return served_at is not None and any(d.served_at is not None and d.served_at > served_at for d in before)


def reported(state: TargetState, policy: Policy) -> frozenset[str]:
    """Digests that were reported for something this policy rolls back for."""
    conditions = [r.condition for r in policy.rules if r.then is Action.ROLLBACK]
    kinds = {kind for c in conditions if isinstance(c, Reported) for kind in c.kinds}
    return frozenset(r.digest for r in state.reports if r.kind in kinds)


def by_version(state: TargetState, version: int) -> DigestRecord | None:
    """The digest that was first seen as this release, or None."""
    return next((d for d in reversed(state.digests) if d.version == version), None)


def _older(state: TargetState, candidate: str) -> tuple[DigestRecord, ...]:
    order = state.order
    return state.digests[: order.index(candidate)] if candidate in order else state.digests
