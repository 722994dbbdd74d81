"""How far back a rule looks."""

from __future__ import annotations

from rollguard.core.budgets import Burn
from rollguard.core.burn import recent_s
from rollguard.core.policy import (
    Compared,
    Condition,
    Crashed,
    Failing,
    Gauge,
    Policy,
    Probes,
    Quantile,
    Ratio,
    Reported,
    Threshold,
)


def span_s(condition: Condition | Probes | Gauge, policy: Policy) -> float:
    """The time that the oldest reading behind a verdict of this condition may lie back, in seconds."""
    match condition:
        case Failing(signal=name, k=k, of=of):
            signal = policy.signal(name)
            return (of or k) * signal.every_s + getattr(signal, "timeout_s", 0.0)
        case Threshold(key=key, for_s=for_s):
            return for_s + 2 * policy.signal(key.partition(".")[0]).every_s
        case (
            Ratio(over_s=over_s, for_s=for_s)
            | Quantile(over_s=over_s, for_s=for_s)
            | Probes(over_s=over_s, for_s=for_s)
            | Gauge(over_s=over_s, for_s=for_s)
        ):
            return over_s + for_s
        case Burn():
            return recent_s(condition)
        case Compared(of=of):
            return span_s(of, policy)
        case Crashed(within_s=within_s):
            return within_s
        case Reported():
            return 0.0
