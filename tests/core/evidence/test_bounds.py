"""How bad a release may be, from what the app did before."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence import bounds as b
from rollguard.core.evidence.bounds import Buckets, error_bound, slow_bounds
from rollguard.core.evidence.limits import Trial
from tests.core.evidence.draws import poisson

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
FINE = tuple(0.01 * 1.2**n for n in range(30))
CALM: list[Trial] = [(6.0, 6000.0)] * 24


def slower(edge: float, times: float = 1.0, median_s: float = 0.06, sigma: float = 0.7) -> float:
    """The share of requests beyond ``edge`` of an app all of whose requests take ``times`` as long."""
    return 1 - NormalDist().cdf(math.log(edge / median_s / times) / sigma)


def timed(times: float = 1.0, of: float = 1500.0, edges: tuple[float, ...] = EDGES) -> Buckets:
    return (*((edge, of * (1 - slower(edge, times))) for edge in edges), (math.inf, of))


def restless() -> list[Trial]:
    dice = random.Random("restless")
    return [(float(poisson(dice, 100 * math.exp(dice.gauss(0, 0.6)))), 60_000.0) for _ in range(24)]


def test_twice_the_errors_of_a_calm_app_are_tolerated_and_the_baseline_said() -> None:
    found = error_bound(CALM, CALM[-2:])
    assert found.baseline == pytest.approx(0.001)
    assert 0.002 < found.limit < 0.003


def test_a_restless_app_is_given_more_room() -> None:
    found = error_bound(restless(), [])
    assert 1.3 * error_bound(CALM, []).limit / 0.001 < found.limit / found.baseline


def test_no_app_is_so_restless_that_nothing_could_be_found() -> None:
    wild = [(share * 60_000, 60_000.0) for share in (0.0001, 0.0002, 0.03)] * 8
    assert error_bound(wild, []).limit < 5.3 * error_bound(wild, []).baseline


def test_hardly_any_errors_are_tolerated_where_there_were_none() -> None:
    assert error_bound([(0.0, 6000.0)] * 24, []).limit == b.ERRORS_MIN


@given(st.integers(0, 60), st.integers(500, 100_000))
def test_a_tenth_of_a_point_more_is_nobodys_reason(bad: int, of: int) -> None:
    found = error_bound([(bad, of)] * 24, [])
    assert found.limit >= found.baseline + 0.001


@pytest.mark.parametrize("blocks", [[], [(0.0, 19.0)], [(0.0, 0.0)] * 24])
def test_of_an_app_that_nobody_knows_five_percent_are_tolerated(blocks: list[Trial]) -> None:
    assert error_bound(blocks, []).limit >= b.ERRORS_UNKNOWN


def test_blips_of_the_past_do_not_excuse_the_release() -> None:
    assert error_bound([(3000.0, 6000.0), *CALM[:-2], (600.0, 6000.0)], []) == error_bound(CALM, [])


def test_what_was_so_just_before_is_no_releases_doing() -> None:
    already = error_bound(CALM, [(600.0, 6000.0), (600.0, 6000.0)]).limit
    assert 0.18 < already < 0.2
    assert error_bound(CALM, [(1.0, 2.0)]).limit < 0.5


def test_a_policys_margin_can_only_widen_the_bound() -> None:
    plain = error_bound(CALM, [])
    assert error_bound(CALM, [], add=0.05).limit == pytest.approx(plain.baseline + 0.05)
    assert error_bound(CALM, [], factor=30).limit == pytest.approx(30 * plain.baseline)
    assert error_bound(CALM, [], add=0.0001, factor=1.1) == plain


def test_a_bound_is_never_more_than_everything() -> None:
    assert error_bound([(90.0, 100.0)] * 24, [], add=0.9).limit == 1.0


def test_one_bound_of_the_histogram_is_watched_in_the_tail_and_one_nearer_to_the_middle() -> None:
    tail, body = slow_bounds([timed()] * 24, [], 1.5)
    assert tail.bound_s > body.bound_s
    assert tail.baseline == pytest.approx(slower(tail.bound_s), rel=0.01)


@pytest.mark.parametrize("factor", [1.2, 1.5, 3.0])
@pytest.mark.parametrize("edges", [EDGES, FINE])
def test_everything_may_take_so_many_times_as_long(factor: float, edges: tuple[float, ...]) -> None:
    found = slow_bounds([timed(of=50_000, edges=edges)] * 24, [], factor)
    assert len(found) == 2
    for bound in found:
        assert bound.limit == pytest.approx(slower(bound.bound_s, factor), rel=0.05)


def test_of_few_requests_more_is_tolerated() -> None:
    few, many = (slow_bounds([timed(of=of)] * 24, [], 1.5) for of in (20.0, 2000.0))
    assert few[0].bound_s == many[0].bound_s
    assert few[0].limit > many[0].limit


def test_where_little_was_timed_latency_is_not_judged() -> None:
    assert slow_bounds([timed(of=49.0)], [], 1.5) == []
    assert slow_bounds([], [], 1.5) == []
    assert len(slow_bounds([timed(of=50.0)], [], 1.5)) == 2


def test_slow_blocks_of_the_past_do_not_excuse_the_release() -> None:
    assert slow_bounds([*[timed()] * 22, timed(8.0), timed(8.0)], [], 1.5) == slow_bounds([timed()] * 24, [], 1.5)


@pytest.mark.parametrize(("already", "tolerated"), [(1.4, 1.4), (2.5, 2.0)])
def test_what_was_slow_just_before_is_no_releases_doing(already: float, tolerated: float) -> None:
    (tail, _), recent = slow_bounds([timed(edges=FINE)] * 24, [], 1.5), timed(already, of=100_000.0, edges=FINE)
    was = slower(tail.bound_s, already)
    assert (was > tail.limit) is (already > 1.5)
    (found, _) = slow_bounds([timed(edges=FINE)] * 24, [recent], 1.5)
    assert found.limit == pytest.approx(tolerated * was, rel=0.03)


def test_for_a_page_an_app_whose_latency_wanders_is_given_more_room() -> None:
    calm, restless_ = [timed(of=9000)] * 24, [timed(1.25, of=9000), timed(0.8, of=9000)] * 12
    for blocks in (calm, restless_):
        for plain, page in zip(slow_bounds(blocks, [], 1.2), slow_bounds(blocks, [], 1.2, page=True), strict=True):
            assert page.limit > plain.limit


def test_blocks_with_other_bounds_are_compared_where_all_have_one() -> None:
    some = [timed(edges=(0.05, 0.1, 0.2)), timed(edges=(0.02, 0.05, 0.1, 0.3))] * 10
    found = slow_bounds(some, [timed(edges=(0.3,))], 1.2)
    assert {bound.bound_s for bound in found} == {0.1}
    assert slow_bounds([timed(edges=(0.05,)), timed(edges=(0.06,))], [], 1.5) == []


def test_how_much_of_the_first_bucket_would_be_slower_nobody_knows() -> None:
    assert slow_bounds([timed(edges=(0.1,))] * 24, [], 1.5) == []
    assert slow_bounds([timed(edges=(0.1,))] * 24, [], 1.0) != []
