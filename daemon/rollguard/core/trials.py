"""What the first machines and their peers counted, over the same seconds: so many bad out of so many, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rollguard.core.fleet import Tenure
from rollguard.core.judging import Evidence, beyond
from rollguard.core.model import Reading
from rollguard.core.policy import Compared, Condition, Failing, Quantile, Ratio, Rule, Threshold

SLOW_SHARE = 0.2
"""Times are compared at the bucket bound above which about this share of all requests lies."""
FAILS = 0.25
"""Who fails a quarter of the probes has not recovered."""


@dataclass(frozen=True, slots=True)
class Trials:
    """``bad`` of ``n``."""

    bad: float
    n: float

    @property
    def turned(self) -> Trials:
        """Where good is what is counted."""
        return Trials(self.n - self.bad, self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What one rule counted on the first machines and on their peers; ``weight`` discounts readings that cling.

    ``read_until`` is how far the readings reach: a metrics store may lie a minute behind.
    """

    rule: Rule
    first: Trials
    peers: Trials
    weight: float
    read_until: float

    @property
    def words(self) -> str:
        return (
            f"{self.rule.name}: {self.first.bad:.0f} of {self.first.n:.0f} on the old image, "
            f"{self.peers.bad:.0f} of {self.peers.n:.0f} on the new one"
        )


def pair_of(rule: Rule, evidence: Evidence, first: tuple[str, ...], since: float, now: float) -> Pair | None:
    """What ``rule`` counted since then on the machines ``first`` and on the cohort; None: nothing on either side."""
    condition = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
    count = _COUNTS.get(type(condition))
    mine = [t for t in evidence.view.others if t.machine in first and t.started]
    peers = list(evidence.view.serving)
    if count is None or not mine or not peers:
        return None
    # A machine's first moments say nothing about its image; both sides are compared over the same seconds.
    start = max([since, *(t.since + evidence.policy.comparing.settle_s for t in mine)])
    found = count(condition, evidence, mine, peers, start, now)
    if found is None:
        return None
    read = _readings(evidence, _key(condition), [*mine, *peers], start, now)
    return Pair(
        rule=rule,
        first=found[0],
        peers=found[1],
        weight=WEIGHTS[type(condition)],
        read_until=max((r.to for r in read), default=since),
    )


def _key(condition: Condition) -> str:
    match condition:
        case Ratio(total=key) | Failing(signal=key) | Quantile(key=key) | Threshold(key=key):
            return key
        case _:
            raise AssertionError("nothing is counted for it")


Counted = tuple[Trials, Trials] | None


def _ratio(
    c: Ratio, evidence: Evidence, first: Sequence[Tenure], peers: Sequence[Tenure], start: float, now: float
) -> Counted:
    def trials(machines: Sequence[Tenure]) -> Trials:
        n = _increase(evidence, c.total, machines, start, now)
        counted = Trials(min(n, _increase(evidence, c.bad, machines, start, now)), n)
        return counted if c.above else counted.turned

    return _if_any(trials(first), trials(peers))


def _slow(
    c: Quantile, evidence: Evidence, first: Sequence[Tenure], peers: Sequence[Tenure], start: float, now: float
) -> Counted:
    mine = _histogram(evidence, c.key, first, start, now)
    theirs = _histogram(evidence, c.key, peers, start, now)
    bounds = sorted(mine.keys() & theirs.keys())
    if not bounds or not mine[bounds[-1]] or not theirs[bounds[-1]]:
        return None
    n, m = mine[bounds[-1]], theirs[bounds[-1]]

    def share(bound: float) -> float:
        return 1 - (mine[bound] + theirs[bound]) / (n + m)

    def far(bound: float) -> float:
        """In ratios: where 40 % are slower tells much, where 3 % are tells little."""
        return abs(math.log(max(share(bound), 0.5 / (n + m)) / SLOW_SHARE))

    edge = min(bounds[:-1], key=far, default=None)
    if edge is None:
        return None
    slow = Trials(n - mine[edge], n), Trials(m - theirs[edge], m)
    return slow if c.above else (slow[0].turned, slow[1].turned)


def beyond_limit(rule: Rule, limit: float, evidence: Evidence, since: float, now: float) -> tuple[Trials, float] | None:
    """What the cohort counted since then, and from which share of bad on the rule's ``limit`` is broken; None: the
    rule counts nothing.
    """
    condition = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
    peers = list(evidence.view.serving)
    match condition:
        case Ratio():
            n = _increase(evidence, condition.total, peers, since, now)
            counted = Trials(min(n, _increase(evidence, condition.bad, peers, since, now)), n)
            return (counted, limit) if condition.above else (counted.turned, 1 - limit)
        case Quantile(key=key, q=q, above=True):
            seen = _histogram(evidence, key, peers, since, now)
            bound = max((b for b in seen if b <= limit and not math.isinf(b)), default=None)
            return None if bound is None else (Trials(seen[math.inf] - seen[bound], seen[math.inf]), 1 - q)
        case Failing(signal=key):
            return _read(key, lambda r: r.value == 0.0, evidence, peers, since, now), FAILS
        case Threshold(key=key, above=above):
            return _read(key, lambda r: beyond(r.value or 0.0, limit, above=above), evidence, peers, since, now), FAILS
        case _:
            return None


def _failed(
    c: Failing, evidence: Evidence, first: Sequence[Tenure], peers: Sequence[Tenure], start: float, now: float
) -> Counted:
    return _by_reading(c.signal, lambda r: r.value == 0.0, evidence, first, peers, start, now)


def _exceeded(
    c: Threshold, evidence: Evidence, first: Sequence[Tenure], peers: Sequence[Tenure], start: float, now: float
) -> Counted:
    is_bad: Callable[[Reading], bool] = lambda r: beyond(r.value or 0.0, c.limit, above=c.above)
    return _by_reading(c.key, is_bad, evidence, first, peers, start, now)


def _by_reading(
    key: str,
    is_bad: Callable[[Reading], bool],
    evidence: Evidence,
    first: Sequence[Tenure],
    peers: Sequence[Tenure],
    start: float,
    now: float,
) -> Counted:
    return _if_any(
        _read(key, is_bad, evidence, first, start, now),
        _read(key, is_bad, evidence, peers, start, now),
    )


def _read(
    key: str,
    is_bad: Callable[[Reading], bool],
    evidence: Evidence,
    machines: Sequence[Tenure],
    start: float,
    now: float,
) -> Trials:
    read = [r for r in _readings(evidence, key, machines, start, now) if r.gap is None and r.value is not None]
    return Trials(float(sum(map(is_bad, read))), float(len(read)))


def _readings(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> list[Reading]:
    return [
        reading
        for tenure in machines
        for reading in evidence.windows.since(key, tenure.machine, max(start, tenure.since))
        if reading.at <= now
    ]


def _increments(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> list[Reading]:
    """Increases wholly inside the time of comparison."""
    read = _readings(evidence, key, machines, start, now)
    return [r for r in read if r.gap is None and r.since is not None and r.since >= start]


def _increase(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> float:
    return sum(r.value or 0.0 for r in _increments(evidence, key, machines, start, now))


def _histogram(
    evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float
) -> dict[float, float]:
    """Cumulative counts at the bounds that every increment has."""
    some = [dict(r.buckets) for r in _increments(evidence, key, machines, start, now) if r.buckets]
    shared = set(some[0]).intersection(*some[1:]) if some else set()
    return {bound: sum(buckets[bound] for buckets in some) for bound in shared}


def _if_any(first: Trials, peers: Trials) -> Counted:
    return (first, peers) if first.n and peers.n else None


_COUNTS: dict[type, Callable[[Any, Evidence, Sequence[Tenure], Sequence[Tenure], float, float], Counted]] = {
    Ratio: _ratio,
    Quantile: _slow,
    Failing: _failed,
    Threshold: _exceeded,
}
WEIGHTS: dict[type, float] = {Ratio: 0.8, Quantile: 0.8, Failing: 0.5, Threshold: 0.2}
"""How much one event counts: errors come in clusters, and a gauge says the same thing again and again."""
