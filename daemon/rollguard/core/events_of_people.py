"""What people do to the guard, and what it tells them: part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.core.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseSet(Event):
    """The hand brake: no automatic act until resumed."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseLifted(Event):
    """The hand brake is off."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldSet(Event):
    """A person is at it ("hotfix on its way"): page instead of acting until ``until``."""

    by: str
    reason: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Event):
    """Somebody says that ``digest`` (release ``version``) did ``kind``."""

    kind: str
    digest: str
    version: int | None
    by: str
    reason: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked(Event):
    """A person may have the guard roll back: this candidate, to this target, under this policy, once, until then."""

    incident: str
    candidate: str
    target: str
    policy: str
    until: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalEnded(Event):
    """The question is closed. ``outcome``: approved, vetoed, expired, or void (the world changed)."""

    incident: str
    outcome: str
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorSet(Event):
    """Never go back below release ``version`` any more: what is older has a hole. None lifts it."""

    version: int | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineLoaded(Event):
    """A recording was taken as what ``digest`` does when it is well."""

    digest: str
    blocks: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQueued(Event):
    """A page was written to the outbox together with the events beside it."""

    key: str
    summary: str
    severity: str
    resolve: bool = False
    about: str = ""
    kind: str = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSent(Event):
    """A channel took a page."""

    key: str
    channel: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFailed(Event):
    """A channel did not take a page. ``final``: it never will; otherwise it is tried again."""

    key: str
    channel: str
    error: str
    attempts: int
    final: bool = False
