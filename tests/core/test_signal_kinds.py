"""Whatever counts may be counted by, whatever probes may be probed by: the judge does not mind which kind it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.judging import has_edge, scopes_of
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Failing, Policy, Quorum, Ratio, Rule, Threshold, Verify
from rollguard.core.ratios import ratio_at
from rollguard.core.signals import JourneySignal, PrometheusSignal, Query, Scope, Selector, Signal, Step
from rollguard.core.verify import verify
from tests.builders import (
    BOTH,
    GOOD,
    HEALTH,
    MACHINES,
    NOON,
    NUMBERS,
    TRAFFIC,
    USERS,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    counted,
    evidence,
    readings,
    windows,
)

STORE = PrometheusSignal(
    name="store",
    every_s=15.0,
    url="https://prometheus.example",
    timeout_s=4.0,
    counters={"errors": Selector("responses"), "requests": Selector("responses")},
    values={"p95": Query("p95")},
)
SALE = JourneySignal(
    name="sale",
    every_s=15.0,
    scopes=BOTH,
    timeout_s=10.0,
    steps=(Step(name="login", url="https://shop.example/login"), Step(name="pay", url="https://shop.example/pay")),
)
FIRING, CLEAR = RuleState.FIRING, RuleState.CLEAR


def policy(rule: Rule, *signals: Signal) -> Policy:
    return a_policy(rule, signals=(*signals, HEALTH, MACHINES))


def finding(rule: Rule, signal: Signal, *rows: list[Reading], mixed: bool = False) -> Finding:
    view = a_view(2, others=[a_tenure("m3", GOOD)] if mixed else [])
    return judge(rule, evidence(*rows, view=view, policy=policy(rule, signal)), NOON)


@pytest.mark.parametrize(
    "signal, scopes",
    [
        (HEALTH, BOTH),
        (NUMBERS, {Scope.MACHINE}),
        (TRAFFIC, {Scope.MACHINE}),
        (USERS, {Scope.EDGE}),
        (STORE, {Scope.MACHINE}),
        (replace(STORE, machine_label=None), {Scope.EDGE}),
        (SALE, BOTH),
        (MACHINES, {Scope.MACHINE}),
    ],
)
def test_of_whom_a_signal_speaks(signal: Signal, scopes: set[Scope]) -> None:
    assert scopes_of(signal) == scopes
    assert has_edge(signal) is (Scope.EDGE in scopes)


def test_what_a_metrics_store_counts_is_a_ratio_without_the_guards_own_probes() -> None:
    of = Ratio(bad="store.errors", total="store.requests", over_s=60.0, limit=0.1, above=True, min_count=50.0)
    rows = [counted("store.requests", [31] * 4), counted("store.errors", [10, 8, 8, 8])]
    ours = [readings(" ".join(["fail"] * 12), subject=subject) for subject in ("m1", EDGE)]
    got = ratio_at(of, policy(a_rule(of), STORE), a_view(), windows(*rows, *ours), NOON)
    assert (got.count, got.bad) == (100, 10)


def test_a_journey_makes_as_many_requests_as_it_came_steps_far() -> None:
    """Four journeys of two steps, the last of which ended at the first step with a 502."""
    of = Ratio(bad="store.errors", total="store.requests", over_s=60.0, limit=0.1, above=True, min_count=1.0)
    rows = [counted("store.requests", [107], every=60.0), counted("store.errors", [1], every=60.0)]
    made = [
        *readings("ok ok ok", key="sale", every=15.0, until=NOON - 15),
        Reading(key="sale", subject="m1", at=NOON, value=0.0, detail="HTTP 502 at step 1 (login)"),
        *readings("0.1 0.1 0.1 0.1", key="sale.login", every=15.0),
        *readings("0.1 0.1 0.1", key="sale.pay", every=15.0, until=NOON - 15),
    ]
    got = ratio_at(of, policy(a_rule(of), STORE, SALE), a_view(), windows(*rows, made), NOON)
    assert (got.count, got.bad) == (100, 0)


@pytest.mark.parametrize("mixed, blame", [(False, Blame.RELEASE), (True, Blame.EVERYONE)])
def test_a_value_of_the_edge_alone_is_judged_at_the_edge(mixed: bool, blame: Blame) -> None:
    """With or without a quorum that mentions it: there is nobody else to ask."""
    rule = a_rule(Threshold(key="store.p95", limit=3.0, above=True, for_s=30.0), quorum=Quorum(or_edge=False))
    users = replace(STORE, machine_label=None)
    found = finding(rule, users, readings("4 4 4", key="store.p95", subject=EDGE, every=15.0), mixed=mixed)
    assert (found.state, found.blame, found.value) == (FIRING, blame, 4.0)
    assert finding(rule, users, readings("4 4 2", key="store.p95", subject=EDGE, every=15.0)).state is CLEAR


def test_a_value_per_machine_needs_its_quorum() -> None:
    rule = a_rule(Threshold(key="store.p95", limit=3.0, above=True, for_s=0.0), quorum=Quorum(machines=1.0))
    slow, fine = (readings(f"{v} {v}", key="store.p95", subject=m, every=15.0) for m, v in (("m1", 4), ("m2", 1)))
    assert finding(rule, STORE, slow, fine).blame is Blame.MACHINE
    both = [replace(r, subject="m2") for r in slow]
    assert finding(rule, STORE, slow, both).blame is Blame.RELEASE


def test_a_journey_fails_like_a_probe_and_its_steps_are_timed() -> None:
    failing = a_rule(Failing(signal="sale", k=3))
    rows = [readings("fail fail fail", key="sale", subject=m, every=15.0) for m in ("m1", "m2", EDGE)]
    assert finding(failing, SALE, *rows).state is FIRING
    slow = a_rule(Threshold(key="sale.pay", limit=2.0, above=True, for_s=15.0))
    rows = [readings("3 3 3", key="sale.pay", subject=m, every=15.0) for m in ("m1", "m2")]
    assert finding(slow, SALE, *rows).state is FIRING


def test_after_a_rollback_a_value_of_the_edge_is_checked_at_the_edge() -> None:
    limit = Threshold(key="store.p95", limit=3.0, above=True, for_s=0.0)
    checks = replace(
        policy(a_rule(), replace(STORE, machine_label=None)), verify=Verify(settle_s=60.0, limits=(limit,))
    )
    words = {}
    for value in ("2", "4", "-"):
        rows = readings(f"{value} {value}", key="store.p95", subject=EDGE, every=15.0)
        verdict = verify(evidence(rows, policy=checks), (), NOON - 100, NOON)
        assert verdict is not None
        words[value] = verdict.result
    assert words == {"2": "restored", "4": "not better", "-": "cannot tell"}
