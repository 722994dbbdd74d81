"""The first machine on the old image beside its peers on the new one: does it do better, under the same users?

Each rule that asked for the rollback gives trials: so many bad out of so many, on the first machines and on their
peers, over the same seconds. Nothing is assumed about how bad things are; only the two shares are compared, by the
binomial likelihood ratio of a pair of counts given their sum (a mixture over alternatives, so that it may be looked
at after every reading): ``E >= 1/alpha`` comes up in at most ``alpha`` of the cases in which the null is true,
however often one looks (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rollguard.core import text
from rollguard.core.finding import RuleState
from rollguard.core.fleet import Tenure
from rollguard.core.judge import judge
from rollguard.core.judging import Evidence, beyond
from rollguard.core.model import Reading
from rollguard.core.policy import Compared, Condition, Failing, Quantile, Ratio, Rule, Threshold
from rollguard.core.proof import BETTER, CANNOT_TELL, NO_BETTER, RECOVERED, Proof
from rollguard.core.spans import span_s

ALPHA = 0.01
"""How often a conclusion may be wrong, as long as machines differ by less than the margins below."""
BETTER_BY = 1.5
"""The peers must do worse by more than this; less may be a difference between machines."""
AS_BAD = 2.0
"""The old image is "no better" when it is shown to have more than this part (1/2) of its peers' trouble."""
MOSTLY = 0.9
ODDS_BETTER = (1.6, 2.5, 5.0, 15.0, 60.0)
ODDS_NO_BETTER = (1.5, 2.0, 3.0)
SLOW_SHARE = 0.2
"""Times are compared at the bucket bound above which about this share of all requests lies."""


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


def judge_first(
    acting: Sequence[str], evidence: Evidence, first: tuple[str, ...], since: float, now: float
) -> Proof | None:
    """What the machines ``first`` show beside the cohort of ``evidence``, since that instant; None: not yet clear.

    ``acting`` are the names of the rules that asked for the rollback. Where one of those sees only the edge, which
    tells no machine from another, the policy's other rules may show that the old image does better; that it does no
    better, or that all is over, only the acting ones can show.
    """
    every = [pair for rule in evidence.policy.rules if (pair := _pair(rule, evidence, first, since, now)) is not None]
    mine = [pair for pair in every if pair.rule.name in acting]
    # The acting rules share half of what may go wrong, the others the rest.
    need = {
        True: math.log(2 * len(mine) / ALPHA) if mine else math.inf,
        False: math.log(2 * max(1, len(every)) / ALPHA),
    }
    better = [p for p in every if _better(p) >= need[p in mine]]
    alike = [p for p in mine if _no_better(p) >= need[True]]
    words = "; ".join(p.words for p in better or mine)
    if better and alike:
        return Proof(CANNOT_TELL, f"the rules disagree: {words}")
    if better:
        return Proof(BETTER, words)
    if alike:
        return Proof(NO_BETTER, words)
    if mine and all(_is_over(p.rule, evidence, since, now) for p in mine):
        return Proof(RECOVERED, f"the peers got well by themselves: {words}")
    waited_s = max((p.read_until for p in every), default=now) - since
    if waited_s >= evidence.policy.rollback.first_wait_s:
        return Proof(
            CANNOT_TELL, f"not in {text.seconds(waited_s)}: {words or 'no rule tells one machine from another'}"
        )
    return None


def _better(pair: Pair) -> float:
    """The log-evidence that the peers do worse: they fail more often, or the first machines succeed more often.

    The second is the stronger one where nearly everything fails: failures alone then differ by little.
    """
    fails = _evidence(pair.peers, pair.first, BETTER_BY, ODDS_BETTER)
    succeeds = _evidence(pair.first.turned, pair.peers.turned, BETTER_BY, ODDS_BETTER)
    return _mean([fails * pair.weight, succeeds * pair.weight])


def _no_better(pair: Pair) -> float:
    """The log-evidence that the first machines have too much of their peers' trouble: more than a part of it, or that
    most of what they answer is bad.
    """
    part = _evidence(pair.first, pair.peers, 1 / AS_BAD, ODDS_NO_BETTER)
    bad, good = pair.first.bad, pair.first.n - pair.first.bad
    mostly = bad * math.log(MOSTLY / 0.5) + good * math.log((1 - MOSTLY) / 0.5)
    return _mean([part * pair.weight, mostly * pair.weight])


def _mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of what these are the logarithms of."""
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


def _is_over(rule: Rule, evidence: Evidence, since: float, now: float) -> bool:
    """Whether the rule is clear of the candidate by readings that are all younger than the experiment."""
    if now - since < span_s(rule.condition, evidence.policy) or not all(t.routable for t in evidence.view.serving):
        return False
    finding = judge(rule, evidence, now)
    return finding.state is RuleState.CLEAR and finding.value is not None


def _evidence(one: Trials, other: Trials, ratio: float, odds: Sequence[float]) -> float:
    """The log-evidence that ``one`` has more than ``ratio`` times the bad share of ``other``."""
    if not one.n or not other.n:
        return 0.0
    x = ratio * one.n / other.n
    null = x / (1 + x)

    def log_ratio(m: float) -> float:
        alternative = m * x / (1 + m * x)
        return one.bad * math.log(alternative / null) + other.bad * math.log((1 - alternative) / (1 - null))

    return _mean([log_ratio(m) for m in odds])


# -- what each kind of rule counts -------------------------------------------------------------------------------------


def _pair(rule: Rule, evidence: Evidence, first: tuple[str, ...], since: float, now: float) -> Pair | None:
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
        weight=_WEIGHTS[type(condition)],
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
        return Trials(min(n, _increase(evidence, c.bad, machines, start, now)), n)

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

    edge = min(bounds[:-1], key=lambda bound: abs(share(bound) - SLOW_SHARE), default=None)
    return None if edge is None else (Trials(n - mine[edge], n), Trials(m - theirs[edge], m))


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
    def trials(machines: Sequence[Tenure]) -> Trials:
        read = [r for r in _readings(evidence, key, machines, start, now) if r.gap is None and r.value is not None]
        return Trials(float(sum(map(is_bad, read))), float(len(read)))

    return _if_any(trials(first), trials(peers))


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
_WEIGHTS: dict[type, float] = {Ratio: 0.8, Quantile: 0.8, Failing: 0.5, Threshold: 0.2}
"""How much one event counts: errors come in clusters, and a gauge says the same thing again and again."""
