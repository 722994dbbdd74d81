"""What can happen, as values. Journal, log, metrics, pages and status are projections of these and nothing else.

Every event is a frozen dataclass of JSON-able fields (see ``event_json``). ``at`` is in seconds since the epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from rollguard.core.event import Event as Event
from rollguard.core.event import Recorded as Recorded
from rollguard.core.events_of_drills import DrillBegan as DrillBegan
from rollguard.core.events_of_drills import DrillEnded as DrillEnded
from rollguard.core.events_of_drills import DrillMoved as DrillMoved
from rollguard.core.events_of_drills import DrillTurned as DrillTurned
from rollguard.core.events_of_people import ApprovalAsked as ApprovalAsked
from rollguard.core.events_of_people import ApprovalEnded as ApprovalEnded
from rollguard.core.events_of_people import BaselineLoaded as BaselineLoaded
from rollguard.core.events_of_people import FloorSet as FloorSet
from rollguard.core.events_of_people import HoldSet as HoldSet
from rollguard.core.events_of_people import PageFailed as PageFailed
from rollguard.core.events_of_people import PageQueued as PageQueued
from rollguard.core.events_of_people import PageSent as PageSent
from rollguard.core.events_of_people import PauseLifted as PauseLifted
from rollguard.core.events_of_people import PauseSet as PauseSet
from rollguard.core.events_of_people import Reported as Reported
from rollguard.core.events_of_readiness import ConfigCompared as ConfigCompared
from rollguard.core.events_of_readiness import ReadinessChanged as ReadinessChanged


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardStarted(Event):
    """A life of the guard begins. ``life`` is unique to it."""

    life: str
    version: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoaded(Event):
    """The guard obeys this policy from now on."""

    hash: str
    path: str
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRejected(Event):
    """A changed policy could not be obeyed; the old one stays."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock moved by ``by_s`` against steady time; windows were emptied."""

    by_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestSeen(Event):
    """A digest runs on a machine for the first time since this journal began.

    ``born_into`` names the rules that were firing at that moment: what was already bad is not this release's
    doing. ``first_sight`` marks digests found running when an existing app was first looked at.
    """

    digest: str
    image_ref: str
    version: int | None
    labels: Mapping[str, str]
    born_into: tuple[str, ...] = ()
    first_sight: bool = False
    by_guard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FullyDeployed(Event):
    """The digest runs on every managed machine."""

    digest: str
    version: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven(Event):
    """The digest may be gone back to. ``how`` is observed or adopted."""

    digest: str
    image_ref: str
    version: int | None
    how: str
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployBegan(Event):
    """Somebody else writes to the app. ``sign`` says how it is known."""

    owner: str
    sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployEnded(Event):
    """Nobody else writes to the app any more."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChanged(Event):
    """A rule went from one state to another, with the sentence and the numbers that made it.

    ``since`` is the first reading of a breach, ``baseline`` what the release was compared with.
    """

    rule: str
    before: str
    after: str
    sentence: str
    value: float | None = None
    limit: float | None = None
    scope: str = "release"
    machines: tuple[str, ...] = ()
    since: float | None = None
    baseline: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(Event):
    """The first firing rule. Everything until the end belongs to ``incident``."""

    incident: str
    candidate: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """What was decided on which findings, and what held it.

    ``decision`` is hold, page, rollback, or would-page / would-rollback where the mode forbids. ``refusals`` are
    the interlocks' sentences, ``warnings`` those that were only to be said. ``findings`` are sentences.
    """

    incident: str
    decision: str
    trigger: str
    sentence: str
    candidate: str = ""
    target: str = ""
    findings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalSet(Event):
    """The intent to roll back, durable before the first write: all managed machines on ``target``.

    ``after_version`` is the newest release row at that moment: any newer row that is not ours ends the goal.
    ``instances`` are the machines' instance IDs then: a machine that left its own was changed by somebody else.
    ``rules`` asked for it; ``prove``: the first machine must do better than the rest before the others follow.
    ``executor`` is whose hands do it. ``first_wait_s``: how long the first machine is compared (None: by the policy).
    """

    incident: str
    candidate: str
    target: str
    target_ref: str
    target_version: int | None
    after_version: int
    trigger: str
    by: str
    reason: str
    deadline_at: float
    instances: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rules: tuple[str, ...] = ()
    prove: bool = False
    executor: str = "machines"
    first_wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIntended(Event):
    """About to write. ``kind`` is release_create, release_running, update, release_complete, release_failed, restart,
    delegate (somebody else is told to roll back) or delegate_cancel (and told to stop).

    For an update, ``instance_id`` is the machine's version before it. A restart belongs to no goal.
    """

    incident: str
    kind: str
    machine: str = ""
    instance_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone(Event):
    """The write took effect, as read back from the platform.

    ``result`` is the release's ID for release steps, the new instance ID for an update; ``version`` the row's.
    ``phase`` of an update is accepted (the new instance exists) or healthy (verified, checks stable).
    """

    incident: str
    kind: str
    machine: str = ""
    result: str = ""
    version: int | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """The write did not work, or nobody knows whether it did."""

    incident: str
    kind: str
    error: str
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegated(Event):
    """What another executor says of the rollback. ``state``: running, succeeded, failed, or lost (nobody knows).

    ``id`` is what it is known by, ``link`` where people can watch it, ``output`` the last lines that it printed.
    """

    incident: str
    executor: str
    state: str
    id: str = ""
    sentence: str = ""
    link: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalEnded(Event):
    """``outcome``: restored (all on target), yielded, failed, deadline, paused, or what the first machine showed
    (unproven: it was no better; unclear: that could not be told). After it nothing is resumed.
    """

    incident: str
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Event):
    """How the restored release does. ``result``: restored, not better or cannot tell."""

    incident: str
    result: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentClosed(Event):
    """``outcome``: recovered, restored, not better, cannot tell, handed over."""

    incident: str
    outcome: str
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstJudged(Event):
    """What the first machines on the target showed beside the rest on the candidate.

    ``result``: better, no better, recovered, worse or cannot tell.
    """

    incident: str
    result: str
    sentence: str
    machines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRead(Event):
    """The app said which database schema it sees, while ``digest`` was the newest one running."""

    digest: str
    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TickFailed(Event):
    """The guard's own fault while watching: a bug or a platform that does not answer. It makes us blind."""

    error: str
    failures: int
