"""Whether the first machine could show anything: nobody restarts one for nothing."""

from __future__ import annotations

from rollguard.core.case import Case
from rollguard.core.finding import Trigger
from rollguard.core.policy import Action
from rollguard.core.proof import must_prove


def cannot_tell(case: Case, now: float) -> str | None:
    """The comparison would end in "cannot tell", and then a person is asked: rather ask at once."""
    why = None if case.policy.rollback.go_on_unclear else _hopeless(case)
    return why and f"whether going back helps could not be told from a first machine, so none is restarted: {why}"


def goes_without(case: Case, now: float) -> str | None:
    """Where the team wants to go on even so, it goes on without."""
    why = _hopeless(case) if case.policy.rollback.go_on_unclear else None
    return why and f"no machine goes first to prove it: {why}"


def _hopeless(case: Case) -> str | None:
    """Why a first machine that must prove the rollback could not."""
    if case.plan is None or not case.plan.hopeless or case.target is None:
        return None
    acting = [f for f in case.findings if f.firing and f.rule.then is Action.ROLLBACK]
    needed = must_prove(Trigger.ABSOLUTE, acting, case.snapshot, case.target.digest)
    return case.plan.sentence if needed else None
