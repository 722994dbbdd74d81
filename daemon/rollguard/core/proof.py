"""First one, then the rest: whether a rollback must prove itself on its first machines, and what they showed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rollguard.core.finding import Finding, Trigger
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Machine, Snapshot
from rollguard.core.plan import ASLEEP
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
    where there is nobody to compare with: groups of a single machine, or one that is left to change. Nor where the
    deploy was the experiment, because machines on the old image showed it while it rolled.
    """
    if trigger not in {Trigger.RELATIVE, Trigger.ABSOLUTE}:
        return False
    if all(isinstance(f.rule.condition, Crashed) for f in acting) or any(f.side_by_side for f in acting):
        return False
    left = Counter(m.group for m in _comparable(snapshot) if m.started and m.digest != target)
    return any(count > 1 for count in left.values())


def waits_for_proof(goal: Goal, snapshot: Snapshot) -> tuple[str, ...]:
    """The machines that must prove the rollback now; empty while there are none yet, or nothing is left to prove.

    Who serves nobody (asleep, cordoned, a standby) proves nothing; peers are of the same process group.
    """
    idle = {m.id for m in snapshot.managed if m.cordoned or m.standby or (m.state in ASLEEP and not m.crashed)}
    first = tuple(m for m, u in goal.updates.items() if u.healthy and m not in idle)
    groups = {m.group for m in snapshot.managed if m.id in first}
    comparable = [m for m in _comparable(snapshot) if m.group in groups or not groups]
    peers = any(m.started and m.digest == goal.candidate for m in comparable)
    return first if goal.prove and not goal.proof and peers else ()


def _comparable(snapshot: Snapshot) -> list[Machine]:
    """The machines that can show how a release does to users; all of them where the app serves nobody."""
    return [m for m in snapshot.managed if m.has_services] or list(snapshot.managed)
