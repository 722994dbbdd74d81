"""Rules that are judged for each value of a label by itself, such as the route: one that breaks names itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from rollguard.core import text
from rollguard.core.budgets import ByLabel
from rollguard.core.by_sum import absolute, show
from rollguard.core.finding import Finding, RuleState
from rollguard.core.judging import Evidence, beyond
from rollguard.core.model import EDGE, Reading
from rollguard.core.parting import narrowed
from rollguard.core.parts import OTHERS, names
from rollguard.core.policy import Ratio, Rule

NAME_CHARS_MAX = 60


def by_label(rule: Rule, condition: Ratio, by: ByLabel, evidence: Evidence, now: float) -> Finding:
    """The worst part, judged as if the app had no other; each needs the rule's minimum of requests for itself.

    The guard's own probes are not taken out: nobody knows which of the parts they went to.
    """
    whole = absolute(rule, condition, evidence, now)
    if whole.state is RuleState.BLIND:
        return whole
    counted = _counts(condition, evidence, now)
    shares = {part: bad / total for part, (bad, total) in counted.items() if total >= max(condition.min_count, 1.0)}
    suspects = [part for part, share in shares.items() if beyond(share, condition.limit, above=condition.above)]
    found = {part: absolute(rule, condition, _only(evidence, condition, part, now), now) for part in suspects}
    for state in (RuleState.FIRING, RuleState.PENDING):
        if bad := {part: f for part, f in found.items() if f.state is state}:
            return _worst(bad, condition, by)
    return _clear(whole, shares, condition, by)


def _counts(condition: Ratio, evidence: Evidence, now: float) -> Mapping[str, tuple[float, float]]:
    """Of each part what its window holds of the release that serves, bad ones and all."""
    start = now - condition.over_s
    total, bad = (list(_rows(key, evidence, start, now)) for key in (condition.total, condition.bad))
    every = {part: [0.0, 0.0] for part in names(r.parts for r in (*total, *bad))}
    for place, rows in enumerate((bad, total)):
        for reading in rows:
            for part, count in reading.parts:
                every[part][place] += count
    return {part: (min(bad, total), total) for part, (bad, total) in every.items()}


def _rows(key: str, evidence: Evidence, start: float, now: float) -> Iterator[Reading]:
    view = evidence.view
    edge = view.whole_since if view.whole else math.inf
    for subject, since in (*((t.machine, t.since) for t in view.serving), (EDGE, edge)):
        for reading in evidence.windows.since(key, subject, start):
            if reading.at <= now and reading.since is not None and reading.since >= since:
                yield reading


def _only(evidence: Evidence, condition: Ratio, part: str, now: float) -> Evidence:
    """The same evidence as if nothing else had been counted."""
    start = now - condition.over_s - condition.for_s - 120.0
    policy, view, windows = narrowed(condition, part, (evidence.policy, evidence.view, evidence.windows), start)
    return replace(evidence, windows=windows, policy=policy, view=view)


def _worst(found: Mapping[str, Finding], condition: Ratio, by: ByLabel) -> Finding:
    sign = 1.0 if condition.above else -1.0
    parts = sorted(found, key=lambda part: -sign * (found[part].value or 0.0))
    also = f"; also {text.listing([called(part) for part in parts[1:]])}" if parts[1:] else ""
    finding = found[parts[0]]
    said = f"{by.label} {called(parts[0])}: {finding.sentence}{also}"
    return replace(finding, said=said, part=parts[0], holds_until=-math.inf)


def _clear(whole: Finding, shares: Mapping[str, float], condition: Ratio, by: ByLabel) -> Finding:
    """Nothing wrong anywhere: as the whole, with the worst part's value."""
    said = replace(whole, state=RuleState.CLEAR, since=None, machines=(), limit=condition.limit)
    until = whole.holds_until if whole.state is RuleState.CLEAR else -math.inf
    if not shares:
        return replace(said, value=None, holds_until=until)
    worst = (max if condition.above else min)(shares, key=lambda part: shares[part])
    words = f"worst is {called(worst)} with {show(condition)(shares[worst])}, limit {show(condition)(condition.limit)}"
    sentence = f"{condition.bad} / {condition.total} by {by.label}: {len(shares)} with traffic enough, {words}"
    return replace(said, value=shares[worst], said=sentence, part=worst, holds_until=until)


def called(part: str) -> str:
    """A part as people read it; what an app says is cut and made harmless."""
    return "all others" if part == OTHERS else text.one_line(part, NAME_CHARS_MAX)
