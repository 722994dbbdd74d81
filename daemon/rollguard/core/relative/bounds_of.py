"""What each rule that compares tolerates, and what it may spend of the promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rollguard.core.baseline import Baseline, Block
from rollguard.core.evidence.bets import Terms
from rollguard.core.evidence.bounds import PROBES, error_bound, slow_bounds
from rollguard.core.evidence.gauge import GaugeBound
from rollguard.core.evidence.live import WEIGHT_PROBES, Live, LiveTerms
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.matched import Matched
from rollguard.core.policy import Action, Compared, Gauge, Probes, Quantile, Ratio, Rule
from rollguard.core.relative.gauges import GaugeWager
from rollguard.core.relative.history import History
from rollguard.core.relative.wagers import Bound, Wager
from rollguard.core.same_hour import Lift

REQUESTS_MIN = 50.0
"""A baseline of fewer requests says nothing."""
BLOCKS_USED = 24
LiftOf = Callable[[float | None], Lift]
"""By a histogram's bound, how many times its level of the last two hours the app reaches in those that come."""
SIZE_ERRORS, SIZE_SLOW, SIZE_OTHERS = 6.0, 14.0, 10.0
PROBES_LEAST_S = 40.0
SLOW_BLATANT_S = 75.0


def wagers_of(
    rule: Rule,
    baselines: Sequence[Baseline],
    history: History,
    *,
    measure: str,
    share: float,
    side_by_side: bool,
    restored: bool = False,
    lift: LiftOf = lambda bound_s: Lift(),
) -> list[Wager]:
    """The bets of a rule against a release that begins now; none where there is too little to compare with.

    ``measure`` is what the blocks call it, ``share`` what it may take of healthy releases. ``side_by_side``: there are
    several machines, so that half of the promise is kept for the live test. ``restored``:
    it is compared with what it did itself, and what went before it was the bad release, which excuses nothing.
    ``lift`` is what this hour of the day was on earlier ones.
    """
    assert isinstance(rule.condition, Compared)
    if isinstance(rule.condition.of, Gauge):
        return _gauge(rule.condition, measure, share, baselines)
    bounds = _bounds(rule, rule.condition, measure, baselines, History() if restored else history)
    bounds = [_lifted(bound, lift(bound.bound_s)) for bound in bounds]
    if not bounds:
        return []
    acts = rule.then is Action.ROLLBACK
    alpha = share / len(bounds) * (0.5 if side_by_side and acts else 1.0)
    made = []
    for bound in bounds:
        wager = Wager(bound=bound, terms=_terms(rule.condition, bound, alpha))
        if side_by_side:
            wager.levels = Levels.learnt(history.by_machine(bound.bound_s))
            wager.live = _live(rule.condition, bound, alpha)
        made.append(wager)
    return made


def _gauge(condition: Compared, measure: str, share: float, baselines: Sequence[Baseline]) -> list[Wager]:
    """Values of the newest blocks are the past. Nothing is kept for a live test: there is none."""
    blocks = sorted((block for baseline in baselines for block in baseline.blocks), key=lambda b: b.end)
    values = [value for block in blocks[-BLOCKS_USED:] for value in block.gauges.get(measure, ())]
    known = GaugeBound.learnt(values, condition.factor)
    return [] if known is None else [GaugeWager.against(known, share, SIZE_OTHERS)]


def _lifted(bound: Bound, lift: Lift) -> Bound:
    """The bound for an hour that is worse every day. One that is better every day lowers nothing: the policy's margin
    and what the app was seen to wander are the least that is tolerated.
    """
    if lift.times <= 1.0:
        return bound
    limit, baseline = min(1.0, bound.limit * lift.times), min(1.0, bound.baseline * lift.times)
    return replace(bound, limit=limit, baseline=baseline, lifted=lift.sentence)


def _bounds(
    rule: Rule, condition: Compared, measure: str, baselines: Sequence[Baseline], history: History
) -> list[Bound]:
    of = condition.of
    if isinstance(of, Probes):
        return [Bound(bound_s=None, limit=PROBES, baseline=0.0)]
    if sum(baseline.requests(measure) for baseline in baselines) < REQUESTS_MIN:
        return []
    blocks = _newest(baselines)
    if isinstance(of, Ratio):
        known = [(s.bad, s.total) for b in blocks if (s := b.shares.get(measure)) is not None and s.total > 0]
        errors = error_bound(known, history.recent(), add=condition.add, factor=condition.factor)
        return [Bound(bound_s=None, limit=errors.limit, baseline=errors.baseline)]
    times = [t for b in blocks if (t := b.times.get(measure)) is not None and t.total > 0]
    own = sum(t.own for t in times) / max(1.0, sum(t.total for t in times))
    pages = rule.then is Action.PAGE
    slow = slow_bounds([t.buckets for t in times], history.recent_times(), condition.factor, page=pages)
    return [Bound(bound_s=b.bound_s, limit=b.limit, baseline=b.baseline, base_own=own) for b in slow]


def _newest(baselines: Sequence[Baseline]) -> list[Block]:
    """The newest blocks of all of them, and older ones where those hold little."""
    blocks = sorted((block for baseline in baselines for block in baseline.blocks), key=lambda b: b.end)
    if len(baselines) == 1:
        return blocks
    return blocks[-max(BLOCKS_USED, *(len(b.blocks) for b in baselines)) :]


def _terms(condition: Compared, bound: Bound, alpha: float) -> Terms:
    match condition.of:
        case Probes():
            return Terms(limit=bound.limit, alpha=alpha, size=SIZE_OTHERS, least_s=PROBES_LEAST_S)
        case Quantile() | Gauge():
            return Terms(limit=bound.limit, alpha=alpha, size=SIZE_SLOW, blatant_s=SLOW_BLATANT_S)
        case Ratio():
            return Terms(limit=bound.limit, alpha=alpha, size=SIZE_ERRORS)


def _live(condition: Compared, bound: Bound, alpha: float) -> Live | Matched:
    match condition.of:
        case Probes():
            return Matched(alpha=alpha / WEIGHT_PROBES)
        case Quantile() | Gauge():
            return Live(replace(LiveTerms.latency(bound.limit, bound.baseline), alpha=alpha, weight=1.0))
        case Ratio():
            terms = LiveTerms.errors(add=condition.add, factor=condition.factor)
            return Live(replace(terms, alpha=alpha, weight=1.0))
