"""What a rollback wants, and how far it is, as the journal has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollguard.core.events import StepDone, StepIntended
from rollguard.core.frozen import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One machine's part of a goal. ``after`` None: intended, and nobody knows yet whether it took effect."""

    before: str
    after: str | None = None
    healthy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """All managed machines on ``target``: what a rollback wants, since ``set_at``.

    ``proof`` is what the first machines showed: empty until that was judged. ``delegate`` is what another ``executor``
    is known by, once it was told: empty while that is not known.
    """

    incident: str
    candidate: str
    target: str
    target_ref: str
    target_version: int | None
    after_version: int
    trigger: str
    by: str
    set_at: float
    deadline_at: float
    instances: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    prove: bool = False
    executor: str = "machines"
    first_wait_s: float | None = None
    delegate: str | None = None
    row_intended: bool = False
    row_id: str | None = None
    row_version: int | None = None
    row_running: bool = False
    row_closed: bool = False
    outcome: str = ""
    proof: str = ""
    updates: Mapping[str, Update] = field(default_factory=dict)


def after_intent(goal: Goal, e: StepIntended) -> Goal:
    """The goal when a step of it is about to be taken."""
    match e.kind:
        case "release_create":
            return replace(goal, row_intended=True)
        case "update":
            return _with_update(goal, e.machine, Update(before=e.instance_id))
        case "delegate":
            return replace(goal, delegate="")
        case _:
            return goal


def after_step(goal: Goal, e: StepDone) -> Goal:
    """The goal when a step of it has taken effect."""
    match e.kind:
        case "release_create":
            return replace(goal, row_id=e.result, row_version=e.version)
        case "release_running":
            return replace(goal, row_running=True)
        case "release_complete" | "release_failed":
            return replace(goal, row_closed=True)
        case "update":
            known = goal.updates.get(e.machine, Update(before=""))
            return _with_update(goal, e.machine, replace(known, after=e.result, healthy=e.phase == "healthy"))
        case _:
            return goal


def _with_update(goal: Goal, machine: str, update: Update) -> Goal:
    return replace(goal, updates={**goal.updates, machine: update})
