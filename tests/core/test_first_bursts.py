"""The first machine's conclusions in a world of bursts, unlike machines and storms: seldom wrong, and not mute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollguard.core.evidence.machines import Levels
from rollguard.core.first import judge_first
from rollguard.core.judging import Evidence
from rollguard.core.policy import Rule
from rollguard.core.proof import BETTER, NO_BETTER, RECOVERED
from rollguard.core.trials import pair_of
from tests.builders import BAD, GOOD, NOON, a_policy, a_tenure, a_view, bucketed, counted, evidence
from tests.core.side_by_side import OUTAGES, REGRESSIONS, SLOW, World, conclusions, errors

RUNS = 100
HEAVY = 0.45
"""From scrape to scrape, the errors of a machine by itself vary by so much (CV)."""
FIRST = [a_tenure("m1", GOOD)]


@pytest.mark.parametrize("machines", [2, 4, 10])
@pytest.mark.parametrize("world", ["errors 5 %", "errors 30 %"])
def test_bursts_of_each_machines_own_are_no_proof_of_a_better_image(world: str, machines: int) -> None:
    found = conclusions(replace(OUTAGES[world](machines, 20.0), bursts=HEAVY), RUNS)
    assert found[BETTER] + found[RECOVERED] <= 0.02 * RUNS, found
    assert found[NO_BETTER] >= 0.35 * RUNS, found


@pytest.mark.parametrize(
    "world, rps, often", [("errors 5 %", 5.0, 0.5), ("errors 30 %", 1.0, 0.9), ("P95 x 4", 1.0, 0.6)]
)
def test_a_regression_is_told_from_little_traffic_too(world: str, rps: float, often: float) -> None:
    found = conclusions(REGRESSIONS[world](4, rps), RUNS)
    assert found[BETTER] >= often * RUNS, found
    assert not found[NO_BETTER] + found[RECOVERED], found


@pytest.mark.parametrize("rule", [errors(0.02), SLOW], ids=["errors", "slow"])
def test_a_storm_that_comes_and_goes_for_everybody_is_never_a_better_image(rule: Rule) -> None:
    outage = World(rule=rule, machines=4, rps=20.0, peers=0.3, first=0.3, slower=3.0, first_slower=3.0, over_s=40.0)
    found = conclusions(outage, RUNS)
    assert not found[BETTER], found


# -- one interval at a time --------------------------------------------------------------------------------------------


def beside(first: list[float], peers: list[float], of: float = 200.0) -> Evidence:
    """One first machine and one peer, scrape by scrape, with so many errors of ``of`` requests."""
    rows = []
    for machine, bad in (("m1", first), ("m2", peers)):
        rows += [
            counted("traffic.errors", bad, subject=machine),
            counted("traffic.requests", [of] * len(bad), subject=machine),
        ]
    view = a_view(others=FIRST)
    return evidence(*rows, view=replace(view, cohort=(a_tenure("m2"),)), policy=a_policy(errors(0.02)))


def verdict(seen: Evidence, **but: object) -> str | None:
    proof = judge_first(["errors"], seen, ("m1",), NOON - 300.0, NOON, **but)  # type: ignore[arg-type]
    return proof.result if proof else None


def test_what_only_one_side_counted_in_an_interval_is_compared_with_nothing() -> None:
    seen = beside([0.0, 0.0], [20.0, 20.0, 20.0, 20.0])
    pair = pair_of(errors(0.02), seen, ("m1",), NOON - 300.0, NOON)
    assert pair is not None
    assert [(s.first.n, s.peers.bad) for s in pair.strata] == [(200.0, 20.0), (200.0, 20.0)]


def test_a_burst_of_one_interval_tells_less_than_the_same_spread_over_all() -> None:
    assert verdict(beside([0.0] * 6, [4.0] * 6)) == BETTER
    assert verdict(beside([0.0] * 6, [24.0, 0.0, 0.0, 0.0, 0.0, 0.0])) != BETTER


def learnt(ratios: Mapping[str, float], spread: float) -> dict[str, object]:
    return {"levels_of": lambda rule: Levels(ratios, spread)}


def test_a_machine_that_always_did_worse_does_not_make_its_peer_look_better() -> None:
    seen = beside([4.0] * 6, [30.0] * 6)
    assert verdict(seen) == BETTER
    assert verdict(seen, **learnt({"m1": 0.6, "m2": 1.7}, 0.05)) != BETTER


def test_machines_that_wander_apart_by_themselves_must_differ_by_more() -> None:
    seen = beside([4.0] * 6, [30.0] * 6)
    assert verdict(seen, **learnt({"m1": 1.0, "m2": 1.0}, 0.05)) == BETTER
    assert verdict(seen, **learnt({"m1": 1.0, "m2": 1.0}, 0.4)) != BETTER


@pytest.mark.parametrize("scrapes, told", [(1, False), (3, True)])
def test_one_slow_moment_of_a_machine_does_not_make_the_other_better(scrapes: int, told: bool) -> None:
    quick, slow = {0.1: 900.0, 0.3: 99.0, 0.6: 1.0}, {0.1: 100.0, 0.3: 100.0, 0.6: 400.0, 1.0: 400.0}
    at = [NOON - 15.0 * n for n in range(scrapes)]
    rows = [[bucketed(row, subject=m, at=a) for a in at] for m, row in (("m1", quick), ("m2", slow))]
    seen = evidence(*rows, view=replace(a_view(others=FIRST), cohort=(a_tenure("m2", BAD),)), policy=a_policy(SLOW))
    proof = judge_first(["slow"], seen, ("m1",), NOON - 80.0, NOON)
    assert (proof is not None and proof.result == BETTER) is told


def test_times_are_compared_interval_by_interval_too() -> None:
    row = {0.1: 100.0, 0.3: 60.0, 0.6: 20.0, 1.0: 20.0}
    rows = [[bucketed(row, subject=m, at=NOON - back) for back in (30.0, 15.0, 0.0)] for m in ("m1", "m2")]
    seen = evidence(*rows, view=replace(a_view(others=FIRST), cohort=(a_tenure("m2", BAD),)), policy=a_policy(SLOW))
    pair = pair_of(SLOW, seen, ("m1",), NOON - 300.0, NOON)
    assert pair is not None
    assert (pair.bound, len(pair.strata), pair.peers.bad, pair.peers.n) == (0.3, 3, 120.0, 600.0)
