"""Rules over sums of the cohort: a ratio of counters, a quantile of a histogram, against a limit of any kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from rollguard.core import ratios, text
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import Tenure, View
from rollguard.core.judging import MARGIN_S, Evidence, beyond, fresh_until, quorum, stale_after_s
from rollguard.core.policy import Quantile, Ratio, Rule
from rollguard.core.ratios import Measure

ALIKE = 0.5
"""Old machines that do at least half as badly as the new ones say that it is not the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a measure is held against.

    ``beyond`` looks at the value alone; ``sure``: it is beyond whatever the rest of the window may do; ``doubt``:
    why it is not. ``near`` and ``past`` are the words for a measure within and beyond.
    """

    value: float | None
    beyond: Callable[[Measure], bool]
    sure: Callable[[Measure], bool]
    doubt: str
    near: Callable[[Measure], str]
    past: Callable[[Measure], str]


def absolute(rule: Rule, condition: Ratio | Quantile, evidence: Evidence, now: float) -> Finding:
    """The share of bad ones, or a quantile, in the window over the cohort together, against a number."""
    shown = show(condition)(condition.limit)
    side = "above" if condition.above else "below"
    over: Callable[[Measure], bool] = lambda m: (
        m.value is not None and beyond(m.value, condition.limit, above=condition.above)
    )
    limit = Limit(
        value=condition.limit,
        beyond=over,
        sure=lambda m: over(m) and _whatever_comes(condition, m),
        doubt="the window is not full yet",
        near=lambda m: f"limit {shown}",
        past=lambda m: f"{side} {shown}",
    )
    return by_sum(rule, condition, evidence, now, limit)


def _whatever_comes(condition: Ratio | Quantile, measured: Measure) -> bool:
    """Whether a share is too high even if the rest of its window should be clean: the first seconds of a machine's
    life may be rough.
    """
    if not isinstance(condition, Ratio) or not condition.above or measured.value is None:
        return True
    return measured.value * measured.covered > condition.limit


def key_of(of: Ratio | Quantile) -> str:
    """The key whose readings say how fresh the measure is."""
    return of.total if isinstance(of, Ratio) else of.key


def name_of(of: Ratio | Quantile) -> str:
    """How people call the measure."""
    return f"{of.bad} / {of.total}" if isinstance(of, Ratio) else f"{of.key} q{of.q:g}"


def show(of: Ratio | Quantile) -> Callable[[float], str]:
    """How people read its values."""
    return text.percent if isinstance(of, Ratio) else text.seconds


def by_sum(rule: Rule, of: Ratio | Quantile, evidence: Evidence, now: float, limit: Limit) -> Finding:
    """What the measure ``of`` over the cohort says of ``rule``, whose limit this is."""
    judged = _Judged(rule, of, evidence, limit)
    view, name, measured = evidence.view, name_of(of), judged.measure(evidence.view, now, of.min_count)

    def make(
        state: RuleState,
        sentence: str,
        since: float | None = None,
        who: _Who | None = None,
        holds_until: float = -math.inf,
    ) -> Finding:
        who = who or _Who(Blame.RELEASE)
        return Finding(
            rule=rule,
            state=state,
            said=f"{who.words}{sentence}",
            value=measured.value,
            limit=limit.value,
            blame=who.blame,
            machines=who.machines,
            since=since,
            holds_until=holds_until,
        )

    signal = evidence.policy.signal(key_of(of).partition(".")[0])
    if measured.newest_at is None or now - measured.newest_at > stale_after_s(signal):
        youngest = max((t.since for t in view.cohort), default=-math.inf)
        born_at = max(evidence.alive_since, view.whole_since, youngest)
        if view.asleep or now - born_at <= stale_after_s(signal) + signal.every_s:
            return make(RuleState.CLEAR, f"{name}: nothing read yet")
        return make(RuleState.BLIND, f"no readings of {key_of(of)}: {measured.gap or 'no answer'}")
    until = min(measured.oldest_at + of.over_s - MARGIN_S, fresh_until(measured.newest_at, signal))
    if measured.value is None:
        window = f"{measured.count:.0f} of {of.min_count:.0f} in {text.seconds(of.over_s)}"
        return make(RuleState.CLEAR, f"{name}: too little traffic to judge, {window}", holds_until=until)
    words = f"{name} {show(of)(measured.value)} of {measured.count:.0f} in {text.seconds(of.over_s)}"
    if not limit.beyond(measured):
        return make(RuleState.CLEAR, f"{words}, {limit.near(measured)}", holds_until=until)
    if not limit.sure(measured):
        return make(RuleState.PENDING, f"{words}, {limit.near(measured)}: {limit.doubt}")
    since = judged.held_since(now)
    words = f"{words}, {limit.past(measured)}"
    if now - since >= of.for_s:
        first_at = measured.first_at if measured.first_at is not None else now
        who = judged.who(measured, now)
        return make(RuleState.FIRING, f"{words} since {text.clock(first_at)}", first_at, who)
    return make(RuleState.PENDING, f"{words}, for {text.seconds(now - since)} of {text.seconds(of.for_s)}", since)


@dataclass(frozen=True, slots=True)
class _Who:
    """Whose doing it is, in which words, and which machines stand out."""

    blame: Blame
    words: str = ""
    machines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Judged:
    """A rule, what it measures and its limit, of whichever machines and at whichever instant."""

    rule: Rule
    of: Ratio | Quantile
    evidence: Evidence
    limit: Limit

    def measure(self, view: View, at: float, least: float) -> Measure:
        """The measure of a view's cohort, of at least so many requests."""
        policy, windows = self.evidence.policy, self.evidence.windows
        if isinstance(self.of, Ratio):
            return ratios.ratio_at(replace(self.of, min_count=least), policy, view, windows, at)
        return ratios.quantile_at(replace(self.of, min_count=least), policy, view, windows, at)

    def held_since(self, now: float) -> float:
        """The earliest instant, back to ``for_s``, from which the measure was beyond its limit at every reading."""
        if self.of.for_s == 0:
            return now
        held, view = now, self.evidence.view
        start = now - self.of.for_s - 60.0
        for at in ratios.reading_times(key_of(self.of), view, self.evidence.windows, start, now):
            then = self.measure(view, at, self.of.min_count)
            if then.value is None or not self.limit.beyond(then):
                break
            held = at
        return held

    def who(self, measured: Measure, now: float) -> _Who:
        """The release, if it does as badly without its worst machines (fewer than the quorum) and beside the old
        ones. Without enough requests the others show nothing.
        """
        view, above = self.evidence.view, self.of.above
        if measured.of_edge:
            return _Who(Blame.RELEASE if view.whole else Blame.EVERYONE)
        old = _of(view, tuple(t for t in view.others if t.started))
        if old.cohort and self._alike(self.measure(old, now, self.of.min_count), measured):
            return _Who(Blame.EVERYONE, "old and new machines alike, not the release: ")
        alone = [(t, self.measure(_of(view, (t,)), now, 0.0)) for t in view.serving]
        counted = [(t, m) for t, m in alone if m.value is not None]
        ranked = sorted(counted, key=lambda pair: pair[1].value or 0.0, reverse=above)
        few = quorum(self.rule, view, len(ranked)) - 1
        worst, rest = ranked[:few], tuple(t for t, _ in ranked[few:])
        without = self.measure(_of(view, rest), now, 0.0) if worst else None
        if without is None or without.value is None or self.limit.beyond(without) or not self._shows(without):
            return _Who(Blame.RELEASE)
        sick = tuple(t.machine for t, m in worst if self.limit.beyond(m))
        if not sick:
            return _Who(Blame.RELEASE)
        return _Who(Blame.MACHINE, f"machine {text.listing(sick)}, not the release: ", sick)

    def _shows(self, rest: Measure) -> bool:
        """Whether so many requests would have had a bad one at the limit."""
        if isinstance(self.of, Quantile):
            tolerated = 1 - self.of.q
        else:
            tolerated = 0.0 if self.limit.value is None else self.limit.value
            tolerated = tolerated if self.of.above else 1 - tolerated
        return rest.count * tolerated >= 1.0

    def _alike(self, old: Measure, new: Measure) -> bool:
        """Whether the old machines do about as badly."""
        if old.value is None or new.value is None or not self.limit.beyond(old):
            return False
        return old.value >= ALIKE * new.value if self.of.above else old.value * ALIKE <= new.value


def _of(view: View, some: tuple[Tenure, ...]) -> View:
    """The same fleet with these machines alone in the middle."""
    rest = tuple(t for t in (*view.cohort, *view.others) if t not in some)
    return replace(view, cohort=some, others=rest)
