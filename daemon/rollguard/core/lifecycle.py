"""What the journal says about a target: one state, one function that moves it.

Replay after a crash and live events go through the same ``apply``. The state holds levels ("all machines on this
digest, decided then"), never a plan: what to do next is worked out from what the platform says now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rollguard.core import events as ev


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestRecord:
    """What is known of one image digest. ``proven_at`` None: never proven.

    ``full_at`` is when it first ran on every machine, ``served_at`` since when it did so last.
    """

    digest: str
    image_ref: str
    version: int | None
    first_seen_at: float
    first_sight: bool = False
    by_guard: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    born_into: frozenset[str] = frozenset()
    full_at: float | None = None
    full_version: int | None = None
    served_at: float | None = None
    proven_at: float | None = None
    proven_how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One machine's part of a goal. ``after`` None: intended, and nobody knows yet whether it took effect."""

    before: str
    after: str | None = None
    healthy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """All managed machines on ``target``: what a rollback wants, since ``set_at``.

    ``proof`` is what the first machines showed: empty until that was judged.
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
    row_intended: bool = False
    row_id: str | None = None
    row_version: int | None = None
    row_running: bool = False
    row_closed: bool = False
    outcome: str = ""
    proof: str = ""
    updates: Mapping[str, Update] = field(default_factory=dict)


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
    ``serving`` ran last on every machine. ``schemas`` are the database schemas seen under each digest.
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

    def record(self, digest: str) -> DigestRecord | None:
        """What is known of ``digest``, or None."""
        return next((d for d in self.digests if d.digest == digest), None)

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(d.digest for d in self.digests)

    @property
    def goal(self) -> Goal | None:
        """The rollback under way, or None."""
        return self.incident.goal if self.incident and self.incident.phase == "acting" else None


ROLLBACKS_MAX = 200
REPORTS_MAX = 200
DIGESTS_MAX = 500


def replay(recorded: Iterable[ev.Recorded]) -> TargetState:
    """The state after all these events."""
    state = TargetState()
    for entry in recorded:
        state = apply(state, entry)
    return state


def apply(state: TargetState, entry: ev.Recorded) -> TargetState:
    """The state after one more event. Events that no decision depends on only move ``seq`` and ``newest_at``."""
    event = entry.event
    state = replace(
        state,
        seq=entry.seq,
        newest_at=max(state.newest_at, event.at),
        since=event.at if state.since is None else state.since,
    )
    mover = _MOVERS.get(type(event))
    return mover(state, event) if mover else state


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
    later = [i for i, d in enumerate(state.digests) if _is_later(d, record)]
    place = later[0] if later else len(state.digests)
    return replace(state, digests=(*state.digests[:place], record, *state.digests[place:])[-DIGESTS_MAX:])


def _is_later(one: DigestRecord, than: DigestRecord) -> bool:
    """A release that a person names afterwards takes its place by number; otherwise first seen, first in order."""
    return one.version is not None and than.version is not None and one.version > than.version


def _with_digest(state: TargetState, digest: str, **changes: Any) -> TargetState:
    return replace(state, digests=tuple(replace(d, **changes) if d.digest == digest else d for d in state.digests))


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
    )
    past = PastRollback(at=e.at, candidate=e.candidate, target=e.target, trigger=e.trigger)
    state = replace(state, rollbacks=(*state.rollbacks, past)[-ROLLBACKS_MAX:])
    if state.incident is None:  # it was closed while a person decided: the goal has its own
        state = replace(state, incident=Incident(id=e.incident, candidate=e.candidate, opened_at=e.at, sentence=""))
    return _in_incident(state, lambda i: replace(i, phase="acting", goal=goal, approval=None))


def _step_intended(state: TargetState, e: ev.StepIntended) -> TargetState:
    if e.kind == "release_create":
        return _in_goal(state, lambda g: replace(g, row_intended=True))
    if e.kind == "update":
        return _in_goal(state, lambda g: _with_update(g, e.machine, Update(before=e.instance_id)))
    if e.kind == "restart":
        state = replace(state, restarted_at=e.at)
        return _in_incident(state, lambda i: replace(i, restarted=i.restarted | {e.machine}))
    return state


def _step_done(state: TargetState, e: ev.StepDone) -> TargetState:
    match e.kind:
        case "release_create":
            return _in_goal(state, lambda g: replace(g, row_id=e.result, row_version=e.version))
        case "restart":
            return _in_incident(state, lambda i: replace(i, verify_since=e.at))
        case "release_running":
            return _in_goal(state, lambda g: replace(g, row_running=True))
        case "release_complete" | "release_failed":
            return _in_incident(state, lambda i: replace(i, goal=replace(i.goal, row_closed=True)) if i.goal else i)
        case "update":
            return _in_goal(state, lambda g: _updated(g, e))
        case _:
            return state


def _updated(goal: Goal, e: ev.StepDone) -> Goal:
    known = goal.updates.get(e.machine, Update(before=""))
    return _with_update(goal, e.machine, replace(known, after=e.result, healthy=e.phase == "healthy"))


def _with_update(goal: Goal, machine: str, update: Update) -> Goal:
    return replace(goal, updates={**goal.updates, machine: update})


def _goal_ended(state: TargetState, e: ev.GoalEnded) -> TargetState:
    state = _in_goal(state, lambda g: replace(g, outcome=e.outcome))
    if e.outcome == "restored":
        return _in_incident(state, lambda i: replace(i, phase="verifying", verify_since=e.at))
    return _in_incident(state, lambda i: replace(i, phase="open"))


def _verified(state: TargetState, e: ev.Verified) -> TargetState:
    """A verdict that comes late, when a person has begun another rollback, does not end that one."""
    return _in_incident(state, lambda i: replace(i, phase="open") if i.phase == "verifying" else i)


def _incident_closed(state: TargetState, e: ev.IncidentClosed) -> TargetState:
    """No incident is closed while its goal is driven, whoever was about to say so."""
    return state if state.goal is not None else replace(state, incident=None)


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
    ev.GoalEnded: _goal_ended,
    ev.Verified: _verified,
    ev.IncidentClosed: _incident_closed,
    ev.RuleChanged: lambda s, e: replace(s, rules={**s.rules, e.rule: e.after}),
    ev.FirstJudged: lambda s, e: _in_goal(s, lambda g: replace(g, proof=e.result)),
    ev.ApprovalAsked: lambda s, e: _in_incident(s, lambda i: replace(i, approval=e)),
    ev.ApprovalEnded: lambda s, e: _in_incident(
        s, lambda i: replace(i, approval=None, vetoed=i.vetoed or e.outcome == "vetoed")
    ),
    ev.FloorSet: lambda s, e: replace(s, floor=e if e.version is not None else None),
    ev.SchemaRead: _schema_read,
    ev.PauseSet: lambda s, e: replace(s, pause=e),
    ev.PauseLifted: lambda s, e: replace(s, pause=None),
    ev.HoldSet: lambda s, e: replace(s, hold=e),
    ev.Reported: lambda s, e: replace(s, reports=(*s.reports, e)[-REPORTS_MAX:]),
}
