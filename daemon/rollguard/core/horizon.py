"""For how long readings are of use."""

from __future__ import annotations

from rollguard.core import loglines
from rollguard.core.baseline import compared
from rollguard.core.first_plan import longest_s
from rollguard.core.policy import Policy
from rollguard.core.signals import LogsSignal
from rollguard.core.spans import span_s


def horizon_s(policy: Policy) -> float:
    """How long readings are of use to this policy: its longest window, doubled for the windows before it."""
    spans = [policy.verify.settle_s, longest_s(policy), *(3 * s.every_s for s in policy.signals)]
    spans += [loglines.OVER_S for s in policy.signals if isinstance(s, LogsSignal)]
    spans += [span_s(rule.condition, policy) + 60.0 for rule in policy.rules]
    spans += [policy.comparing.block_s + 60.0] if compared(policy) else []
    return max(spans) * 1.25 + 60.0
