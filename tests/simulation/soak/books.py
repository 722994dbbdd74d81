"""The journal as it reaches the disk, event by event: what the guard has bound itself to. Times are the loop's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rollguard.core import events as ev
from tests.simulation.soak.truth import Truth, now


@dataclass(slots=True, kw_only=True)
class Intent:
    """A write that was announced. ``life`` announced it."""

    kind: str
    machine: str
    instance: str
    at: float
    life: int
    known: dict[tuple[str, str], float]
    """What the guard knew then: see ``Truth.read_at``."""
    used: int = 0


@dataclass(slots=True, kw_only=True)
class Goal:
    """One rollback, from its intent to its end."""

    event: ev.GoalSet
    at: float
    due_at: float
    ended_at: float | None = None
    outcome: str = ""
    rows: list[str] = field(default_factory=list)
    updates: Counter[str] = field(default_factory=Counter)
    """Updates that the platform accepted, by machine."""
    updated_at: dict[str, float] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    """The instances that the updates made."""
    was_well: set[str] = field(default_factory=set)
    """Machines that served when they were taken down."""
    settled: dict[str, float] = field(default_factory=dict)
    """When a machine was called healthy."""

    @property
    def automatic(self) -> bool:
        return self.event.by == "rollguard"

    @property
    def open(self) -> bool:
        return self.ended_at is None


@dataclass(slots=True, kw_only=True)
class Alert:
    """A page that people got."""

    at: float
    summary: str


class Books:
    """Everything durable, as a reader of the journal sees it."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.events: list[tuple[float, ev.Event]] = []
        self.goals: list[Goal] = []
        self.intents: list[Intent] = []
        self.alerts: list[Alert] = []
        self.paused_at: float | None = None
        self.held: tuple[float, float] | None = None
        """When a person held, and until when by the guard's clock."""
        self.firing: dict[str, tuple[float, ev.RuleChanged]] = {}
        """The rules that fire, and since when that is written down."""
        self.spoken: set[str] = set()
        """The rules that the open incident has said something about."""
        self.incident: str | None = None
        self.verifying = False
        self.proven: set[str] = set()
        self.order: list[str] = []
        self.full: list[str] = []
        """Digests in the order in which they first were on every machine."""
        self.failed_life: dict[int, float] = {}
        """When a life could not write its journal."""

    @property
    def goal(self) -> Goal | None:
        """The goal under way."""
        return self.goals[-1] if self.goals and self.goals[-1].open else None

    def life_of(self, incident: str) -> Goal | None:
        """The newest goal of an incident."""
        return next((g for g in reversed(self.goals) if g.event.incident == incident), None)

    def take(self, events: Sequence[ev.Event], life: int) -> None:
        """These are durable now."""
        for event in events:
            self.events.append((now(), event))
            self._take(event, life)

    def _take(self, event: ev.Event, life: int) -> None:
        at = now()
        match event:
            case ev.GoalSet():
                self.goals.append(Goal(event=event, at=at, due_at=at + event.deadline_at - event.at))
                self.spoken |= {*event.rules, *self.firing}
                self.incident = event.incident
            case ev.GoalEnded():
                if self.goal is not None:
                    self.goal.ended_at, self.goals[-1].outcome = at, event.outcome
                self.verifying = event.outcome == "restored"
            case ev.StepIntended():
                intent = Intent(
                    kind=event.kind,
                    machine=event.machine,
                    instance=event.instance_id,
                    at=at,
                    life=life,
                    known=dict(self._truth.read_at),
                )
                self.intents.append(intent)
            case ev.StepDone(kind="update", phase="healthy") if self.goal is not None:
                self.goal.settled[event.machine] = at
            case ev.PageQueued(kind="alert"):
                self.alerts.append(Alert(at=at, summary=event.summary))
                self.spoken |= {word.removeprefix("rule ") for word in event.about.split("|")}
            case ev.Decided():
                self.spoken |= {finding.partition(":")[0] for finding in event.findings}
            case ev.RuleChanged():
                if event.after == "firing":
                    self.firing[event.rule] = at, event
                else:
                    self.firing.pop(event.rule, None)
            case ev.IncidentOpened():
                self.incident, self.spoken, self.verifying = event.incident, set(), False
            case ev.IncidentClosed() if self.goal is None:
                self.incident, self.verifying = None, False
                self.spoken = set()
                self.firing = {rule: (at, e) for rule, (_, e) in self.firing.items()}
            case ev.Verified():
                self.verifying = False
            case ev.PauseSet():
                self.paused_at = at
            case ev.PauseLifted():
                self.paused_at = None
            case ev.HoldSet():
                self.held = at, event.until
            case ev.Proven():
                self.proven.add(event.digest)
            case ev.DigestSeen():
                self.order.append(event.digest)
            case ev.FullyDeployed() if event.digest not in self.full:
                self.full.append(event.digest)

    def intended(self, kind: str, machine: str = "") -> Intent | None:
        """The newest announcement of such a write."""
        return next((i for i in reversed(self.intents) if i.kind == kind and i.machine == machine), None)

    def held_since(self, clock: float) -> float:
        """Since when a person's pause or hold is in force, by the guard's clock; infinity where none is."""
        since = [self.paused_at] if self.paused_at is not None else []
        if self.held is not None and clock < self.held[1]:
            since.append(self.held[0])
        return min(since, default=math.inf)
