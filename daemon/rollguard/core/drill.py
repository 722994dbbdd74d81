"""A drill as the journal has it: machines go to the target of a rollback and back, each way a goal of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rollguard.core import text
from rollguard.core.events_of_drills import DrillBegan, DrillEnded, DrillTurned
from rollguard.core.finding import Trigger
from rollguard.core.goal import Goal

THERE, BACK = "there", "back"
OK, FAILED, STOPPED = "ok", "failed", "stopped"
NO_ROW = ""
"""In place of a release row's ID, where none is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """The newest drill. It stays after its end, with its ``result``; until then that is empty.

    ``there`` and ``back`` are goals like a rollback's, but for their marks. ``back`` is None until it turned;
    ``expected`` is what it can still come to then, and ``why`` the reason where it turned early.
    """

    began: DrillBegan
    there: Goal
    back: Goal | None = None
    expected: str = OK
    why: str = ""
    hurried: bool = False
    result: str = ""

    @property
    def id(self) -> str:
        return self.began.drill

    @property
    def way(self) -> str:
        """Which way it goes."""
        return THERE if self.back is None else BACK

    def goal(self, way: str) -> Goal:
        """What one way wants. There must be one."""
        goal = self.there if way == THERE else self.back
        assert goal is not None, "the way back begins with the turn"
        return goal

    @property
    def newest_goal(self) -> Goal:
        """What it wants now."""
        return self.goal(self.way)

    @property
    def away(self) -> frozenset[str]:
        """Machines that say nothing about the release that serves: they are on the target, or on their way."""
        if not self.began.whole:
            return frozenset(self.began.machines)
        home = {m for m, u in self.back.updates.items() if u.healthy} if self.back else set[str]()
        return frozenset(self.there.updates) - home

    def owns(self, mark: str) -> bool:
        """Whether a step with this mark is one of its own."""
        return mark in {mark_of(self.id, THERE), mark_of(self.id, BACK)}

    def with_goal(self, mark: str, change: Callable[[Goal], Goal]) -> Drill:
        """The same with one way's goal changed. What is learnt late of the way there is where the way back begins."""
        if mark != self.there.incident:
            return replace(self, back=change(self.back) if self.back else None)
        there = change(self.there)
        late = {m: u.after for m, u in there.updates.items() if u.after and u != self.there.updates.get(m)}
        back = replace(self.back, instances={**self.back.instances, **late}) if self.back and late else self.back
        return replace(self, there=there, back=back)


def mark_of(drill: str, way: str) -> str:
    """What a drill's steps, leases and machines are marked with, for one way."""
    return f"{drill}/{way}"


def began(e: DrillBegan) -> Drill:
    """A drill at its beginning."""
    there = Goal(
        incident=mark_of(e.drill, THERE),
        candidate=e.serving,
        target=e.target,
        target_ref=e.target_ref,
        target_version=e.target_version,
        after_version=e.after_version,
        trigger=str(Trigger.MANUAL),
        by=e.by,
        set_at=e.at,
        deadline_at=e.deadline_at,
        instances=e.instances,
        row_id=None if e.whole else NO_ROW,
    )
    return Drill(began=e, there=there)


def turned(drill: Drill, e: DrillTurned) -> Drill:
    """The same on its way back."""
    of = drill.began
    back = replace(
        began(of).there,
        incident=mark_of(e.drill, BACK),
        candidate=of.target,
        target=of.serving,
        target_ref=of.serving_ref,
        target_version=of.serving_version,
        after_version=e.after_version,
        set_at=e.at,
        deadline_at=e.at + of.span_s,
        instances=e.instances,
    )
    return replace(drill, back=back, expected=e.result, why=e.why, hurried=e.hurried)


def ended(drill: Drill, e: DrillEnded) -> Drill:
    """The same after its end: nothing is resumed."""
    return replace(drill, result=e.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """When it was last seen that going back works: by a drill, or by a rollback that had to."""

    at: float
    how: str
    machines: int
    there_s: float
    back_s: float | None = None


def proof_of(e: DrillEnded) -> Proof | None:
    """What a drill proved; None where it did not."""
    if e.result != OK or e.there_s is None or e.back_s is None:
        return None
    return Proof(at=e.at, how="drill", machines=e.machines, there_s=e.there_s, back_s=e.back_s)


def proof_by(goal: Goal, ended_at: float) -> Proof:
    """What a rollback proved that got to its end."""
    machines = sum(u.healthy for u in goal.updates.values())
    return Proof(at=ended_at, how="rollback", machines=machines, there_s=ended_at - goal.set_at)


def last_proven(proof: Proof | None, now: float) -> str:
    """``rollback last proven: 3 d ago by drill (1 machine, 41 s there, 38 s back)``, or that it never was."""
    if proof is None:
        return "rollback last proven: never"
    machines = f"{proof.machines} machine{'s' if proof.machines != 1 else ''}"
    back = f", {text.seconds(proof.back_s)} back" if proof.back_s is not None else ""
    took = f"{machines}, {text.seconds(proof.there_s)} there{back}"
    return f"rollback last proven: {text.seconds(max(0.0, now - proof.at))} ago by {proof.how} ({took})"
