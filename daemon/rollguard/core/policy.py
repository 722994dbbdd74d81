"""The team's runbook as frozen values: what a policy file means once it is read. Seconds and ratios only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rollguard.core.budgets import Burn, ByLabel, ByRegion
from rollguard.core.calendars import Freeze
from rollguard.core.channels import Channel
from rollguard.core.executors import Executor, Machines
from rollguard.core.model import Mode
from rollguard.core.signals import PlatformSignal, SecretRef, Signal


class Action(StrEnum):
    """What a firing rule asks for."""

    PAGE = "page"
    ROLLBACK = "rollback"


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
    """Sum of ``bad`` over sum of ``total`` within the last ``over_s``, over the cohort together, or split ``by`` what.

    No verdict under ``min_count`` of ``total`` in the window. ``for_s``: the ratio must hold that long.
    """

    bad: str
    total: str
    over_s: float
    limit: float
    above: bool
    min_count: float
    for_s: float = 0.0
    by: ByRegion | ByLabel | None = None


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
    by: ByRegion | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """The share of failed probes of ``signal``, shown over ``over_s``. What is tolerated of them is the same for every
    app.
    """

    signal: str
    over_s: float = 120.0
    min_count: float = 0.0
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """The time ``key`` that the app works out itself, such as a percentile over a trailing window."""

    key: str
    over_s: float = 120.0
    min_count: float = 0.0
    for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is counted or measured against what the proven release did: worse than baseline × ``factor`` + ``add``.

    The ``limit`` of ``of`` is not used: it is worked out from the baseline, and for probes it is fixed. ``factor`` of a
    quantile or gauge is how many times slower; ``add`` is for ratios, 0.01 being a percentage point. ``over_s`` is only
    shown.
    """

    of: Ratio | Quantile | Probes | Gauge
    factor: float = 1.0
    add: float = 0.0


Condition = Burn | Compared | Failing | Threshold | Ratio | Quantile | Crashed | Reported


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
class SchemaProbe:
    """Where the app says which database schema it sees: the text or number at ``path`` of the JSON at ``url``."""

    url: str
    path: tuple[str, ...]
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """Which values of an image label allow going back.

    Where the label is not there, ``probe`` decides: the same schema as when the target served allows it. Without an
    answer of either, ``unknown_blocks`` says what that means.
    """

    label: str
    allow: tuple[str, ...]
    unknown_blocks: bool = True
    probe: SchemaProbe | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Something that the app needs, probed by the guard itself: any status below 500 in time is well."""

    name: str
    url: str
    timeout_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interlocks:
    """Reasons not to act although a rule fires, as the team set them.

    ``watch_s``: how long a release's comparison with its predecessor may roll back. ``control`` and ``dependencies``
    are asked every ``look_every_s``. ``others_within_s``: other targets whose rules began to fire so close to ours
    (0: nobody asks). ``status_feed``: where the platform lists its incidents (empty: nobody asks).
    """

    release_age_s: float = 86400.0
    watch_s: float = 3600.0
    onset_after_release: bool = True
    proven_after_s: float = 600.0
    furthest_releases: int = 1
    furthest_age_s: float = 604800.0
    migration: Migration | None = None
    cooldown_s: float = 1800.0
    per_release: int = 1
    per_day: int = 3
    control: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    look_every_s: float = 5.0
    others_within_s: float = 120.0
    status_feed: str = ""
    freeze: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """How the proven release is remembered for comparison, and from when on a new one is compared with it.

    ``blocks`` of ``block_s`` each; a machine's first ``settle_s`` on an image count for nothing; with ``settle_auto``
    that is only where it starts, until earlier releases have told. Of healthy releases at most the share ``alpha`` may
    be rolled back by all comparisons together. One machine has nobody to be compared with in the same minutes: there
    what convicts a release must go on for another ``alone_s``.
    """

    block_s: float = 300.0
    blocks: int = 24
    settle_s: float = 30.0
    settle_auto: bool = False
    alpha: float = 0.001
    alone_s: float = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """How to go back: sizes are ratios of a process group, times are seconds.

    The ``first`` machines must do better than the rest within ``first_wait_s``, or with ``first_wait_auto`` within as
    much longer as traffic is thin; ``go_on_unclear`` goes on where that could not be told. ``restart_sick``: restart a
    machine that fails alone, one an hour, under the floor. ``executor``: whose hands do it; anybody's but the guard's
    own go by their own order and floor.
    ``not_ready_after_s``: for how long a rollback must be impossible before people are told.
    """

    first: int = 1
    first_wait_s: float = 90.0
    first_wait_auto: bool = False
    go_on_unclear: bool = False
    restart_sick: bool = False
    max_unavailable: float = 0.25
    healthy_floor: float = 0.75
    wait_timeout_s: float = 300.0
    stability_s: float = 15.0
    pause_between_s: float = 10.0
    deadline_s: float = 900.0
    lease_ttl_s: float = 13.0
    not_ready_after_s: float = 300.0
    executor: Executor = field(default_factory=Machines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """How the restored release is judged: for ``settle_s``, by the same rules, ``require`` and ``limits``.

    ``limits`` is the runbook's "check for" list: a threshold with ``for_s`` 0, or a ratio over the whole settle time.
    ``restart``: where it does no better, restart its machines once, one after the other, and judge again.
    """

    settle_s: float = 300.0
    restart: bool = True
    require: tuple[str, ...] = ()
    limits: tuple[Threshold | Ratio, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Who may report over HTTP: whoever has the ``token``, the secret that reports are signed with."""

    token: SecretRef


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
    comparing: Comparing = field(default_factory=Comparing)
    approval_s: float = 900.0
    reports: Reports | None = None
    page: tuple[Channel, ...] = ()
    tell: tuple[Channel, ...] = ()
    record: tuple[Channel, ...] = ()
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
