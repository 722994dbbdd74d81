"""Evidence of one cohort against another in the same seconds: what it is, and what it must never do."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.pairs import ODDS, STAKES_OVER_S, Mixture, added, pair_factors

COUNTS = st.integers(0, 400)
EXPOSURES = st.floats(0.5, 1e5)
RATIOS = st.floats(0.3, 6.0)
HOSTILE = st.sampled_from([-1.0, math.nan, math.inf, -math.inf, 1e300])


@given(COUNTS, EXPOSURES, COUNTS, EXPOSURES, RATIOS, st.floats(0, 0.02), st.sampled_from([6.0, 10.0, math.inf]))
def test_it_is_the_formula_of_a_coin_whose_bias_is_the_new_cohorts_part(
    k1: int, n1: float, k0: int, n0: float, ratio: float, more: float, size: float
) -> None:
    found = pair_factors(k1=k1, n1=n1, r1=n1, k0=k0, n0=n0, ratio=ratio, more=more, size=size)
    x = ratio * n1 / n0
    h0 = x / (1 + x)
    for m, factor in zip(ODDS, found, strict=True):
        h = m * x / (1 + m * x)
        step = k1 * math.log(h / h0) + k0 * math.log((1 - h) / (1 - h0)) - more * n1 * (h / h0 - 1)
        assert factor == pytest.approx(step / (1 + (k1 + k0) * h0 * (1 - h0) / size), rel=1e-6, abs=1e-6)


@given(
    st.floats(0.01, 5),
    st.floats(1, 100),
    st.sampled_from([(1, 3), (2, 2), (3, 1), (1, 9)]),
    st.floats(0.5, 4),
    st.floats(0, 0.05),
)
def test_a_level_that_moves_in_both_cohorts_does_not_make_it_grow_in_expectation(
    events: float, blip: float, machines: tuple[int, int], ratio: float, more: float
) -> None:
    """At the bound, with ``events`` expected on one old machine, times the ``blip`` that both feel. Exact, by its sums:
    a Poisson count k with mean u has E[a^k] = exp(u (a - 1)), and the logarithm is linear in both counts.
    """
    requests, (new, old) = 100.0, machines
    mean0 = events * blip * old
    mean1 = ratio * events * blip * new + more * requests * new

    def log_factor(k1: float, k0: float) -> list[float]:
        n1, n0 = requests * new, requests * old
        return pair_factors(k1=k1, n1=n1, r1=n1, k0=k0, n0=n0, ratio=ratio, more=more)

    for nothing, one_new, one_old in zip(log_factor(0, 0), log_factor(1, 0), log_factor(0, 1), strict=True):
        grown = nothing + mean1 * math.expm1(one_new - nothing) + mean0 * math.expm1(one_old - nothing)
        assert grown <= 1e-9


@given(st.integers(1, 60), st.floats(0.05, 20))
def test_discounting_clusters_keeps_a_fair_bet_fair_given_the_total(total: int, x: float) -> None:
    h0 = x / (1 + x)
    for i in range(len(ODDS)):
        expected = math.fsum(
            math.comb(total, k1)
            * h0**k1
            * (1 - h0) ** (total - k1)
            * math.exp(pair_factors(k1=k1, n1=x, r1=x, k0=total - k1, n0=1.0, ratio=1.0, size=6.0)[i])
            for k1 in range(total + 1)
        )
        assert expected <= 1 + 1e-9


@given(st.integers(0, 50), EXPOSURES, COUNTS, EXPOSURES, RATIOS, st.floats(0, 0.02), st.sampled_from([6.0, math.inf]))
def test_more_bad_ones_on_the_new_side_never_lower_it(
    k1: int, n1: float, k0: int, n0: float, ratio: float, more: float, size: float
) -> None:
    rising = [
        pair_factors(k1=k1 + extra, n1=n1, r1=n1, k0=k0, n0=n0, ratio=ratio, more=more, size=size)
        for extra in range(0, 50, 7)
    ]
    for fewer, greater in pairwise(rising):
        assert all(b >= a - 1e-9 for a, b in zip(fewer, greater, strict=True))


@given(st.sampled_from(["k1", "n1", "r1", "k0", "n0"]), HOSTILE)
def test_impossible_counts_are_no_evidence(which: str, value: float) -> None:
    counts = {"k1": 5.0, "n1": 100.0, "r1": 100.0, "k0": 1.0, "n0": 300.0, which: value}
    found = pair_factors(**counts, ratio=2.0)  # type: ignore[arg-type]
    assert all(math.isfinite(factor) for factor in found)
    if value != 1e300:
        assert found == [0.0] * len(ODDS)


@pytest.mark.parametrize("empty", [{"n1": 0.0}, {"n0": 0.0}, {"n0": 5e-324, "n1": 1e300}])
def test_one_cohort_alone_is_no_evidence(empty: dict[str, float]) -> None:
    counts = {"k1": 5.0, "n1": 100.0, "r1": 100.0, "k0": 1.0, "n0": 300.0} | empty
    assert pair_factors(**counts, ratio=2.0) == [0.0] * len(ODDS)  # type: ignore[arg-type]


def test_regions_add_their_log_evidence() -> None:
    one = pair_factors(k1=5, n1=100, r1=100, k0=1, n0=300, ratio=2.0)
    other = pair_factors(k1=0, n1=100, r1=100, k0=9, n0=300, ratio=2.0)
    assert added([one, other]) == pytest.approx([a + b for a, b in zip(one, other, strict=True)])
    assert added([]) == [0.0] * len(ODDS)


# -- the stake ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.5, 600), min_size=1, max_size=40))
def test_no_more_than_the_stake_of_one_is_ever_bet(pauses: list[float]) -> None:
    mixture = Mixture()
    for dt_s in pauses:
        mixture.idle(dt_s)
    expected = 0.5 + 0.5 * min(sum(pauses) / STAKES_OVER_S, 1)
    assert math.exp(mixture.log_evidence) == pytest.approx(expected)
    assert math.exp(mixture.log_evidence) + mixture.left == pytest.approx(1)


def test_no_scrape_counts_for_more_than_its_share_of_the_time() -> None:
    slow, free = Mixture(), Mixture()
    slow.take([50.0] * len(ODDS), 15.0, most=3.0)
    free.take([50.0] * len(ODDS), 15.0)
    assert slow.log_evidence == pytest.approx(math.log(0.525) + 3)
    assert free.log_evidence > 25


def test_a_late_regression_is_not_buried_under_good_scrapes() -> None:
    mixture = Mixture()
    for _ in range(16):
        mixture.take([-5.0] * len(ODDS), 15.0)
    mixture.take([4.0] * len(ODDS), 15.0)
    mixture.take([4.0] * len(ODDS), 15.0)
    assert mixture.log_evidence > 4


@given(st.lists(st.lists(st.floats(-50, 50), min_size=5, max_size=5), min_size=1, max_size=12), st.integers(0, 12))
def test_resumed_at_any_cut_it_goes_on_to_the_last_bit(steps: list[list[float]], cut: int) -> None:
    whole, resumed = Mixture(), Mixture()
    for number, step in enumerate(steps):
        if number == cut:
            resumed = Mixture.from_plain(json.loads(json.dumps(resumed.to_plain())))
        whole.take(step, 15.0, most=5.0)
        resumed.take(step, 15.0, most=5.0)
    assert resumed == whole


@pytest.mark.parametrize(
    "plain", [[], [0.5], [2.0, 0, 0, 0, 0, 0], [0.5, 0, 0, 0, 0, math.nan], ["x", 0, 0, 0, 0, 0], [0.5, -1, 0, 0, 0, 0]]
)
def test_what_is_no_kept_mixture_is_refused(plain: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Mixture.from_plain(plain)
