"""Judging again and again: only what may have changed is judged anew, and what is said is the same as if all were."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pytest

from rollguard.core import confirm
from rollguard.core import events as ev
from rollguard.core import judge as judging
from rollguard.core.baseline import Baseline, Block, Share, Times, measure_of
from rollguard.core.budgets import ByLabel, ByRegion
from rollguard.core.finding import RuleState, Trigger
from rollguard.core.fleet import View
from rollguard.core.judge import Judge, judge_all
from rollguard.core.judging import Evidence
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Comparing, Condition, Crashed, Failing, Policy, Quantile, Ratio, Reported, Threshold
from rollguard.core.window import Windows
from tests.builders import (
    BAD,
    GOOD,
    HEALTH,
    NOON,
    NUMBERS,
    TRAFFIC,
    USERS,
    a_crash,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    bucketed,
    counted,
    evidence,
    readings,
    windows,
)

ERRORS = Ratio(bad="traffic.errors", total="traffic.requests", over_s=45.0, limit=0.05, above=True, min_count=20.0)
LATENCY = Quantile(key="traffic.latency", q=0.95, over_s=60.0, limit=1.0, above=True, min_count=20.0)
CONDITIONS: tuple[Condition, ...] = (
    Failing(signal="health", k=3),
    Failing(signal="health", k=2, of=5),
    Threshold(key="numbers.p95", limit=3.0, above=True, for_s=30.0),
    ERRORS,
    replace(ERRORS, over_s=90.0, for_s=20.0),
    replace(ERRORS, bad="edge.errors", total="edge.requests"),
    LATENCY,
    Crashed(signal="machines", k=2, within_s=120.0),
    Reported(kinds=("bug",)),
    replace(ERRORS, by=ByRegion()),
    replace(ERRORS, by=ByLabel("route")),
)
POLICY = a_policy(
    *(a_rule(condition, name=f"{number} {type(condition).__name__}") for number, condition in enumerate(CONDITIONS)),
    comparing=Comparing(settle_s=20.0),
)


class Town:
    """An app on which anything happens, in seconds and by dice; and what a guard would know of it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = NOON
        self.windows = Windows(horizon_s=200.0)
        self.view: View = a_view(3)
        self.trouble, self.silent = 0.0, ""
        self.reports: tuple[ev.Reported, ...] = ()
        self.baseline: Baseline | None = None
        self.alive_since = NOON - 10
        self.due = {signal.name: NOON + self.dice.uniform(0, signal.every_s) for signal in POLICY.signals[:4]}

    def evidence(self) -> Evidence:
        view = replace(self.view)  # as a guard makes one at every tick
        why = "" if self.baseline else "none was proven"
        return Evidence(
            policy=POLICY,
            view=view,
            windows=self.windows,
            reports=self.reports,
            alive_since=self.alive_since,
            baseline=self.baseline,
            no_baseline=why,
        )

    def live(self) -> None:
        """Some time passes; what is due is read, unless the source is silent; and rarely something else happens."""
        self.now += self.dice.choice((0.2, 1.0, 1.0, 1.0, 4.0, 40.0 if self.chance(0.05) else 1.0))
        for name, due in self.due.items():
            if self.now >= due:
                self.due[name] = self.now + {"health": 5.0}.get(name, 15.0)
                if name != self.silent and not self.chance(0.05):
                    self.windows.add(list(self.round(name)))
        self.windows.forget(self.now)
        for happens, often in ((self.turn, 0.03), (self.ship, 0.02), (self.lose, 0.01), (self.say, 0.01)):
            if self.chance(often):
                happens()

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def round(self, name: str) -> Iterator[Reading]:
        machines = [t.machine for t in (*self.view.cohort, *self.view.others)]
        for subject in {HEALTH.name: [*machines, EDGE], USERS.name: [EDGE]}.get(name, machines):
            if self.chance(0.02):
                continue
            late_s = self.dice.choice((0.0, 0.0, 0.0, self.dice.uniform(-1, 8)))  # a clock may run ahead, too
            yield from self.read(name, subject, self.now - late_s)

    def read(self, name: str, subject: str, at: float) -> Iterator[Reading]:
        fails, gap = self.chance(self.trouble), GapKind.NO_ANSWER if self.chance(0.05) else None
        if gap is None and self.chance(0.03):
            gap = GapKind.NO_TRAFFIC
        if name == HEALTH.name:
            word = self.dice.choice(("HTTP 503", "timeout after 2s")) if fails else "HTTP 200"
            yield Reading(key=name, subject=subject, at=at, value=float(not fails), detail=word)
        elif name == NUMBERS.name:
            value = None if gap else 5.0 if fails else 0.2
            yield Reading(key="numbers.p95", subject=subject, at=at, value=value, gap=gap)
        else:
            count = float(self.dice.randrange(0, 60))
            bad = float(round(count * self.dice.random() * self.trouble))
            for key, value in (("requests", count), ("errors", bad)):
                counted = None if gap else value
                parts = () if counted is None else (("/", counted / 4), ("/cart", counted - counted / 4))
                yield Reading(
                    key=f"{name}.{key}",
                    subject=subject,
                    at=at,
                    value=counted,
                    gap=gap,
                    since=at - 15,
                    until=at - 2,
                    parts=parts,
                )
            if name == TRAFFIC.name:
                yield bucketed({0.1: count - bad, 0.2: 0, 0.5: 0, 2.0: bad}, subject=subject, at=at)

    def turn(self) -> None:
        """Things go well, badly, or so-so; and a source may be silent."""
        self.trouble = self.dice.choice((0.0, 0.0, 0.3, 1.0))
        self.silent = self.dice.choice(("", "", *self.due))

    def ship(self) -> None:
        """Another fleet: a machine starts anew, crashes, sleeps, or runs the older release."""
        fleet = list(self.view.cohort) + list(self.view.others)
        place = self.dice.randrange(len(fleet))
        digest = self.dice.choice((BAD, BAD, GOOD))
        exits = (a_crash(self.now - 50), a_crash(self.now - 1)) if self.chance(0.3) else ()
        fleet[place] = a_tenure(
            fleet[place].machine,
            digest,
            since=self.now,
            started=self.chance(0.8),
            exits=exits,
            digest_since=NOON,
            region=self.dice.choice(("fra", "iad", "")),
        )
        others = tuple(t for t in fleet if t.digest != BAD)
        self.view = a_view(
            0,
            cohort=tuple(t for t in fleet if t.digest == BAD),
            others=others,
            whole=not any(t.started for t in others),
            whole_since=self.now,
        )

    def lose(self) -> None:
        """The guard itself was cut off, or its clock jumped."""
        if self.chance(0.8):
            self.windows.doubt(self.now - 20)
        else:
            self.windows.clear()
            self.alive_since = self.now

    def say(self) -> None:
        """Somebody reports a bug; a baseline is learnt, or forgotten."""
        report = ev.Reported(at=self.now, digest=BAD, kind="bug", version=42, by="ann", reason="empty cart")
        self.reports = (*self.reports, report)[-self.dice.randrange(3) :] if self.chance(0.5) else ()
        self.baseline = None if self.baseline else _baseline()


def _baseline() -> Baseline:
    times = Times(((0.1, 4000.0), (0.2, 4900.0), (0.5, 4990.0), (2.0, 5000.0), (math.inf, 5000.0)))
    block = Block(GOOD, 0, 300, {measure_of(ERRORS, POLICY): Share(50.0, 5000.0)}, {measure_of(LATENCY, POLICY): times})
    return Baseline(GOOD, (block,))


@pytest.mark.parametrize("seed", range(10))
def test_what_is_said_is_the_same_as_if_every_rule_were_judged_every_time(seed: int) -> None:
    town, judge = Town(seed), Judge()
    for _ in range(400):
        town.live()
        found = town.evidence()
        assert judge.judge_all(found, town.now) == judge_all(found, town.now)


def test_every_rule_comes_to_fire_and_is_clear_again_in_such_towns() -> None:
    """Otherwise the test above would say little."""
    seen: set[tuple[str, RuleState]] = set()
    for seed in range(3):
        town = Town(seed)
        for _ in range(400):
            town.live()
            seen |= {(finding.rule.name, finding.state) for finding in judge_all(town.evidence(), town.now)}
    assert {name for name, state in seen if state is RuleState.FIRING} == {rule.name for rule in POLICY.rules}
    assert {name for name, state in seen if state is RuleState.CLEAR} == {rule.name for rule in POLICY.rules}


def a_quiet_minute(judge: Judge, *rows: list[Reading], policy: Policy) -> int:
    """How many rules were judged in a minute of ticks in which nothing more was read."""
    found = evidence(*rows, policy=policy)
    with mock.patch.object(judging, "judge", side_effect=judging.judge) as judged:
        for second in range(60):
            judge.judge_all(replace(found, view=replace(found.view)), NOON + second / 10)
    return judged.call_count


def test_where_nothing_is_read_nothing_is_judged_anew() -> None:
    policy = a_policy(a_rule(), a_rule(CONDITIONS[2]), a_rule(ERRORS), a_rule(CONDITIONS[7]))
    rows = (
        [r for subject in ("m1", EDGE) for r in readings("ok ok", subject=subject)],
        readings("0.2 0.3", key="numbers.p95"),
        counted("traffic.requests", [30, 30]),
        counted("traffic.errors", [0, 0]),
    )
    assert a_quiet_minute(Judge(), *rows, policy=policy) == len(policy.rules)


def test_probes_that_fail_are_judged_once_for_what_was_read_of_them() -> None:
    assert a_quiet_minute(Judge(), readings("fail fail fail"), policy=a_policy()) == 1


def test_an_app_that_is_down_is_judged_every_time_for_it_may_be_another_release_at_the_next_look() -> None:
    """See ``confirm.down``: nothing is read between the two, but the platform was looked at."""
    rows = [readings("ok fail", subject=subject) for subject in ("m1", EDGE)]
    again = [
        readings("fail fail fail fail fail", every=1.0, key=confirm.again("health"), subject=subject)
        for subject in ("m1", EDGE)
    ]
    found, judge = evidence(*rows, *again, policy=a_policy()), Judge()
    unseen = judge.judge_all(replace(found, looked_at=NOON - 60), NOON)
    seen = judge.judge_all(replace(found, looked_at=NOON), NOON + 0.1)
    assert unseen[0].trigger is not Trigger.HARD_DOWN
    assert seen[0].trigger is Trigger.HARD_DOWN


def test_a_share_that_is_too_high_is_judged_every_time_since_its_words_have_times_in_them() -> None:
    rows = counted("traffic.requests", [100, 100]), counted("traffic.errors", [50, 50])
    assert a_quiet_minute(Judge(), *rows, policy=a_policy(a_rule(ERRORS))) == 60


def test_probes_between_two_pages_of_a_counter_do_not_have_it_judged_anew() -> None:
    """They are taken out of what is counted, but only once it was."""
    policy, store = a_policy(a_rule(ERRORS)), windows(counted("traffic.requests", [30]), counted("traffic.errors", [0]))
    found, judge = replace(evidence(policy=policy), windows=store), Judge()
    with mock.patch.object(judging, "judge", side_effect=judging.judge) as judged:
        for second in range(1, 11):
            store.add(readings("ok", until=NOON + second))
            judge.judge_all(found, NOON + second)
        assert judged.call_count == 1
        store.add(readings("fail", until=NOON - 3))  # a late answer, which the page has counted
        judge.judge_all(found, NOON + 11)
    assert judged.call_count == 2
