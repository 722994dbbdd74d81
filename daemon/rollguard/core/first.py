"""The first machine on the old image beside its peers on the new one: does it do better, under the same users?

Each rule that asked for the rollback gives trials: so many bad out of so many, on the first machines and on their
peers, over the same seconds. Nothing is assumed about how bad things are; only the two shares are compared, by the
binomial likelihood ratio of a pair of counts given their sum (a mixture over alternatives, so that it may be looked
at after every reading): ``E >= 1/alpha`` comes up in at most ``alpha`` of the cases in which the null is true,
however often one looks (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from rollguard.core import text
from rollguard.core.baseline import measure_of
from rollguard.core.budgets import Burn, ByLabel
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.pairs import pair_factors
from rollguard.core.finding import Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.judging import Evidence
from rollguard.core.parting import named
from rollguard.core.policy import Compared, Failing, Quantile, Ratio, Rule, Threshold
from rollguard.core.proof import BETTER, CANNOT_TELL, NO_BETTER, RECOVERED, Proof
from rollguard.core.spans import span_s
from rollguard.core.trials import (
    KINDS,
    Countable,
    Kind,
    Pair,
    Trials,
    bound_within,
    cohort_beyond,
    counted_by,
    of_part,
    pair_of,
)

ALPHA = 0.01
"""How often a conclusion may be wrong, as long as machines differ by less than the margins below."""
OF_OTHERS = 0.1
"""The part of that which is for what rules show that did not ask for the rollback, where some that did can be shown."""
BETTER_BY, BETTER_BY_MIN, BEYOND_ENVELOPE = 1.5, 1.3, 1.1
"""The peers must do worse by more than this; less may be a difference between machines. Where it was learnt how far
these wander apart, by a tenth more than that.
"""
AS_BAD, AS_BAD_MIN, AS_BAD_MAX = 2.0, 1.5, 3.0
"""The old image is "no better" when it is shown to have more than this part (1/2) of its peers' trouble. Where it is
known how bad things are, half-way between that and no trouble at all.
"""
NO_BETTER_SIZE = 3.0
"""Bursts have a wider gulf to bridge before an old image that mends things looks as bad as its peers."""
MOSTLY = 0.9
FAILURES_TO_ONE = 3
"""So many parts of the stake are on more failures, one on fewer successes."""
ODDS_BETTER = (1.6, 2.5, 5.0, 15.0, 60.0)
ODDS_NO_BETTER = (1.5, 2.0, 3.0)
UNDER = (0.6, 0.35, 0.15, 0.05)
"""Parts of its limit that a rule which is over may have left."""
FAILS = 0.25
"""Who fails a quarter of the probes has not recovered."""
FALLEN_TO = 1 / 3
"""A comparison is over where the share has fallen to this part of what it was, or to what is tolerated."""
BEFORE_S = 75.0
"""How bad things were is read off so long before the experiment."""
BEGINNINGS = (0.0, 0.25, 0.5, 0.75)
"""Parts of the wait after which all may have been over: the evidence is counted from each of them."""

LevelsOf = Callable[[Rule], Levels | None]
"""What was learnt of the machines before the release came, for what a rule counts; None: nothing."""


def unknown_levels(rule: Rule) -> Levels | None:
    """Where nothing was learnt of the machines."""
    return None


def judge_first(
    acting: Sequence[str],
    evidence: Evidence,
    first: tuple[str, ...],
    since: float,
    now: float,
    *,
    wait_s: float | None = None,
    levels_of: LevelsOf = unknown_levels,
) -> Proof | None:
    """What the machines ``first`` show beside the cohort of ``evidence``, since that instant; None: not yet clear.

    ``acting`` are the names of the rules that asked for the rollback. Where one of those sees only the edge, which
    tells no machine from another, the policy's other rules may show that the old image does better; that it does no
    better, or that all is over, only the acting ones can show. ``wait_s`` (None: the policy's) is how much of readings
    is enough.
    """
    wait_s = evidence.policy.rollback.first_wait_s if wait_s is None else wait_s
    seen = [
        pair_of(rule, evidence, first, since, now, _worst_part(rule, evidence, now)) for rule in evidence.policy.rules
    ]
    every = [pair for pair in seen if pair is not None]
    mine = [pair for pair in every if pair.rule.name in acting]
    of_others = ALPHA * (OF_OTHERS if mine else 1.0)
    need = {
        True: math.log(len(mine) / (ALPHA - of_others)) if mine else math.inf,
        False: math.log(max(1, len(every) - len(mine)) / of_others),
    }
    apart = {p.rule.name: _apart(levels_of(p.rule), first, evidence) for p in every}
    better = [p for p in every if _better(p, *apart[p.rule.name]) >= need[p in mine]]
    alike = [p for p in mine if _no_better(p, apart[p.rule.name][1], evidence) >= need[True]]
    words = "; ".join(p.words for p in better or mine)
    if better and alike:
        return Proof(CANNOT_TELL, f"the rules disagree: {words}")
    if better:
        return Proof(BETTER, words)
    if alike:
        return Proof(NO_BETTER, words)
    if mine and all(_is_over(p, evidence, since, now, wait_s) for p in mine):
        return Proof(RECOVERED, f"the peers got well by themselves: {words}")
    waited_s = max((p.read_until for p in mine or every), default=now) - since  # what they read may lie a minute behind
    if waited_s >= wait_s:
        return Proof(
            CANNOT_TELL, f"not in {text.seconds(waited_s)}: {words or 'no rule tells one machine from another'}"
        )
    return None


def _worst_part(rule: Rule, evidence: Evidence, now: float) -> str | None:
    """The value of the label that a rule is split by that does worst now; None: it is not split."""
    of = counted_by(rule, evidence)
    split = isinstance(of, Ratio) and isinstance(of.by, ByLabel)
    return judge(rule, evidence, now).part if split else None


def _apart(levels: Levels | None, first: Sequence[str], evidence: Evidence) -> tuple[float, float]:
    """By how much the peers must do worse, and how many times worse than the first ones they always were."""
    peers = [t.machine for t in evidence.view.serving]
    if levels is None or not levels.ratios or not peers or not first:
        return BETTER_BY, 1.0
    lasting = fmean(map(levels.ratio, peers)) / fmean(map(levels.ratio, first))
    return max(BETTER_BY_MIN, BEYOND_ENVELOPE * levels.envelope(len(first), len(peers))), lasting


def _better(pair: Pair, margin: float, lasting: float) -> float:
    """The log-evidence that the peers do worse: they fail more often, or the first machines succeed more often.

    The second is the stronger one where nearly everything fails: failures alone then differ by little.
    """
    fail = [(s.peers, s.first) for s in pair.strata]
    succeed = [(s.first.turned, s.peers.turned) for s in pair.strata]
    kind = pair.kind
    by_failures = _evidence(fail, margin * lasting, ODDS_BETTER, kind)
    return _mean([*[by_failures] * FAILURES_TO_ONE, _evidence(succeed, margin, ODDS_BETTER, kind)])


def _no_better(pair: Pair, lasting: float, evidence: Evidence) -> float:
    """The log-evidence that the first machines have too much of their peers' trouble: more than a part of it, or that
    most of what they answer is bad.
    """
    kind = replace(pair.kind, slack=0.0, most=math.inf, size=NO_BETTER_SIZE * pair.kind.size)
    part = 1 / (_as_bad(pair, evidence) * lasting)
    share = _evidence([(s.first, s.peers) for s in pair.strata], part, ODDS_NO_BETTER, kind)
    mostly = sum(_one_sided(s.first, 0.5, MOSTLY, kind) for s in pair.strata)
    return _mean([share, mostly])


def _as_bad(pair: Pair, evidence: Evidence) -> float:
    """Which part of its peers' trouble is too much: the geometric mean of all of it and of what is usual."""
    if isinstance(pair.of, Failing):
        return AS_BAD_MAX  # a healthy machine fails hardly any probe
    usual = _usual(pair, evidence)
    if usual is None:
        return AS_BAD
    share = pair.peers.bad / pair.peers.n
    return min(max(math.sqrt(share / usual), AS_BAD_MIN), AS_BAD_MAX)


def _usual(pair: Pair, evidence: Evidence) -> float | None:
    """The share of bad ones that the older release had; None: it is not known."""
    if evidence.baseline is None or not isinstance(pair.of, Ratio | Quantile) or not pair.of.above:
        return None
    measure = measure_of(pair.of, evidence.policy)
    if pair.part is not None and isinstance(pair.of.by, ByLabel):
        measure = named(measure, pair.of.by, pair.part)
    if isinstance(pair.of, Ratio):
        known = [(s.bad, s.total) for s in evidence.baseline.shares(measure)]
    else:
        rows = [(dict(t.buckets), t.total) for t in evidence.baseline.times(measure)]
        known = [(total - row[pair.bound], total) for row, total in rows if pair.bound in row]
    bad, total = sum(bad for bad, _ in known), sum(total for _, total in known)
    return (bad + 1) / total if total > bad else None


def _mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of what these are the logarithms of."""
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


# -- over by itself ----------------------------------------------------------------------------------------------------


def _is_over(pair: Pair, evidence: Evidence, since: float, now: float, wait_s: float) -> bool:
    """Whether the rule is clear of the candidate by readings that are all younger than the experiment, and shown to be
    so: a share that swings around its limit has not recovered.
    """
    rule = pair.rule
    if not all(t.routable for t in evidence.view.serving):
        return False
    compares = isinstance(rule.condition, Compared)
    if not compares and now - since < span_s(rule.condition, evidence.policy):
        return False
    finding = judge(rule, evidence, now)
    # A comparison remembers what was counted against the release: it is over by what is counted now.
    if not compares and (finding.state is not RuleState.CLEAR or finding.value is None):
        return False
    evidence = of_part(pair.of, pair.part, evidence, since - BEFORE_S)
    most = _most(finding, pair.of, evidence, since, now)
    if most is None or not 0 < most[1] < 1:
        return False
    bound, share = most
    need, kind = math.log(len(BEGINNINGS) / ALPHA), KINDS[type(pair.of)]
    begun = [since + part * wait_s for part in BEGINNINGS]
    counted = [cohort_beyond(pair.of, bound, evidence, at, now).strata for at in begun if at < now]
    return any(
        _mean([sum(_one_sided(t, share, u * share, kind) for t in some) for u in UNDER]) >= need for some in counted
    )


def _most(finding: Finding, of: Countable, evidence: Evidence, since: float, now: float) -> tuple[float, float] | None:
    """The bound that counts, and the share of bad ones from which on it is not over; None: nobody can say."""
    if isinstance(finding.rule.condition, Compared) and not isinstance(of, Threshold):
        bound = finding.bound_s if isinstance(of, Quantile) else 0.0
        if finding.limit is None or bound is None:
            return None
        before = cohort_beyond(of, bound, evidence, since - BEFORE_S, since).total
        return bound, max(finding.limit, FALLEN_TO * before.bad / before.n if before.n else 0.0)
    limit = finding.limit if finding.limit is not None else math.inf
    match of:
        case Ratio(above=above):
            limit = of.limit if isinstance(finding.rule.condition, Burn) else limit
            return 0.0, limit if above else 1 - limit
        case Quantile(q=q):
            within = bound_within(of, limit, evidence, since, now)
            return None if within is None else (within, 1 - q)
        case Failing() | Threshold():
            return limit, FAILS


def _one_sided(trials: Trials, null: float, other: float, kind: Kind) -> float:
    """The log-evidence of one interval's counts for a share of ``other`` rather than of ``null``."""
    found = trials.bad * math.log(other / null) + trials.turned.bad * math.log((1 - other) / (1 - null))
    return kind.weight * found / (1 + trials.n * null * (1 - null) / kind.size)


def _evidence(strata: Sequence[tuple[Trials, Trials]], ratio: float, odds: Sequence[float], kind: Kind) -> float:
    """The log-evidence that the one side has more than ``ratio`` times the bad share of the other.

    Only what both sides counted in the same interval is compared: how bad that interval was does not matter.
    """
    every = [
        pair_factors(
            k1=one.bad,
            n1=one.n,
            r1=one.n,
            k0=other.bad,
            n0=other.n,
            odds=odds,
            ratio=ratio,
            more=kind.slack,
            size=kind.size,
        )
        for one, other in strata
    ]
    return _mean([kind.weight * sum(min(f, kind.most) for f in column) for column in zip(*every, strict=True)])
