"""How a release becomes a baseline: which time of its life counts, and what is counted in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollguard.core import ratios, text
from rollguard.core.baseline import Block, Share, Times, compared, measure_of
from rollguard.core.finding import Finding, RuleState
from rollguard.core.fleet import View
from rollguard.core.gauges import values_of
from rollguard.core.judging import Evidence, settled
from rollguard.core.lifecycle import TargetState
from rollguard.core.parting import Looked, each, named
from rollguard.core.policy import Gauge, Interlocks, Policy, Quantile, Ratio
from rollguard.core.window import Windows

BAD = frozenset({RuleState.FIRING, RuleState.BLIND})


def compared_with(state: TargetState, candidate: str, limits: Interlocks, now: float) -> tuple[str | None, str]:
    """Whose baseline a candidate is held against: that of the newest proven digest before it; or None, and why.

    A release that was gone back to is verified against its own. One that is no longer guarded is compared with
    nothing: by then hours and days have changed more than a release does.
    """
    incident, record = state.incident, state.record(candidate)
    if incident is not None and incident.phase == "verifying" and incident.goal is not None:
        return candidate, ""
    if record is not None and now - record.first_seen_at > limits.release_age_s:
        return None, f"the release is older than {text.seconds(limits.release_age_s)}"
    bad = {r.candidate for r in state.rollbacks}
    place = state.order.index(candidate) if candidate in state.order else len(state.digests)
    proven = [d.digest for d in state.digests[:place] if d.proven_at is not None and d.digest not in bad]
    return (proven[-1], "") if proven else (None, "no older release was proven")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Time without a break in which one digest ran everywhere and nothing was wrong, up to the block begun last."""

    digest: str
    since: float
    block_since: float


def learn(before: Stretch | None, evidence: Evidence, findings: Sequence[Finding], now: float) -> Stretch | None:
    """The stretch as it is now: it goes on, begins, or ends (None)."""
    view = evidence.view
    whole = bool(view.serving) and not view.others and not view.deploying
    if not whole or any(f.state in BAD for f in findings):
        return None
    broken = before is None or before.digest != view.candidate or before.since < evidence.alive_since
    return Stretch(view.candidate, now, now) if broken else before


def finished(stretch: Stretch, evidence: Evidence, now: float) -> tuple[Stretch, Block | None]:
    """The block of a stretch, if one has come to its end, and the stretch with the next one begun."""
    end = stretch.block_since + evidence.policy.comparing.block_s
    if now < end:
        return stretch, None
    block = block_of(evidence.policy, _within(evidence.view, stretch.since), evidence.windows, stretch.block_since, end)
    # A guard that stood still for longer has missed what it did not read.
    return replace(stretch, block_since=end if now - end < evidence.policy.comparing.block_s else now), block


def _within(view: View, since: float) -> View:
    """The same fleet, no life of which begins before that."""
    lives = tuple(replace(t, since=max(t.since, since)) for t in view.cohort)
    return replace(view, cohort=lives, whole_since=max(view.whole_since, since))


def block_of(policy: Policy, view: View, windows: Windows, start: float, end: float) -> Block | None:
    """What the view's cohort did from ``start`` to ``end`` as the policy's comparisons need it; None: nothing."""
    view = settled(view, policy.comparing.settle_s)
    looked = policy, view, windows
    did: dict[str, Share | Times | tuple[float, ...] | None] = {}
    for of in compared(policy):
        name = measure_of(of, policy)
        if name not in did:  # another rule may compare the same
            did[name] = _did(of, looked, start, end)
        if not isinstance(of, Gauge) and of.by is not None:
            did |= {named(name, of.by, part): _did(of, one, start, end) for part, one in each(of, looked, start)}
    shares = {name: found for name, found in did.items() if isinstance(found, Share)}
    times = {name: found for name, found in did.items() if isinstance(found, Times)}
    gauges = {name: found for name, found in did.items() if isinstance(found, tuple)}
    return Block(view.candidate, start, end, shares, times, gauges) if shares or times or gauges else None


def _did(
    of: Ratio | Quantile | Gauge, looked: Looked, start: float, end: float
) -> Share | Times | tuple[float, ...] | None:
    policy, view, windows = looked
    if isinstance(of, Gauge):
        return values_of(of, policy, view, windows, start, end) or None
    if isinstance(of, Ratio):
        measured = ratios.ratio_at(replace(of, over_s=end - start, min_count=0.0), policy, view, windows, end)
        return Share(measured.bad, measured.count) if measured.count > 0 and not measured.unread else None
    measured = ratios.quantile_at(replace(of, over_s=end - start, min_count=0.0), policy, view, windows, end)
    whole = measured.count > 0 and not measured.unread and math.isinf(measured.buckets[-1][0])
    return Times(measured.buckets, measured.own) if whole else None
