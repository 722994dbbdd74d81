"""What one target tells the other targets of its guard about itself."""

from __future__ import annotations

from collections.abc import Sequence

from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.lifecycle import Incident
from rollguard.core.policy import Action
from rollguard.core.surroundings import Trouble

OTHERS = "other targets"
"""The interlock of this name holds what several targets have in common."""


def trouble_of(findings: Sequence[Finding], incident: Incident | None) -> Trouble:
    """Since when rules fire that ask to go back from the release, since when such rules show first signs, and whether
    people were told here that other targets breach as well.
    """
    asking = [f for f in findings if f.rule.then is Action.ROLLBACK and f.blame is not Blame.MACHINE]
    return Trouble(
        since=_earliest(asking, RuleState.FIRING),
        signs_since=_earliest(asking, RuleState.PENDING),
        told=incident is not None and f"held by {OTHERS}" in incident.said,
    )


def _earliest(findings: Sequence[Finding], state: RuleState) -> float | None:
    return min((f.since for f in findings if f.state is state and f.since is not None), default=None)
