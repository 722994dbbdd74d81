"""The first machine beside its peers: what is concluded, what is not, and who must prove anything at all."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from rollguard.core.budgets import ByLabel
from rollguard.core.finding import Finding, Trigger
from rollguard.core.first import judge_first
from rollguard.core.fleet import View
from rollguard.core.judging import Evidence
from rollguard.core.lifecycle import Update
from rollguard.core.model import Reading, Snapshot
from rollguard.core.policy import Compared, Ratio, Rule
from rollguard.core.proof import BETTER, CANNOT_TELL, NO_BETTER, RECOVERED, must_prove, waits_for_proof
from rollguard.core.window import Windows
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    a_finding,
    a_goal,
    a_machine,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    counted,
    evidence,
)

SCRAPE_S = 15.0
ERRORS = Ratio(bad="traffic.errors", total="traffic.requests", over_s=30.0, limit=0.1, above=True, min_count=50)
GOOD_SHARE = replace(ERRORS, bad="traffic.good", limit=0.9, above=False)
RUNS = 40


def tried(
    seed: int,
    rule: Rule,
    *,
    first: float,
    peers: float,
    rps: float = 10.0,
    over_at: float = math.inf,
    beside: float = 0.0,
) -> str:
    """What is concluded where these shares of the requests fail; after ``over_at`` seconds hardly any does. ``beside``
    what is so counted, on the route /small, so many times as many requests go to the route /, where none fails.
    """
    chance, windows = random.Random(seed), Windows(3600.0)
    policy = a_policy(rule)
    machines = ["m1", "m2", "m3", "m4"]

    view = View(
        candidate=BAD,
        cohort=tuple(a_tenure(m, BAD, since=NOON - 600.0) for m in machines[1:]),
        others=(a_tenure("m1", GOOD, since=NOON - 25.0),),
        whole=False,
    )
    evidence = Evidence(policy=policy, view=view, windows=windows, alive_since=NOON - 3600.0)
    for scrape in range(-4, 20):
        at = NOON + scrape * SCRAPE_S + 3.0
        for machine in machines:
            share = 0.002 if at > NOON + over_at else first if machine == "m1" else peers
            n = round(rps * SCRAPE_S * chance.uniform(0.8, 1.2))
            bad = sum(chance.random() < share for _ in range(n))
            well = round(n * beside)
            for name, value, others in (("requests", n, well), ("errors", bad, 0), ("good", n - bad, well)):
                parts = (("/", float(others)), ("/small", float(value)))
                whole = Reading(
                    key=f"traffic.{name}",
                    subject=machine,
                    at=at,
                    since=at - SCRAPE_S,
                    value=float(value + others),
                    parts=parts,
                )
                windows.add([whole])
        if at < NOON:
            continue
        proof = judge_first((rule.name,), evidence, ("m1",), NOON, at + 0.5)
        if proof is not None:
            return proof.result
    raise AssertionError("it never ended")


def results(rule: Rule, **world: Any) -> Counter[str]:
    return Counter(tried(seed, rule, **world) for seed in range(RUNS))


@pytest.mark.parametrize("condition", [ERRORS, GOOD_SHARE], ids=["bad ones above", "good ones below"])
@pytest.mark.parametrize(
    "first, peers, expected", [(0.002, 0.3, BETTER), (0.3, 0.3, NO_BETTER), (0.95, 0.95, NO_BETTER)]
)
def test_the_old_image_is_better_where_it_is_and_no_better_where_all_fail(
    condition: Ratio, first: float, peers: float, expected: str
) -> None:
    found = results(a_rule(condition), first=first, peers=peers)
    assert found[expected] >= 0.8 * RUNS, found
    assert found[expected] + found[CANNOT_TELL] == RUNS, found


@pytest.mark.parametrize("first, expected", [(0.002, BETTER), (0.3, NO_BETTER)])
def test_a_route_that_the_whole_hides_is_judged_by_itself(first: float, expected: str) -> None:
    by_route = replace(ERRORS, by=ByLabel("route"))
    found = results(a_rule(by_route), first=first, peers=0.3, beside=99.0)
    assert found[expected] >= 0.8 * RUNS, found
    assert found[expected] + found[CANNOT_TELL] == RUNS, found


@pytest.mark.parametrize("peers", [0.102, 0.11, 0.13])
@pytest.mark.parametrize("rps", [2.0, 10.0])
def test_a_share_that_swings_around_its_limit_has_not_recovered(peers: float, rps: float) -> None:
    found = results(a_rule(ERRORS), first=0.002, peers=peers, rps=rps)
    assert not found[RECOVERED], found
    assert not found[NO_BETTER], found


def test_a_blip_that_is_over_is_found_to_be_over() -> None:
    found = results(a_rule(ERRORS), first=0.3, peers=0.3, over_at=5.0)
    assert found[RECOVERED] >= 0.9 * RUNS, found
    assert not found[BETTER], found


# -- comparisons with the past -----------------------------------------------------------------------------------------

COMPARED = a_rule(Compared(of=ERRORS, factor=2.0), name="worse")
NOW_S = 60.0


def remembered(rule: Rule, seen: Evidence, now: float) -> Finding:
    """A comparison goes on firing for long: what was counted against the release it remembers."""
    return a_finding(rule, value=0.05, limit=0.01, trigger=Trigger.RELATIVE)


def against_the_past(before: float, since: float) -> str | None:
    """What is concluded on two machines with 200 requests a scrape, of which so many fail, before and since."""
    rows = []
    for machine in ("m1", "m2"):
        bad = [before] * 6 + [since] * 4
        rows += [counted("traffic.errors", bad, subject=machine, until=NOON + NOW_S)]
        rows += [counted("traffic.requests", [200.0] * 10, subject=machine, until=NOON + NOW_S)]
    view = a_view(others=[a_tenure("m1", GOOD)])
    view = replace(view, cohort=(a_tenure("m2"),))
    seen = evidence(*rows, view=view, policy=a_policy(COMPARED), compare=remembered)
    proof = judge_first(["worse"], seen, ("m1",), NOON, NOON + NOW_S)
    return proof.result if proof else None


def test_a_comparison_has_recovered_when_what_is_counted_now_fell_though_it_still_fires() -> None:
    assert against_the_past(before=20.0, since=0.0) == RECOVERED


def test_a_comparison_that_goes_on_has_not_recovered() -> None:
    assert against_the_past(before=20.0, since=10.0) != RECOVERED
    assert against_the_past(before=2.0, since=2.0) != RECOVERED, "still as bad as what is tolerated"


# -- who must prove anything -------------------------------------------------------------------------------------------


def fleet(*machines: Any) -> Snapshot:
    return Snapshot(at=NOON, machines=machines, releases=())


def test_a_web_machine_and_a_worker_are_nobodys_peers() -> None:
    web, worker = (
        a_machine("w1", digest=BAD, group="app"),
        a_machine("x1", digest=BAD, group="worker", has_services=False),
    )
    acting = [a_finding()]
    assert not must_prove(Trigger.ABSOLUTE, acting, fleet(web, worker), GOOD)
    assert not must_prove(Trigger.ABSOLUTE, acting, fleet(web, worker, replace(worker, id="x2")), GOOD)
    assert must_prove(Trigger.ABSOLUTE, acting, fleet(web, replace(web, id="w2"), worker), GOOD)
    assert must_prove(Trigger.ABSOLUTE, acting, fleet(worker, replace(worker, id="x2")), GOOD)


def test_what_a_deploy_has_shown_side_by_side_needs_no_first_machine() -> None:
    web = fleet(*(a_machine(name, digest=BAD) for name in ("w1", "w2")))
    shown = a_finding(side_by_side=True)
    assert must_prove(Trigger.RELATIVE, [a_finding()], web, GOOD)
    assert not must_prove(Trigger.RELATIVE, [shown], web, GOOD)
    assert not must_prove(Trigger.ABSOLUTE, [a_finding(), shown], web, GOOD)


@pytest.mark.parametrize("but", [{"cordoned": True}, {"state": "stopped"}, {"standby": True}], ids=str)
def test_who_serves_nobody_proves_nothing(but: dict[str, Any]) -> None:
    first, peer = a_machine("m1", digest=GOOD), a_machine("m2", digest=BAD)
    goal = a_goal(prove=True, updates={"m1": Update(before="a", after="b", healthy=True)})
    assert waits_for_proof(goal, fleet(first, peer)) == ("m1",)
    assert waits_for_proof(goal, fleet(replace(first, **but), peer)) == ()
    assert waits_for_proof(goal, fleet(peer)) == ("m1",), "a list that leaves it out says nothing"
    assert waits_for_proof(goal, fleet(first, replace(peer, group="worker", has_services=False))) == ()
