"""How fast a release burns an error budget, over a long window and still over a short one.

An objective of 99.9 % leaves a budget of 0.1 %. What burns it 14.4 times too fast for an hour has spent 2 % of a
month's. The long window says that it matters, the short one that it goes on. What was counted is kept in steps, so that
days cost no more than some thousand numbers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rollguard.core import ratios, text
from rollguard.core.budgets import Burn, BurnWindow
from rollguard.core.by_sum import Limit, by_sum
from rollguard.core.finding import Finding
from rollguard.core.judging import MARGIN_S, Evidence
from rollguard.core.policy import Ratio, Rule
from rollguard.core.ratios import Measure

STEPS_IN_SHORTEST, STEPS_MAX, STEP_S_MAX = 10, 5000, 60.0
"""The shorter a step, the more exactly a window ends. A ledger keeps so many of them at most, which is why the steps of
a window of more than three days are longer than that.
"""

RECENT_S_MAX = 1800.0
"""Readings themselves are kept for so long at most, to tell sick machines from a bad release."""


@dataclass(frozen=True, slots=True)
class Step:
    """What was counted up to ``end``, ``counted_s`` long on an average machine."""

    end: float
    bad: float
    total: float
    counted_s: float


def step_s(condition: Burn) -> float:
    """The length of a step, in seconds."""
    shortest = min(w.and_s for w in condition.windows)
    return max(min(shortest / STEPS_IN_SHORTEST, STEP_S_MAX), _longest_s(condition) / STEPS_MAX)


def recent_s(condition: Burn) -> float:
    """How far back this condition looks at readings themselves, in seconds."""
    return max(min(RECENT_S_MAX, max(w.and_s for w in condition.windows)), 3 * step_s(condition))


def _longest_s(condition: Burn) -> float:
    return max(w.over_s for w in condition.windows)


class Ledger:
    """What the machines of one release counted, step by step, for as long as the longest window.

    It begins anew with another release, another life of the guard, or a clock that was put back.
    """

    def __init__(self, condition: Burn) -> None:
        self.condition = condition
        self._step_s = step_s(condition)
        self._steps: deque[Step] = deque()
        self._to = -math.inf
        self._digest = ""
        self._alive_since = -math.inf

    def take(self, evidence: Evidence, now: float) -> None:
        """Count up to now. What is counted once is kept, whichever readings are forgotten and machines restarted."""
        begins = (evidence.view.candidate, evidence.alive_since)
        if begins != (self._digest, self._alive_since) or now < self._to:
            self._digest, self._alive_since = begins
            self._steps.clear()
            self._to = -math.inf
        self._to = max(self._to, now - recent_s(self.condition))
        late_s = self._late_s(evidence)
        while self._to + self._step_s + late_s <= now:
            self._to += self._step_s
            counted = self._count(evidence, self._to, self._step_s)
            if counted.total:
                self._steps.append(counted)
        while self._steps and self._steps[0].end <= now - _longest_s(self.condition):
            self._steps.popleft()

    def within(self, evidence: Evidence, over_s: float, now: float) -> Step:
        """All that was counted in the last ``over_s``."""
        steps = [s for s in self._steps if s.end > now - over_s]
        if now > self._to:
            steps.append(self._count(evidence, now, min(now - self._to, over_s)))
        return Step(now, sum(s.bad for s in steps), sum(s.total for s in steps), sum(s.counted_s for s in steps))

    def oldest(self, now: float) -> Iterator[float]:
        """When each window's oldest step leaves it."""
        for over_s in {s for w in self.condition.windows for s in (w.over_s, w.and_s)}:
            yield next((s.end for s in self._steps if s.end > now - over_s), self._to) + over_s

    def _count(self, evidence: Evidence, end: float, long_s: float) -> Step:
        found = ratios.ratio_at(_ratio(self.condition, long_s), evidence.policy, evidence.view, evidence.windows, end)
        return Step(end, found.bad, found.count, found.covered * long_s if found.count else 0.0)

    def _late_s(self, evidence: Evidence) -> float:
        """An answer to a question asked within a step may come so much later."""
        signals = (evidence.policy.signal(key.partition(".")[0]) for key in (self.condition.bad, self.condition.total))
        return max(getattr(s, "timeout_s", 0.0) for s in signals) + 1.0


class Ledgers:
    """The ledgers of a policy's rules."""

    def __init__(self) -> None:
        self._of: dict[str, Ledger] = {}

    def take(self, evidence: Evidence, now: float) -> None:
        """Count up to now, for every rule that burns."""
        burning = {r.name: r.condition for r in evidence.policy.rules if isinstance(r.condition, Burn)}
        known = {name: ledger for name, ledger in self._of.items() if burning.get(name) == ledger.condition}
        self._of = {name: known.get(name) or Ledger(condition) for name, condition in burning.items()}
        for ledger in self._of.values():
            ledger.take(evidence, now)

    def judge(self, rule: Rule, condition: Burn, evidence: Evidence, now: float) -> Finding:
        """What ``rule`` says now of all that was taken."""
        return _judged(rule, condition, self._of[rule.name], evidence, now)


def burning(rule: Rule, condition: Burn, evidence: Evidence, now: float) -> Finding:
    """What ``rule`` says by the readings alone that are still there."""
    ledger = Ledger(condition)
    ledger.take(evidence, now)
    return _judged(rule, condition, ledger, evidence, now)


@dataclass(frozen=True, slots=True)
class _Burnt:
    """What was counted in the two windows, as rates of burning; ``sure`` supposes the rest of them without a fault."""

    window: BurnWindow
    long: float
    short: float
    sure: bool

    @property
    def fast(self) -> bool:
        return min(self.long, self.short) > self.window.rate


def _judged(rule: Rule, condition: Burn, ledger: Ledger, evidence: Evidence, now: float) -> Finding:
    burnt = [_burnt(condition, w, ledger, evidence, now) for w in condition.windows]
    told = max(burnt, key=lambda b: (b.fast and b.sure, b.fast, min(b.long, b.short) / b.window.rate))
    budget = 1.0 - condition.objective
    most = told.window.rate * budget
    words = _words(told, condition)
    of = replace(_ratio(condition, min(told.window.and_s, RECENT_S_MAX)), min_count=condition.min_count)

    def beyond(measured: Measure) -> bool:
        return told.fast and measured.value is not None and measured.value > most

    limit = Limit(
        value=most,
        beyond=beyond,
        sure=lambda m: told.sure and beyond(m),
        doubt="the windows are not full yet",
        near=lambda m: words,
        past=lambda m: words,
    )
    found = by_sum(rule, of, evidence, now, limit)
    return replace(found, holds_until=min(found.holds_until, *(at - MARGIN_S for at in ledger.oldest(now))))


def _burnt(condition: Burn, window: BurnWindow, ledger: Ledger, evidence: Evidence, now: float) -> _Burnt:
    budget = 1.0 - condition.objective
    long, short = (ledger.within(evidence, s, now) for s in (window.over_s, window.and_s))
    rates = [s.bad / s.total / budget if s.total else 0.0 for s in (long, short)]
    full = [min(1.0, s.counted_s / of_s) for s, of_s in ((long, window.over_s), (short, window.and_s))]
    sure = all(rate * part > window.rate for rate, part in zip(rates, full, strict=True))
    return _Burnt(window, rates[0], rates[1], sure)


def _words(burnt: _Burnt, condition: Burn) -> str:
    over, still = text.seconds(burnt.window.over_s), text.seconds(burnt.window.and_s)
    return (
        f"the budget of {condition.objective * 100:.6g} % burns {burnt.long:.3g} times too fast over {over} and "
        f"{burnt.short:.3g} times over {still}, limit {burnt.window.rate:g}"
    )


def _ratio(condition: Burn, over_s: float) -> Ratio:
    return Ratio(bad=condition.bad, total=condition.total, over_s=over_s, limit=0.0, above=True, min_count=0.0)
