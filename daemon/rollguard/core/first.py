"""The first machine on the old image beside its peers on the new one: does it do better, under the same users?

Each rule that asked for the rollback gives trials: so many bad out of so many, on the first machines and on their
peers, over the same seconds. Nothing is assumed about how bad things are; only the two shares are compared, by the
binomial likelihood ratio of a pair of counts given their sum (a mixture over alternatives, so that it may be looked
at after every reading): ``E >= 1/alpha`` comes up in at most ``alpha`` of the cases in which the null is true,
however often one looks (Ville's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rollguard.core import text
from rollguard.core.finding import RuleState
from rollguard.core.judge import judge
from rollguard.core.judging import Evidence
from rollguard.core.policy import Compared, Rule
from rollguard.core.proof import BETTER, CANNOT_TELL, NO_BETTER, RECOVERED, Proof
from rollguard.core.spans import span_s
from rollguard.core.trials import WEIGHTS, Pair, Trials, beyond_limit, pair_of

ALPHA = 0.01
"""How often a conclusion may be wrong, as long as machines differ by less than the margins below."""
BETTER_BY = 1.5
"""The peers must do worse by more than this; less may be a difference between machines."""
AS_BAD = 2.0
"""The old image is "no better" when it is shown to have more than this part (1/2) of its peers' trouble."""
MOSTLY = 0.9
ODDS_BETTER = (1.6, 2.5, 5.0, 15.0, 60.0)
ODDS_NO_BETTER = (1.5, 2.0, 3.0)
UNDER = (0.6, 0.35, 0.15, 0.05)
"""Parts of its limit that a rule which is over may have left."""
BEGINNINGS = (0.0, 0.25, 0.5, 0.75)
"""Parts of ``first_wait_s`` after which all may have been over: the evidence is counted from each of them."""


def judge_first(
    acting: Sequence[str], evidence: Evidence, first: tuple[str, ...], since: float, now: float
) -> Proof | None:
    """What the machines ``first`` show beside the cohort of ``evidence``, since that instant; None: not yet clear.

    ``acting`` are the names of the rules that asked for the rollback. Where one of those sees only the edge, which
    tells no machine from another, the policy's other rules may show that the old image does better; that it does no
    better, or that all is over, only the acting ones can show.
    """
    every = [pair for rule in evidence.policy.rules if (pair := pair_of(rule, evidence, first, since, now)) is not None]
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
    """Whether the rule is clear of the candidate by readings that are all younger than the experiment, and shown to be
    so: a share that swings around its limit has not recovered.
    """
    if now - since < span_s(rule.condition, evidence.policy) or not all(t.routable for t in evidence.view.serving):
        return False
    finding = judge(rule, evidence, now)
    if finding.state is not RuleState.CLEAR or finding.value is None:
        return False
    wait_s, need = evidence.policy.rollback.first_wait_s, math.log(len(BEGINNINGS) / ALPHA)
    return any(_under(rule, finding.limit, evidence, since + part * wait_s, now) >= need for part in BEGINNINGS)


def _under(rule: Rule, limit: float | None, evidence: Evidence, since: float, now: float) -> float:
    """The log-evidence that the cohort's share of bad ones is lower than the one that breaks the limit."""
    condition = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
    found = beyond_limit(rule, limit if limit is not None else math.inf, evidence, since, now)
    if found is None or not found[0].n or not 0 < found[1] < 1:
        return 0.0
    (bad, good), share = (found[0].bad, found[0].turned.bad), found[1]
    weight = WEIGHTS[type(condition)]
    return _mean([weight * (bad * math.log(u) + good * math.log((1 - u * share) / (1 - share))) for u in UNDER])


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
