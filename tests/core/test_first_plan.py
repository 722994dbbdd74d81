"""Before a machine is restarted for a comparison: what it would show, for how long it is to be watched."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rollguard.core.executors import Flyctl
from rollguard.core.finding import Blame
from rollguard.core.first_plan import ENOUGH, HOPELESS, Plan, Planner, longest_s, plan_first
from rollguard.core.judging import Evidence
from rollguard.core.policy import Action, Compared, Policy, Quantile, Ratio, Rollback, Rule, Threshold
from tests.builders import NOON, a_finding, a_policy, a_rule, a_view, bucketed, counted, evidence, readings
from tests.core.side_by_side import SLOW, errors

ERRORS = errors(0.02)
PROBES = a_rule()
GAUGE = a_rule(Threshold(key="numbers.p95", limit=0.5, above=True, for_s=30.0), name="gauge")
COLD_S = 5.0
"""What is left of a machine's settle time when it has been healthy for ``stability``."""


def failing(bad: float, of: float = 75.0, machines: int = 4, scrapes: int = 5, **but: object) -> Evidence:
    """So many errors a machine and scrape of 15 s."""
    rows = []
    for n in range(1, machines + 1):
        for key, count in (("traffic.errors", bad), ("traffic.requests", of)):
            rows.append(counted(key, [count] * scrapes, subject=f"m{n}"))
    return evidence(*rows, view=a_view(machines), policy=policy(ERRORS, **but))


def policy(*rules: Rule, **rollback: object) -> Policy:
    return a_policy(*rules, rollback=Rollback(**rollback))  # type: ignore[arg-type]


def planned(seen: Evidence, *findings: object) -> Plan:
    return plan_first(findings, seen, NOON)  # type: ignore[arg-type]


@pytest.mark.parametrize("machines", [2, 4, 10])
def test_what_one_machine_will_see_is_its_own_rate_times_the_time_it_counts(machines: int) -> None:
    plan = planned(failing(3.0, machines=machines))
    assert plan.expected == pytest.approx(3.0 / 15.0 * (90.0 - 15.0 - COLD_S))
    assert (plan.rule, plan.wait_s, plan.hopeless) == ("errors", 90.0, False)


def test_too_few_are_hopeless_and_the_sentence_says_so() -> None:
    plan = planned(failing(1.0))
    assert plan.hopeless
    assert plan.sentence == "by errors one machine would show 5 bad in 1 m 30 s, 10 are needed"


def test_where_nothing_is_counted_per_machine_nothing_can_be_told() -> None:
    plan = planned(evidence(view=a_view(4), policy=policy(a_rule())))
    assert (plan.hopeless, plan.expected, plan.rule) == (True, 0.0, "")
    assert plan.sentence == "no rule that fails tells one machine from another"


def test_what_has_just_begun_counts_as_bad_as_it_is_now() -> None:
    rows = []
    for n in range(1, 5):
        rows.append(counted("traffic.errors", [0.0, 0.0, 0.0, 5.0, 5.0], subject=f"m{n}"))
        rows.append(counted("traffic.requests", [75.0] * 5, subject=f"m{n}"))
    plan = planned(evidence(*rows, view=a_view(4), policy=policy(ERRORS)))
    assert plan.expected == pytest.approx(5.0 / 15.0 * 70.0)


@pytest.mark.parametrize("script, expected", [("fail " * 20, 16.0), ("ok fail " * 10, 8.0), ("ok " * 20, 0.0)])
def test_probes_are_counted_where_nothing_else_is(script: str, expected: float) -> None:
    rows = [readings(script, subject=f"m{n}") for n in range(1, 5)]
    plan = planned(evidence(*rows, view=a_view(4), policy=policy(PROBES)))
    assert plan.expected == pytest.approx(expected)


def test_a_gauge_alone_never_tells_enough_within_the_usual_wait() -> None:
    rows = [readings("0.9 " * 8, every=15.0, key="numbers.p95", subject=f"m{n}") for n in range(1, 5)]
    assert planned(evidence(*rows, view=a_view(4), policy=policy(GAUGE))).hopeless


def test_the_rule_that_sees_most_decides() -> None:
    seen = failing(6.0)
    probes = [readings("fail " * 12, subject=f"m{n}") for n in range(1, 5)]
    seen.windows.add(r for row in probes for r in row)
    both = planned(replace(seen, policy=policy(PROBES, ERRORS)))
    assert both.rule == "errors"


def test_slow_requests_are_those_beyond_the_limit_or_where_a_comparison_looks() -> None:
    row = {0.1: 100.0, 0.3: 70.0, 0.6: 20.0, 1.0: 10.0}
    rows = [[bucketed(row, subject=f"m{n}", at=NOON - 15.0 * k) for k in range(5)] for n in range(1, 5)]
    compared = replace(SLOW, condition=Compared(of=SLOW.condition, factor=1.5))  # type: ignore[arg-type]
    seen = evidence(*rows, view=a_view(4), policy=policy(SLOW))
    assert planned(seen).expected == pytest.approx(10.0 / 15.0 * 70.0)
    against = replace(seen, policy=policy(compared))
    assert planned(against, a_finding(compared, bound_s=0.3)).expected == pytest.approx(30.0 / 15.0 * 70.0)
    assert planned(against).hopeless, "nobody knows where it looks"


@pytest.mark.parametrize("bad, wait_s", [(100.0, 90.0), (7.5, 20.0 + ENOUGH / 0.5), (1.0, 240.0)])
def test_auto_stretches_the_wait_until_it_is_enough_within_bounds(bad: float, wait_s: float) -> None:
    plan = planned(failing(bad, of=200.0, first_wait_auto=True))
    assert plan.wait_s == pytest.approx(wait_s)
    assert plan.expected == pytest.approx(bad / 15.0 * (wait_s - 15.0 - COLD_S))
    assert plan.hopeless is (plan.expected < HOPELESS)


def test_a_stretched_wait_never_eats_the_deadline() -> None:
    assert longest_s(policy(ERRORS, first_wait_auto=True)) == 240.0
    assert longest_s(policy(ERRORS, first_wait_auto=True, deadline_s=300.0)) == 100.0
    assert longest_s(policy(ERRORS)) == 90.0


def test_nothing_is_planned_that_nobody_asks_for() -> None:
    def never() -> Evidence:
        raise AssertionError("nobody asked")

    page = a_rule(then=Action.PAGE)
    for findings, rules in (
        ((), policy(ERRORS)),
        ((a_finding(page),), policy(page)),
        ((a_finding(blame=Blame.MACHINE),), policy(ERRORS)),
        ((a_finding(), a_finding(side_by_side=True)), policy(ERRORS)),
        ((a_finding(),), policy(ERRORS, executor=Flyctl())),
    ):
        assert Planner().plan(rules, findings, never, NOON) is None
    assert Planner().plan(policy(ERRORS), (a_finding(),), lambda: failing(3.0), NOON) is not None


def test_a_machine_that_has_no_peers_goes_back_without_a_plan() -> None:
    assert Planner().plan(policy(ERRORS), (a_finding(),), lambda: failing(3.0, machines=1), NOON) is None
    assert Planner().plan(policy(ERRORS), (a_finding(),), lambda: failing(3.0, machines=2), NOON) is not None


def test_a_plan_stands_until_something_is_read_or_found() -> None:
    seen, planner = failing(3.0), Planner()
    rules, found = seen.policy, (a_finding(),)
    plan = planner.plan(rules, found, lambda: seen, NOON)
    assert planner.plan(rules, (a_finding(),), lambda: replace(seen, view=replace(seen.view)), NOON + 1) is plan
    assert planner.plan(rules, (a_finding(said="otherwise"),), lambda: seen, NOON + 1) is not plan
    plan = planner.plan(rules, found, lambda: seen, NOON + 2)
    for key, count in (("traffic.requests", 75.0), ("traffic.errors", 30.0)):
        seen.windows.add(counted(key, [count], until=NOON + 15))
    worse = planner.plan(rules, found, lambda: seen, NOON + 15)
    assert worse == plan_first(found, seen, NOON + 15)
    assert worse != plan


def test_what_was_read_ahead_of_the_clock_is_planned_with_when_it_is_due() -> None:
    seen, planner = failing(3.0), Planner()
    for key, count in (("traffic.requests", 75.0), ("traffic.errors", 30.0)):
        seen.windows.add(counted(key, [count], until=NOON + 15))
    early = planner.plan(seen.policy, (a_finding(),), lambda: seen, NOON)
    assert early == plan_first((a_finding(),), seen, NOON)
    assert planner.plan(seen.policy, (a_finding(),), lambda: seen, NOON + 15) != early


def test_impossible_numbers_plan_nothing() -> None:
    none = Quantile(key="traffic.latency", q=0.95, over_s=60.0, limit=0.0001, above=True, min_count=1.0)
    good = Ratio(bad="traffic.errors", total="traffic.requests", over_s=60.0, limit=0.9, above=False, min_count=1.0)
    assert planned(evidence(view=a_view(4), policy=policy(a_rule(none, name="none")))).hopeless
    seen = replace(failing(75.0), policy=policy(a_rule(good, name="good")))
    assert planned(seen).expected == 0.0, "all of them are good ones"
    assert math.isfinite(planned(failing(0.0, of=0.0)).expected)
