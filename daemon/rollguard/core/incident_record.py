"""One incident from its first bad sign to its last word: its events picked from the journal, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from rollguard.core import events as ev
from rollguard.core.event import Event, Recorded
from rollguard.core.policy import Artifacts, Policy

BEFORE_S = 600.0
"""What happened to the target so long before an incident may have to do with it."""

DUE_S = 86400.0
"""The runbook's time for a post-mortem, from the end on."""

SUMMARY, INCIDENT, POST_MORTEM = "rollback-summary.txt", "incident.json", "post-mortem.md"
BUNDLE, OUTPUT = "support-bundle.tar.gz", "executor-output.txt"
E = TypeVar("E", bound=Event)
_WRITES = frozenset({"release_create", "update", "delegate"})
_PAGES = (ev.PageQueued, ev.PageSent, ev.PageFailed)


def folder_name(opened_at: float, target: str) -> str:
    """The folder of an incident that began then: sorts by time; two targets in trouble at once have two folders."""
    return f"{datetime.fromtimestamp(opened_at, UTC):%Y%m%dT%H%M%SZ}-{target}"


def artifact_path(settings: Artifacts, target: str, opened_at: float, file: str = "") -> str:
    """Where the record of an incident that began then is, or one ``file`` of it, seen from the data folder."""
    return "/".join(part for part in (settings.dir.rstrip("/"), folder_name(opened_at, target), file) if part)


def bundle_path(policy: Policy, opened_at: float) -> str:
    """Where a hand-over leaves the support bundle of an incident that began then, seen from the data folder."""
    return artifact_path(policy.artifacts, policy.target.name, opened_at, BUNDLE)


def page_key(target: str, incident: str) -> str:
    """What the keys of all of an incident's pages begin with."""
    return f"rollguard/{target}/{incident}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine's part of a rollback: its instance ``before``, the one ``after`` (empty: not updated), and how it is.

    ``state`` is healthy, updated (nobody saw it healthy), intended, failed or untouched; ``error`` the newest one.
    """

    id: str
    before: str = ""
    after: str = ""
    state: str = "untouched"
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """When an incident's turning points were; None where it did not come to that, or has not yet."""

    first_sign_at: float | None = None
    decided_at: float | None = None
    first_write_at: float | None = None
    whole_at: float | None = None
    verified_at: float | None = None
    ended_at: float | None = None

    def spans(self) -> dict[str, float | None]:
        """Seconds from one turning point to the next, and from the first bad sign to the whole fleet restored."""
        return {
            "firstSignToDecision": _span(self.first_sign_at, self.decided_at),
            "decisionToFirstWrite": _span(self.decided_at, self.first_write_at),
            "firstWriteToWhole": _span(self.first_write_at, self.whole_at),
            "wholeToVerified": _span(self.whole_at, self.verified_at),
            "firstSignToWhole": _span(self.first_sign_at, self.whole_at),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Chronicle:
    """The events of one incident, in order, with what else happened to the target meanwhile and shortly before.

    Of things that happened more than once (a person may roll back again) the newest one is told. ``versions`` are the
    release numbers of digests, where they are known.
    """

    target: str
    incident: str
    entries: tuple[Recorded, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)

    @property
    def opened(self) -> ev.IncidentOpened | None:
        return self._newest(ev.IncidentOpened)

    @property
    def goal(self) -> ev.GoalSet | None:
        return self._newest(ev.GoalSet)

    @property
    def candidate(self) -> str:
        """The digest that is blamed; empty where nobody knows."""
        goal, opened = self.goal, self.opened
        return goal.candidate if goal else opened.candidate if opened else ""

    @property
    def ended(self) -> ev.GoalEnded | None:
        """The end of the newest goal; None while it is driven."""
        found = self._newest(ev.GoalEnded)
        return found if found and self.goal and found.at >= self.goal.at else None

    @property
    def first(self) -> ev.FirstJudged | None:
        return self._newest(ev.FirstJudged)

    @property
    def verified(self) -> ev.Verified | None:
        return self._newest(ev.Verified)

    @property
    def closed(self) -> ev.IncidentClosed | None:
        return self._newest(ev.IncidentClosed)

    @property
    def config(self) -> ev.ConfigCompared | None:
        """How the app was configured after the rollback, beside what its image was proven with."""
        return self._newest(ev.ConfigCompared)

    @property
    def decisions(self) -> tuple[ev.Decided, ...]:
        return tuple(e for e in self.own if isinstance(e, ev.Decided))

    @property
    def paged(self) -> bool:
        """Whether people were told at all; in mode observe they are not."""
        return any(isinstance(e, ev.PageQueued) for e in self.own)

    @property
    def due_at(self) -> float | None:
        """When the post-mortem is due; None before the guard's part is over, or where it had none."""
        ends = [e.at for e in self.own if isinstance(e, ev.Verified)]
        ends += [e.at for e in self.own if isinstance(e, ev.GoalEnded) and e.outcome != "restored"]
        return min(ends) + DUE_S if ends else None

    @property
    def own(self) -> tuple[Event, ...]:
        """Only what belongs to the incident itself."""
        return tuple(e.event for e in self.entries if _is_of(e.event, self.target, self.incident))

    def rule(self, name: str, decision: ev.Decided) -> ev.RuleChanged | None:
        """What a rule had last said when a decision was made."""
        newest = None
        for entry in self.entries:
            if entry.event is decision:
                return newest
            if isinstance(entry.event, ev.RuleChanged) and entry.event.rule == name:
                newest = entry.event
        return newest

    def machines(self) -> tuple[Machine, ...]:
        """Every machine of the newest goal, by ID."""
        goal = self.goal
        found = {m: Machine(id=m, before=instance) for m, instance in goal.instances.items()} if goal else {}
        for event in self._since_goal():
            if isinstance(event, ev.StepIntended | ev.StepDone | ev.StepFailed) and event.kind == "update":
                found[event.machine] = _after(found.get(event.machine, Machine(id=event.machine)), event)
        return tuple(found[name] for name in sorted(found))

    def figures(self) -> Figures:
        """The turning points, of the newest goal where there is one."""
        decided = next((d for d in reversed(self.decisions) if d.decision == "rollback"), None)
        decided = decided or next(iter(self.decisions), None)
        writes = [e.at for e in self._since_goal() if isinstance(e, ev.StepIntended) and e.kind in _WRITES]
        ended, verified = self.ended, self.verified
        whole = ended if ended and ended.outcome == "restored" else None
        return Figures(
            first_sign_at=self._first_sign(),
            decided_at=decided.at if decided else None,
            first_write_at=writes[0] if writes else None,
            whole_at=whole.at if whole else None,
            verified_at=verified.at if whole and verified and verified.result == "restored" else None,
            ended_at=self.closed.at if self.closed else None,
        )

    def _first_sign(self) -> float | None:
        """The first reading of the breaches that the decisions rest on; else when the incident was opened."""
        named = {finding.partition(":")[0] for d in self.decisions for finding in d.findings}
        fired = [e.event for e in self.entries if isinstance(e.event, ev.RuleChanged) and e.event.after == "firing"]
        signs = [e.at if e.since is None else e.since for e in fired if e.rule in named]
        return min(signs, default=self.opened.at if self.opened else None)

    def _since_goal(self) -> list[Event]:
        goal, own = self.goal, self.own
        return [] if goal is None else list(own[own.index(goal) :])

    def _newest(self, kind: type[E]) -> E | None:
        return next((e for e in reversed(self.own) if isinstance(e, kind)), None)


def chronicle(recorded: Sequence[Recorded], target: str, incident: str) -> Chronicle:
    """What belongs to an incident; without entries when the record knows none of that name."""
    mine = [place for place, entry in enumerate(recorded) if _is_of(entry.event, target, incident)]
    if not mine:
        return Chronicle(target=target, incident=incident)
    first, own = mine[0], frozenset(mine)
    closed = [p for p in mine if isinstance(recorded[p].event, ev.IncidentClosed)]
    last = closed[-1] if closed else len(recorded) - 1
    since = recorded[first].event.at - BEFORE_S
    entries = tuple(
        entry
        for place, entry in enumerate(recorded)
        if place in own or (place <= last and entry.event.at >= since and _is_around(entry.event))
    )
    seen = [e.event for e in recorded if isinstance(e.event, ev.DigestSeen | ev.FullyDeployed)]
    versions = {e.digest: e.version for e in seen if e.version is not None}
    return Chronicle(target=target, incident=incident, entries=entries, versions=versions)


def _is_of(event: Event, target: str, incident: str) -> bool:
    if isinstance(event, _PAGES):
        key = page_key(target, incident)
        return event.key == key or event.key.startswith(f"{key}/")
    return getattr(event, "incident", None) == incident


def _is_around(event: Event) -> bool:
    return not isinstance(event, _PAGES) and getattr(event, "incident", None) is None


def _after(machine: Machine, event: ev.StepIntended | ev.StepDone | ev.StepFailed) -> Machine:
    match event:
        case ev.StepIntended():
            before = machine.before or event.instance_id
            return Machine(id=machine.id, before=before, after=machine.after, state="intended", error=machine.error)
        case ev.StepDone():
            state = "healthy" if event.phase == "healthy" else "updated"
            return Machine(id=machine.id, before=machine.before, after=event.result, state=state)
        case ev.StepFailed():
            return Machine(id=machine.id, before=machine.before, after=machine.after, state="failed", error=event.error)


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 3)
