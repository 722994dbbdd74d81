"""Before one machine is restarted for it: will it see enough trouble to tell whether the old image does better?

What fails on the release now says how many bad events one machine will see while the others show the same: below ten
hardly any comparison comes to an end, above seventy-five nearly all do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollguard.core import text
from rollguard.core.executors import Machines
from rollguard.core.finding import Blame, Finding
from rollguard.core.judging import Evidence
from rollguard.core.policy import Action, Compared, Policy, Quantile, Ratio, Rule, Threshold
from rollguard.core.trials import (
    KINDS,
    Countable,
    bound_within,
    cohort_beyond,
    counted_by,
    every_s_of,
    key_of,
    keys_of,
    of_part,
)

HOPELESS, ENOUGH = 10.0, 75.0
"""So many bad events on one machine: fewer almost surely end in "cannot tell", so many decide."""
WAIT_S_MAX = 240.0
"""A wait is stretched to this at most, and to a third of the deadline."""
SCRAPES, ANSWERS = (5, 2), (12, 6)
"""How bad things are is read off so many scrapes, or answers of each machine: off the fewer where it has just begun."""
BOOT_S = 10.0
"""A machine that is found to have been healthy for ``stability`` was started about so long before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long the first machine is to be compared, and how many bad events of ``rule`` it should see meanwhile if it
    were like the others. ``rule`` is empty where no rule counts anything per machine.
    """

    wait_s: float
    expected: float = 0.0
    rule: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether the comparison would almost surely end in "cannot tell"."""
        return self.expected < HOPELESS

    @property
    def sentence(self) -> str:
        """What to expect of it, for people."""
        if not self.rule:
            return "no rule that fails tells one machine from another"
        seen = f"{self.expected:.0f}" if self.expected >= 1 else "less than one"
        wait = text.seconds(self.wait_s)
        return f"by {self.rule} one machine would show {seen} bad in {wait}, {HOPELESS:.0f} are needed"


def _is_asked(policy: Policy, findings: Sequence[Finding]) -> bool:
    asking = [f for f in findings if f.firing and f.rule.then is Action.ROLLBACK and f.blame is Blame.RELEASE]
    side_by_side = any(f.side_by_side for f in asking)
    return bool(asking) and not side_by_side and isinstance(policy.rollback.executor, Machines)


class Planner:
    """``plan_first`` at every tick, where it is asked for: made anew only when something was read or found since."""

    def __init__(self) -> None:
        self._made_of: tuple[object, ...] = ()
        self._plan: Plan | None = None

    def plan(
        self, policy: Policy, findings: tuple[Finding, ...], evidence: Callable[[], Evidence], now: float
    ) -> Plan | None:
        """The plan for a rollback that these findings ask for; None where none do, where the deploy itself has shown
        that it is the release, where other hands roll back, and where a machine that goes first has no peers.
        """
        if not _is_asked(policy, findings):
            return None
        seen = evidence()
        if sum(t.started for t in (*seen.view.cohort, *seen.view.others)) < 2:
            return None
        keys = {key for rule in policy.rules if (of := counted_by(rule, seen)) is not None for key in keys_of(of)}
        windows = seen.windows
        if any(windows.newest_at(key) > now for key in keys):  # time alone makes more count
            self._made_of = ()
            return plan_first(findings, seen, now)
        stamps = tuple(windows.stamp(key) for key in sorted(keys))
        made_of = (policy, windows, seen.view, seen.baseline, findings, stamps)
        if made_of != self._made_of:
            self._made_of, self._plan = made_of, plan_first(findings, seen, now)
        return self._plan


def plan_first(findings: Sequence[Finding], evidence: Evidence, now: float) -> Plan:
    """What a first machine would show if the rollback began now, by the rule that sees most of the trouble."""
    best = max(_rates(findings, evidence, now), default=None)
    policy = evidence.policy
    if best is None:
        return Plan(wait_s=policy.rollback.first_wait_s)
    rate, lost_s, rule = best
    wait_s = longest_s(policy) if policy.rollback.first_wait_auto else policy.rollback.first_wait_s
    if policy.rollback.first_wait_auto:
        wait_s = min(max(policy.rollback.first_wait_s, lost_s + ENOUGH / rate), wait_s)
    return Plan(wait_s=wait_s, expected=rate * max(0.0, wait_s - lost_s), rule=rule)


def longest_s(policy: Policy) -> float:
    """The longest that the first machine may be compared under this policy, in seconds."""
    back = policy.rollback
    return max(back.first_wait_s, min(WAIT_S_MAX, back.deadline_s / 3) if back.first_wait_auto else 0.0)


def _rates(findings: Sequence[Finding], evidence: Evidence, now: float) -> list[tuple[float, float, str]]:
    """Of each rule that counts trouble now: how much of it a second on one machine, how many seconds of the wait are
    lost to it, and its name.
    """
    found = []
    settings = evidence.policy
    cold_s = max(0.0, settings.comparing.settle_s - settings.rollback.stability_s - BOOT_S)
    known = {f.rule.name: f for f in findings}
    for rule in settings.rules:
        of = counted_by(rule, evidence)
        if of is None:
            continue
        every_s, finding = every_s_of(of, evidence), known.get(rule.name)
        rounds = SCRAPES if isinstance(of, Ratio | Quantile) else ANSWERS
        read_to = _read_to(of, evidence, now)  # a metrics store may lie a minute behind
        rate = max(_rate(of, rule, finding, evidence, read_to - n * every_s, now) for n in rounds)
        if rate > 0:
            found.append((rate, cold_s + every_s, rule.name))
    return found


def _read_to(of: Countable, evidence: Evidence, now: float) -> float:
    """The newest instant that readings of the cohort speak of."""
    key, windows = key_of(of), evidence.windows
    newest = (next(windows.newest_first(key, t.machine), None) for t in evidence.view.serving)
    return min(now, max((r.to for r in newest if r is not None and r.gap is None), default=now))


def _rate(of: Countable, rule: Rule, finding: Finding | None, evidence: Evidence, since: float, now: float) -> float:
    """How many bad events one machine of the release shows a second, gauges at what little they tell."""
    bound = _bound(of, rule, finding, evidence, since, now)
    if bound is None:
        return 0.0
    evidence = of_part(of, finding.part if finding is not None else None, evidence, since)
    seen = cohort_beyond(of, bound, evidence, since, now)
    return min(1.0, 2 * KINDS[type(of)].weight) * seen.total.bad / seen.machine_s if seen.machine_s else 0.0


def _bound(
    of: Countable, rule: Rule, finding: Finding | None, evidence: Evidence, since: float, now: float
) -> float | None:
    if isinstance(of, Quantile) and isinstance(rule.condition, Compared):
        return finding.bound_s if finding is not None else None
    return bound_within(of, of.limit if isinstance(of, Quantile | Threshold) else 0.0, evidence, since, now)
