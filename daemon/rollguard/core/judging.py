"""What every judgement shares: the evidence it may look at, and how a subject answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from rollguard.core.baseline import Baseline
from rollguard.core.events import Reported
from rollguard.core.finding import Finding
from rollguard.core.fleet import View
from rollguard.core.policy import Policy, Rule
from rollguard.core.signals import CountSignal, JourneySignal, ProbeSignal, Scope, Signal
from rollguard.core.window import Windows


class Say(Enum):
    """What one subject's readings say about a rule. QUIET: the source answers that there was no traffic."""

    WELL = 1
    SOON = 2
    BREACH = 3
    QUIET = 4
    NOTHING = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One subject's answer: what it says, its newest value, since when, and in which words.

    Unless it is heard again it says the same up to ``until``.
    """

    subject: str
    say: Say
    value: float | None = None
    since: float | None = None
    detail: str = ""
    until: float = -math.inf


Compare = Callable[["Rule", "Evidence", float], Finding]
"""What a rule that compares says now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All a judgement may look at. ``alive_since`` is when this life of the guard began to read.

    ``baseline`` is what the release is compared with; where that is None, ``no_baseline`` may say why; ``own`` is what
    was learnt of the release itself. ``compare`` judges the rules that compare, which have a memory of their own.
    """

    policy: Policy
    view: View
    windows: Windows
    reports: tuple[Reported, ...] = ()
    alive_since: float = 0.0
    baseline: Baseline | None = None
    no_baseline: str = ""
    own: Baseline | None = None
    compare: Compare | None = None
    looked_at: float = math.inf
    """When the platform was last asked who runs what."""


def stale_after_s(signal: Signal) -> float:
    """How old the newest answer of a signal may be before the guard is blind on it: three rounds and a timeout."""
    return 3 * signal.every_s + getattr(signal, "timeout_s", 0.0) + 1.0


MARGIN_S = 0.001
"""What a sum of times may be off by, a thousand times over: so much earlier is judged anew."""


def fresh_until(answered_at: float, signal: Signal) -> float:
    """Up to when an answer of a signal is surely not stale."""
    return answered_at + stale_after_s(signal) - MARGIN_S


def scopes_of(signal: Signal) -> frozenset[Scope]:
    """Of whom a signal has readings: the machines, the edge, or both."""
    if isinstance(signal, ProbeSignal):
        return signal.scopes
    return frozenset({Scope.EDGE if of_users(signal) else Scope.MACHINE})


def of_users(signal: Signal) -> bool:
    """Whether a signal counts what users got at the edge, by whichever machine."""
    return isinstance(signal, CountSignal) and signal.machine_label is None


def has_edge(signal: Signal) -> bool:
    """Whether a signal speaks of the edge."""
    return Scope.EDGE in scopes_of(signal)


def settled(view: View, settle_s: float) -> View:
    """The same fleet, each machine's life beginning ``settle_s`` later: its first seconds count for nothing."""
    return replace(
        view,
        cohort=tuple(replace(t, since=t.since + settle_s) for t in view.cohort),
        others=tuple(replace(t, since=t.since + settle_s) for t in view.others),
        whole_since=view.whole_since + settle_s,
    )


def quorum(rule: Rule, view: View, members: int) -> int:
    """How many of so many machines must agree. Beside machines on another digest, one new machine is enough."""
    return 1 if not view.whole else max(1, math.ceil(round(rule.quorum.machines * members, 6)))


CHANCE_MAX = 0.001
"""How improbable it must be that sick machines alone explain what the edge saw, before it speaks of the rest."""


def by_chance(failures: float, sick_share: float, signal: Signal) -> bool:
    """Whether so many failures in a row at the edge may all have met sick machines.

    Each request there goes to a machine at random, and a journey makes several.
    """
    requests = len(signal.steps) if isinstance(signal, JourneySignal) else 1
    meets_one = 1.0 - (1.0 - sick_share) ** requests
    return bool(meets_one**failures > CHANCE_MAX)


def beyond(value: float, limit: float, *, above: bool) -> bool:
    """Whether a value is on the wrong side of its limit. At the limit is still right."""
    return value > limit if above else value < limit
