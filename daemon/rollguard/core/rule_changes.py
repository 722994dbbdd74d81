"""What is written down of rules whose state changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollguard.core import events as ev
from rollguard.core.finding import Finding, RuleState


def rule_changes(findings: Sequence[Finding], before: Mapping[str, str], now: float) -> list[ev.RuleChanged]:
    """One event for each rule that is in another state than ``before``; a rule nobody knew was clear."""
    return [
        ev.RuleChanged(
            at=now,
            rule=f.rule.name,
            before=str(before.get(f.rule.name, RuleState.CLEAR)),
            after=str(f.state),
            sentence=f.sentence,
            value=f.value,
            limit=f.limit,
            scope=str(f.blame),
            machines=f.machines,
            since=f.since,
            baseline=f.baseline,
        )
        for f in findings
        if f.state != before.get(f.rule.name, RuleState.CLEAR)
    ]
