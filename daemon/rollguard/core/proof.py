"""First one, then the rest: whether a rollback must prove itself on its first machines, and what they showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollguard.core.finding import Finding, Trigger
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Snapshot
from rollguard.core.policy import Crashed

BETTER, NO_BETTER, RECOVERED, WORSE, CANNOT_TELL = "better", "no better", "recovered", "worse", "cannot tell"


@dataclass(frozen=True, slots=True)
class Proof:
    """``result`` is one of the words above; its sentence has the numbers."""

    result: str
    sentence: str


def must_prove(trigger: Trigger, acting: Sequence[Finding], snapshot: Snapshot, target: str) -> bool:
    """Whether the first machines must do better than their peers before the rest follows.

    Not where nobody is served, where machines crash or somebody reported or decided it: there health is enough. Nor
    where there is nobody to compare with: a single machine, or one that is left to change.
    """
    if trigger not in {Trigger.RELATIVE, Trigger.ABSOLUTE}:
        return False
    if all(isinstance(f.rule.condition, Crashed) for f in acting):
        return False
    return sum(m.started and m.digest != target for m in snapshot.managed) > 1


def waits_for_proof(goal: Goal, snapshot: Snapshot) -> tuple[str, ...]:
    """The machines that must prove the rollback now; empty while there are none yet, or nothing is left to prove."""
    first = tuple(m for m, u in goal.updates.items() if u.healthy)
    peers = any(m.started and m.digest == goal.candidate for m in snapshot.managed)
    return first if goal.prove and not goal.proof and peers else ()
