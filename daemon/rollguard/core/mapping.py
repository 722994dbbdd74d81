"""Which of a policy's signals and rules protocol 1 has something for, and what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rollguard.core.budgets import Burn
from rollguard.core.judging import of_users
from rollguard.core.model import EDGE, Mode
from rollguard.core.policy import Compared, Condition, Failing, Gauge, Policy, Probes, Quantile, Ratio, Rule, Threshold
from rollguard.core.signals import CountSignal, JsonSignal, ProbeSignal, Scope, Signal

ONE = "m1"


@dataclass(frozen=True, slots=True)
class Fed:
    """A policy as protocol 1 can feed it.

    ``counts``: signal, subject, and each of its keys with what it gets (total, bad or times); ``probes``: signals that
    get the probes; ``gauges``: signal and key that get the P95. ``kinds``: what a reply calls each rule. ``left_out``
    says which rules cannot be fed.
    """

    policy: Policy
    counts: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    probes: tuple[str, ...]
    gauges: tuple[tuple[str, str], ...]
    kinds: Mapping[str, str]
    left_out: tuple[str, ...]
    wants_times: bool
    """Whether any rule looks at the histogram."""


def feed(policy: Policy, dt_s: float) -> Fed:
    """The policy with scrapes every ``dt_s`` on one machine that nobody else looks at, with the rules that can be fed.

    Requests are every ratio's total, errors its bad ones, the histogram every quantile's; probes are those of any
    signal that a rule asks to fail; the P95 is every ``value`` in seconds. What depends on people, the platform or the
    world outside (a freeze, a migration, budgets) does not hold here.
    """
    rules = tuple(r for r in policy.rules if _fits(r, policy))
    others = (r for r in policy.rules if r not in rules)
    left_out = tuple(f"rule {r.name}: nothing in protocol 1 tells of {_source(r)}" for r in others)
    keys: dict[str, dict[str, str]] = {}
    probes: dict[str, None] = {}
    gauges: dict[tuple[str, str], None] = {}
    kinds: dict[str, str] = {}
    for rule in rules:
        of = _of(rule.condition)
        match of:
            case Ratio(bad=bad, total=total) | Burn(bad=bad, total=total):
                keys.setdefault(_signal(total), {})[total] = "total"
                keys.setdefault(_signal(bad), {})[bad] = "bad"
                kinds[rule.name] = "errors"
            case Quantile(key=key):
                keys.setdefault(_signal(key), {})[key] = "times"
                kinds[rule.name] = "latency"
            case Failing(signal=signal) | Probes(signal=signal):
                probes[signal] = None
                kinds[rule.name] = "probes"
            case Threshold(key=key) | Gauge(key=key):
                gauges[_signal(key), key] = None
                kinds[rule.name] = "latency"
    signals = tuple(_alone(s, dt_s) for s in policy.signals if s.name in {*keys, *probes, *(g for g, _ in gauges)})
    limits = replace(
        policy.interlocks, migration=None, freeze=(), dependencies=(), control=("control",), status_feed=""
    )
    comparing = replace(policy.comparing, alone_s=0.0)  # how many machines there are nobody tells
    made = replace(policy, signals=signals, rules=rules, interlocks=limits, comparing=comparing, mode=Mode.ENFORCE)
    counts = tuple(
        (name, EDGE if of_users(policy.signal(name)) else ONE, tuple(some.items())) for name, some in keys.items()
    )
    wants_times = any(kind == "times" for some in keys.values() for kind in some.values())
    return Fed(made, counts, tuple(probes), tuple(gauges), kinds, left_out, wants_times)


def _alone(signal: Signal, dt_s: float) -> Signal:
    """Asked on the one machine; probes come in thirds of a scrape interval."""
    changes: dict[str, Any] = {"every_s": dt_s}
    if isinstance(signal, CountSignal):
        changes["counts_probes"] = False
    elif isinstance(signal, ProbeSignal):
        changes = {"every_s": dt_s / 3, "scopes": frozenset({Scope.MACHINE})}
    return replace(signal, **changes)


def _fits(rule: Rule, policy: Policy) -> bool:
    match _of(rule.condition):
        case Ratio(by=by) | Quantile(by=by):
            return by is None
        case Failing() | Probes() | Burn():
            return True
        case Threshold(key=key) | Gauge(key=key):
            return isinstance(policy.signal(_signal(key)), JsonSignal) and "p95" in key.lower()
        case _:
            return False


def _of(condition: Condition) -> object:
    return condition.of if isinstance(condition, Compared) else condition


def _source(rule: Rule) -> str:
    of = _of(rule.condition)
    return str(getattr(of, "key", "") or getattr(of, "signal", "") or type(of).__name__.lower())


def _signal(key: str) -> str:
    return key.partition(".")[0]
