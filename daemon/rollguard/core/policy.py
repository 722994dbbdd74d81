"""The team's runbook as frozen values: what a policy file means once it is read. Seconds and ratios only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rollguard.core.model import Mode


class Scope(StrEnum):
    """Whom a probe asks: every machine by name, or whichever one users would get."""

    MACHINE = "machine"
    EDGE = "edge"


class Action(StrEnum):
    """What a firing rule asks for."""

    PAGE = "page"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never the secret: a name in the environment, or a file that is read at each use."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSignal:
    """GET ``url``; a probe succeeds when the status is in ``ok_status`` within ``timeout_s``."""

    name: str
    every_s: float
    url: str
    scopes: frozenset[Scope]
    timeout_s: float
    ok_status: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonValue:
    """A number at a dotted ``path``; file value times ``scale`` gives base units. ``gap_when``: means "none yet"."""

    name: str
    path: tuple[str, ...]
    scale: float = 1.0
    gap_when: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSignal:
    """GET ``url`` and read ``values`` from the JSON answer. Also a probe by its status, like ``HttpSignal``."""

    name: str
    every_s: float
    url: str
    scopes: frozenset[Scope]
    timeout_s: float
    ok_status: frozenset[int]
    values: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True)
class Matcher:
    """``label op value`` with op one of ``=``, ``!=``, ``=~``, ``!~`` (regular expressions are anchored)."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series of a metrics page: a name and label matchers, as in PromQL. ``text`` is as written."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeSignal:
    """Reads OpenMetrics or Prometheus text. Series are summed per machine by ``machine_label``.

    ``machine_label`` None: every series belongs to the edge. ``counts_probes`` says that the counted requests
    include the guard's own probes, which are then subtracted.
    """

    name: str
    every_s: float
    url: str
    timeout_s: float
    counters: Mapping[str, Selector]
    histograms: Mapping[str, Selector] = field(default_factory=dict)
    machine_label: str | None = "instance"
    token: SecretRef | None = None
    counts_probes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSignal:
    """What the platform says of its machines: states, exits, checks, releases."""

    name: str
    every_s: float


Signal = HttpSignal | JsonSignal | ScrapeSignal | PlatformSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """One sick machine is not a bad release: the share of the cohort that must agree, or the edge alone."""

    machines: float = 0.5
    or_edge: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Probes of ``signal``: the last ``k`` all failed (``of`` None), or ``k`` of the last ``of``."""

    signal: str
    k: int
    of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The value ``key`` beyond ``limit`` for ``for_s`` without a break. ``above`` False means below."""

    key: str
    limit: float
    above: bool
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Sum of ``bad`` over sum of ``total`` within the last ``over_s``, over the cohort together.

    No verdict under ``min_count`` of ``total`` in the window. ``for_s``: the ratio must hold that long.
    """

    bad: str
    total: str
    over_s: float
    limit: float
    above: bool
    min_count: float
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """The ``q`` quantile of histogram ``key`` within the last ``over_s``, from bucket bounds."""

    key: str
    q: float
    over_s: float
    limit: float
    above: bool
    min_count: float
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """A machine ended unasked ``k`` times within ``within_s``."""

    signal: str
    k: int
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A person or a system reported one of ``kinds`` against the serving release."""

    kinds: tuple[str, ...]


Condition = Failing | Threshold | Ratio | Quantile | Crashed | Reported


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A threshold of the runbook and what it asks for. ``cite`` is its line there, ``origin`` its place in the file."""

    name: str
    condition: Condition
    then: Action
    quorum: Quorum = field(default_factory=Quorum)
    mode: Mode = Mode.ENFORCE
    cite: str = ""
    origin: str = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Which values of an image label allow going back; ``unknown_blocks`` when the label is not there."""

    label: str
    allow: tuple[str, ...]
    unknown_blocks: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Interlocks:
    """Reasons not to act although a rule fires, as the team set them."""

    release_age_s: float = 86400.0
    onset_after_release: bool = True
    proven_after_s: float = 600.0
    furthest_releases: int = 1
    furthest_age_s: float = 604800.0
    migration: Migration | None = None
    cooldown_s: float = 1800.0
    per_release: int = 1
    per_day: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """How to go back: sizes are ratios of a process group, times are seconds."""

    first: int = 1
    max_unavailable: float = 0.25
    healthy_floor: float = 0.75
    wait_timeout_s: float = 300.0
    stability_s: float = 15.0
    pause_between_s: float = 10.0
    deadline_s: float = 900.0
    lease_ttl_s: float = 13.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """How the restored release is judged: for ``settle_s``, by the same rules, ``require`` and ``limits``.

    ``limits`` is the runbook's "check for" list: a threshold with ``for_s`` 0, or a ratio over the whole settle time.
    """

    settle_s: float = 300.0
    require: tuple[str, ...] = ()
    limits: tuple[Threshold | Ratio, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty:
    """Events v2. ``url`` is the enqueue address."""

    routing_key: SecretRef
    url: str = "https://events.pagerduty.com/v2/enqueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A signed webhook (Standard Webhooks headers)."""

    url: str
    secret: SecretRef


Channel = PagerDuty | Webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A URL asked every ``every_s`` while the guard is well; silence there is the alarm. An empty URL: off."""

    url: str
    every_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One app under guard. Addresses of the platform come from the environment, as for flyctl."""

    name: str
    app: str
    token: SecretRef
    platform: str = "fly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Where the record of each rollback goes, inside the data folder, and for how long."""

    dir: str = "artifacts/rollback"
    keep_s: float = 2592000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy file. ``hash`` is the SHA-256 of its text after secrets were left out; ``path`` where it was read."""

    target: Target
    signals: tuple[Signal, ...]
    rules: tuple[Rule, ...]
    mode: Mode = Mode.OBSERVE
    interlocks: Interlocks = field(default_factory=Interlocks)
    rollback: Rollback = field(default_factory=Rollback)
    verify: Verify = field(default_factory=Verify)
    page: tuple[Channel, ...] = ()
    heartbeat: Heartbeat | None = None
    artifacts: Artifacts = field(default_factory=Artifacts)
    runbook: str = ""
    path: str = "?"
    hash: str = ""

    def signal(self, name: str) -> Signal:
        """The signal of that name. Raises ``KeyError``."""
        for signal in self.signals:
            if signal.name == name:
                return signal
        raise KeyError(name)

    @property
    def platform_every_s(self) -> float:
        """How often the platform is asked; 10 s where the policy has no ``platform`` signal."""
        return min((s.every_s for s in self.signals if isinstance(s, PlatformSignal)), default=10.0)
