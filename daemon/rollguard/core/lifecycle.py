"""What the journal says about a target: one state, one function that moves it.

Replay after a crash and live events go through the same ``apply``. The state holds levels ("all machines on this
digest, decided then"), never a plan: what to do next is worked out from what the platform says now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core import drill as drills
from rollguard.core import events as ev
from rollguard.core.digests import DigestRecord as DigestRecord
from rollguard.core.digests import place_of
from rollguard.core.drill import Drill, Proof
from rollguard.core.frozen import replace
from rollguard.core.goal import Goal as Goal
from rollguard.core.goal import Update as Update
from rollguard.core.goal import after_intent, after_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """From the first firing rule to its end. ``phase``: open, acting, verifying.

    ``said`` are the reasons that people were already told. ``goal`` stays after its end: once the guard has acted
    in an incident it does not act in it again by itself. ``approval`` is the open question to people, ``vetoed``
    that one was answered with no; ``restarted`` are the machines that were restarted in it.
    """

    id: str
    candidate: str
    opened_at: float
    sentence: str
    phase: str = "open"
    said: frozenset[str] = frozenset()
    goal: Goal | None = None
    verify_since: float | None = None
    approval: ev.ApprovalAsked | None = None
    vetoed: bool = False
    restarted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Schema:
    """What the app said of its database schema under one digest: as it was when that was proven, and as it is now."""

    settled: str
    newest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRollback:
    """A rollback that was begun: what budget, cooldown and quarantine count."""

    at: float
    candidate: str
    target: str
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """Everything the journal knows that decisions depend on. ``digests`` are in order of first appearance;
    ``serving`` ran last on every machine. ``schemas`` are the database schemas seen under each digest. ``drill`` is the
    newest one, under way or over; ``works`` is when it was last seen that going back works. ``untidy`` is the goal of a
    closed incident whose release row may still be open.
    """

    seq: int = 0
    newest_at: float = 0.0
    since: float | None = None
    digests: tuple[DigestRecord, ...] = ()
    serving: str = ""
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    floor: ev.FloorSet | None = None
    restarted_at: float | None = None
    rollbacks: tuple[PastRollback, ...] = ()
    reports: tuple[ev.Reported, ...] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    pause: ev.PauseSet | None = None
    hold: ev.HoldSet | None = None
    deploying: ev.DeployBegan | None = None
    incident: Incident | None = None
    incidents: int = 0
    untidy: Goal | None = None
    drill: Drill | None = None
    works: Proof | None = None
    readiness: ev.ReadinessChanged | None = None

    def record(self, digest: str) -> DigestRecord | None:
        """What is known of ``digest``, or None."""
        return next((d for d in reversed(self.digests) if d.digest == digest), None)

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(d.digest for d in self.digests)

    @property
    def goal(self) -> Goal | None:
        """The rollback under way, or None."""
        return self.incident.goal if self.incident and self.incident.phase == "acting" else None

    @property
    def drilling(self) -> Drill | None:
        """The drill under way, or None."""
        return self.drill if self.drill is not None and not self.drill.result else None


ROLLBACKS_MAX = 200
REPORTS_MAX = 200
DIGESTS_MAX = 500


def replay(recorded: Sequence[ev.Recorded]) -> TargetState:
    """The state after all these events."""
    state = TargetState()
    for entry in recorded:
        state = _moved(state, entry.event)
    return _gathered(state, recorded)


def apply(state: TargetState, entry: ev.Recorded) -> TargetState:
    """The state after one more event. Events that no decision depends on only move ``seq`` and ``newest_at``."""
    return _gathered(_moved(state, entry.event), (entry,))


def _moved(state: TargetState, event: ev.Event) -> TargetState:
    mover = _MOVERS.get(type(event))
    return mover(state, event) if mover else state


def _gathered(state: TargetState, recorded: Sequence[ev.Recorded]) -> TargetState:
    """With what no other event asks for: when the journal began, how far it has come, the newest word on each rule."""
    if not recorded:
        return state
    events = [entry.event for entry in recorded]
    rules = {e.rule: e.after for e in events if isinstance(e, ev.RuleChanged)}
    return replace(
        state,
        seq=recorded[-1].seq,
        newest_at=max(state.newest_at, *(e.at for e in events)),
        since=events[0].at if state.since is None else state.since,
        rules={**state.rules, **rules} if rules else state.rules,
    )


def _digest_seen(state: TargetState, e: ev.DigestSeen) -> TargetState:
    if state.record(e.digest):
        return state
    record = DigestRecord(
        digest=e.digest,
        image_ref=e.image_ref,
        version=e.version,
        first_seen_at=e.at,
        first_sight=e.first_sight,
        by_guard=e.by_guard,
        labels=e.labels,
        born_into=frozenset(e.born_into),
    )
    place = place_of(e.version, state.digests)
    return replace(state, digests=(*state.digests[:place], record, *state.digests[place:])[-DIGESTS_MAX:])


def _with_digest(state: TargetState, digest: str, **changes: Any) -> TargetState:
    """With these changes to one record, where there is one: most often the newest."""
    digests = list(state.digests)
    for place in reversed(range(len(digests))):
        if digests[place].digest == digest:
            digests[place] = replace(digests[place], **changes)
            return replace(state, digests=tuple(digests))
    return state


def _fully_deployed(state: TargetState, e: ev.FullyDeployed) -> TargetState:
    known = state.record(e.digest)
    first = {} if known and known.full_at is not None else {"full_at": e.at, "full_version": e.version}
    return replace(_with_digest(state, e.digest, served_at=e.at, **first), serving=e.digest)


def _proven(state: TargetState, e: ev.Proven) -> TargetState:
    if state.record(e.digest) is None:
        seen = ev.DigestSeen(at=e.at, digest=e.digest, image_ref=e.image_ref, version=e.version, labels={})
        state = _digest_seen(state, seen)
    return _with_digest(state, e.digest, proven_at=e.at, proven_how=e.how)


def _schema_read(state: TargetState, e: ev.SchemaRead) -> TargetState:
    """What the schema was when a digest was proven is what going back to it needs; a later one is somebody else's."""
    known, record = state.schemas.get(e.digest), state.record(e.digest)
    settled = known.settled if known and record and record.proven_at is not None else e.schema
    return replace(state, schemas={**state.schemas, e.digest: Schema(settled, e.schema)})


def _incident_opened(state: TargetState, e: ev.IncidentOpened) -> TargetState:
    incident = Incident(id=e.incident, candidate=e.candidate, opened_at=e.at, sentence=e.sentence)
    return replace(state, incident=incident, incidents=state.incidents + 1)


def _page_queued(state: TargetState, e: ev.PageQueued) -> TargetState:
    return _in_incident(state, lambda i: replace(i, said=i.said | set(e.about.split("|"))))


def _goal_set(state: TargetState, e: ev.GoalSet) -> TargetState:
    goal = Goal(
        incident=e.incident,
        candidate=e.candidate,
        target=e.target,
        target_ref=e.target_ref,
        target_version=e.target_version,
        after_version=e.after_version,
        trigger=e.trigger,
        by=e.by,
        set_at=e.at,
        deadline_at=e.deadline_at,
        instances=e.instances,
        rules=e.rules,
        prove=e.prove,
        executor=e.executor,
        first_wait_s=e.first_wait_s,
    )
    past = PastRollback(at=e.at, candidate=e.candidate, target=e.target, trigger=e.trigger)
    state = replace(state, rollbacks=(*state.rollbacks, past)[-ROLLBACKS_MAX:])
    if state.incident is None:  # it was closed while a person decided: the goal has its own
        state = replace(state, incident=Incident(id=e.incident, candidate=e.candidate, opened_at=e.at, sentence=""))
    return _in_incident(state, lambda i: replace(i, phase="acting", goal=goal, approval=None))


def _step_intended(state: TargetState, e: ev.StepIntended) -> TargetState:
    if e.kind == "restart":
        state = replace(state, restarted_at=e.at)
        return _in_incident(state, lambda i: replace(i, restarted=i.restarted | {e.machine}))
    return _in_goal_of(state, e.incident, lambda g: after_intent(g, e))


def _step_done(state: TargetState, e: ev.StepDone) -> TargetState:
    if e.kind == "restart":
        return _in_incident(state, lambda i: replace(i, verify_since=e.at))
    if e.kind in {"release_complete", "release_failed"} and not _of_drill(state, e.incident):  # also after its end
        if state.untidy is not None and e.incident == state.untidy.incident:
            return replace(state, untidy=None)
        return _in_incident(state, lambda i: replace(i, goal=after_step(i.goal, e)) if i.goal else i)
    return _in_goal_of(state, e.incident, lambda g: after_step(g, e))


def _of_drill(state: TargetState, mark: str) -> bool:
    return state.drill is not None and state.drill.owns(mark)


def _in_goal_of(state: TargetState, mark: str, change: Callable[[Goal], Goal]) -> TargetState:
    """A step is one of the drill that it is marked with, else of the rollback under way."""
    if state.drill is not None and state.drill.owns(mark):
        return replace(state, drill=state.drill.with_goal(mark, change))
    return _in_goal(state, change)


def _drill_began(state: TargetState, e: ev.DrillBegan) -> TargetState:
    return replace(state, drill=drills.began(e))


def _drill_turned(state: TargetState, e: ev.DrillTurned) -> TargetState:
    return replace(state, drill=drills.turned(state.drill, e)) if state.drill else state


def _drill_ended(state: TargetState, e: ev.DrillEnded) -> TargetState:
    drill = drills.ended(state.drill, e) if state.drill else None
    return replace(state, drill=drill, works=drills.proof_of(e) or state.works)


def _goal_ended(state: TargetState, e: ev.GoalEnded) -> TargetState:
    if state.goal is not None and e.outcome == "restored":
        state = replace(state, works=drills.proof_by(state.goal, e.at))
    state = _in_goal(state, lambda g: replace(g, outcome=e.outcome))
    if e.outcome == "restored":
        return _in_incident(state, lambda i: replace(i, phase="verifying", verify_since=e.at))
    return _in_incident(state, lambda i: replace(i, phase="open"))


def _verified(state: TargetState, e: ev.Verified) -> TargetState:
    """A verdict that comes late, when a person has begun another rollback, does not end that one."""
    return _in_incident(state, lambda i: replace(i, phase="open") if i.phase == "verifying" else i)


def _incident_closed(state: TargetState, e: ev.IncidentClosed) -> TargetState:
    """No incident is closed while its goal is driven, whoever was about to say so."""
    if state.goal is not None:
        return state
    goal = state.incident.goal if state.incident else None
    untidy = goal if goal is not None and goal.row_intended and not goal.row_closed else state.untidy
    return replace(state, incident=None, untidy=untidy)


def _in_incident(state: TargetState, change: Callable[[Incident], Incident]) -> TargetState:
    return replace(state, incident=change(state.incident)) if state.incident else state


def _in_goal(state: TargetState, change: Callable[[Goal], Goal]) -> TargetState:
    goal = state.goal
    return _in_incident(state, lambda i: replace(i, goal=change(goal))) if goal else state


_MOVERS: dict[type[ev.Event], Callable[[TargetState, Any], TargetState]] = {
    ev.DigestSeen: _digest_seen,
    ev.FullyDeployed: _fully_deployed,
    ev.Proven: _proven,
    ev.DeployBegan: lambda s, e: replace(s, deploying=e),
    ev.DeployEnded: lambda s, e: replace(s, deploying=None),
    ev.IncidentOpened: _incident_opened,
    ev.PageQueued: _page_queued,
    ev.GoalSet: _goal_set,
    ev.StepIntended: _step_intended,
    ev.StepDone: _step_done,
    ev.Delegated: lambda s, e: _in_goal(s, lambda g: replace(g, delegate=e.id or g.delegate)),
    ev.GoalEnded: _goal_ended,
    ev.DrillBegan: _drill_began,
    ev.DrillTurned: _drill_turned,
    ev.DrillEnded: _drill_ended,
    ev.Verified: _verified,
    ev.IncidentClosed: _incident_closed,
    ev.FirstJudged: lambda s, e: _in_goal(s, lambda g: replace(g, proof=e.result)),
    ev.ApprovalAsked: lambda s, e: _in_incident(s, lambda i: replace(i, approval=e)),
    ev.ApprovalEnded: lambda s, e: _in_incident(
        s, lambda i: replace(i, approval=None, vetoed=i.vetoed or e.outcome == "vetoed")
    ),
    ev.FloorSet: lambda s, e: replace(s, floor=e if e.version is not None else None),
    ev.SchemaRead: _schema_read,
    ev.ReadinessChanged: lambda s, e: replace(s, readiness=e),
    ev.PauseSet: lambda s, e: replace(s, pause=e),
    ev.PauseLifted: lambda s, e: replace(s, pause=None),
    ev.HoldSet: lambda s, e: replace(s, hold=e),
    ev.Reported: lambda s, e: replace(s, reports=(*s.reports, e)[-REPORTS_MAX:]),
}
