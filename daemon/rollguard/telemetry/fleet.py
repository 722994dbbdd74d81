"""Machines by what is known of their image: few values for a graph in which a rollback can be seen."""

from __future__ import annotations

from collections import Counter

from rollguard.core.lifecycle import TargetState
from rollguard.core.model import Snapshot
from rollguard.telemetry.labels import STANDINGS

PROVEN, UNPROVEN, REJECTED = STANDINGS


def standing(digest: str, state: TargetState) -> str:
    """Whether the guard would go back to this image (proven), went back from it (rejected), or neither yet."""
    record = state.record(digest)
    proven_at = record.proven_at if record is not None else None
    left_at = max((r.at for r in state.rollbacks if r.candidate == digest), default=None)
    if left_at is not None and (proven_at is None or proven_at <= left_at):
        return REJECTED
    return UNPROVEN if proven_at is None else PROVEN


def composition(snapshot: Snapshot, state: TargetState) -> Counter[tuple[str, bool]]:
    """How many managed machines there are by ``(standing, whether they serve users)``."""
    return Counter((standing(m.digest, state), m.healthy_routable) for m in snapshot.managed)
