"""What the guard sees: machines, releases, readings. All frozen, all in base units (seconds, ratios)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

EDGE = "edge"
"""The subject of a reading that belongs to no single machine: what users get."""


class Mode(IntEnum):
    """The most that a rule, a policy or the whole guard may do. The least of them counts."""

    OBSERVE = 0
    PAGE = 1
    ENFORCE = 2


class GapKind(StrEnum):
    """Why there is no reading. None of these is evidence of failure, or of health."""

    NO_TRAFFIC = "no traffic"
    NO_ANSWER = "no answer"
    BAD_ANSWER = "bad answer"
    STALE = "stale"
    NOT_A_NUMBER = "not a number"
    LATE = "the guard was late"


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of one signal for one subject at one instant, or its absence with a reason.

    ``key`` is ``signal`` or ``signal.value``; ``subject`` a machine ID or ``EDGE``. ``value`` is, by kind of
    signal: 1.0 / 0.0 for a probe that succeeded / failed (``detail`` says how), asked at ``since`` where that is known;
    a number in base units; or, for a counter, the increase from ``since`` to ``until`` (a metrics store is behind:
    ``at`` is when it was read).
    ``buckets`` are a histogram's increases, ``(upper bound, count)``, cumulative as in Prometheus, the last bound
    being infinite. ``parts`` are a counter's increases by the value of the label that its signal is split by, ``""``
    for all values beyond the most that are told apart.
    """

    key: str
    subject: str
    at: float
    value: float | None = None
    gap: GapKind | None = None
    detail: str = ""
    since: float | None = None
    until: float | None = None
    buckets: tuple[tuple[float, float], ...] = ()
    parts: tuple[tuple[str, float], ...] = ()

    @property
    def unanswered(self) -> bool:
        """A probe that got no HTTP answer at all: that the app is gone, or only the way there."""
        return self.value == 0.0 and bool(self.detail) and not self.detail.startswith("HTTP ")

    @property
    def to(self) -> float:
        """The newest instant that the value speaks of."""
        return self.at if self.until is None else self.until


@dataclass(frozen=True, slots=True)
class Check:
    """A health check that the platform runs on a machine; ``status`` is passing, warning or critical."""

    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A machine's process ended. ``requested`` exits (stop, update, idle) are normal life, not crashes."""

    at: float
    code: int
    requested: bool
    oom: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody's exclusive hold on a machine. ``expires_at`` in epoch seconds."""

    owner: str
    description: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One instance of the app, as the platform describes it.

    ``digest`` is what really runs. ``instance_id`` changes with every update. ``started_at`` is the newest start
    by the platform's clock (None: never seen). ``incident`` is the guard's own mark on machines it rolled back,
    ``drill`` the one on machines it rehearsed with.
    """

    id: str
    state: str
    instance_id: str
    digest: str
    image_ref: str
    group: str = "app"
    region: str = ""
    cordoned: bool = False
    host_ok: bool = True
    managed: bool = True
    standby: bool = False
    has_checks: bool = True
    has_services: bool = True
    has_volume: bool = False
    checks: tuple[Check, ...] = ()
    started_at: float | None = None
    exits: tuple[Exit, ...] = ()
    release_version: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    incident: str | None = None
    drill: str | None = None
    config_hash: str = ""

    @property
    def started(self) -> bool:
        return self.state == "started"

    @property
    def crashed(self) -> bool:
        """At rest because its process failed: nobody stopped it, and it was not idle."""
        last = max(self.exits, key=lambda e: e.at, default=None)
        return self.state == "stopped" and last is not None and not last.requested and (last.code != 0 or last.oom)

    @property
    def checks_pass(self) -> bool:
        """Non-empty and all passing; a machine without checks is judged by ``started`` alone."""
        if not self.has_checks:
            return True
        return bool(self.checks) and all(check.status == "passing" for check in self.checks)

    @property
    def healthy_routable(self) -> bool:
        """Serves users now, as far as the platform can tell."""
        return self.started and not self.cordoned and self.host_ok and self.checks_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A row of the platform's release list. What it says and what runs are two things: trust the digests."""

    id: str
    version: int
    status: str
    image_ref: str
    created_at: float
    user: str = ""
    description: str = ""

    @property
    def in_progress(self) -> bool:
        return self.status in {"pending", "running"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The platform at one instant: machines sorted by ID, releases newest first, leases held on machines.

    ``leases`` is None where nobody looked. ``at`` is the guard's own time of asking.
    """

    at: float
    machines: tuple[Machine, ...]
    releases: tuple[Release, ...]
    leases: Mapping[str, Lease] | None = None

    @property
    def managed(self) -> tuple[Machine, ...]:
        return tuple(m for m in self.machines if m.managed)

    @property
    def reachable(self) -> tuple[str, ...]:
        """The managed machines whose hosts answer: nobody can hold or change the others."""
        return tuple(m.id for m in self.managed if m.host_ok)

    @property
    def newest_version(self) -> int:
        return max((r.version for r in self.releases), default=0)
