"""Whatever counts, gauges and times come in: no exception, and no evidence of what cannot be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.bounds import Buckets, error_bound, slow_bounds
from rollguard.core.evidence.gauge import GaugeBet, GaugeBound
from rollguard.core.evidence.limits import Trial

DT_S, WATCH_S = 15.0, 3600.0
TERMS = Terms(limit=0.02, alpha=0.0004, size=6.0)
ANY = st.one_of(st.floats(), st.sampled_from((0.0, -1.0, 1.0, 4.0, 300.0, 1e12, 1e13, 1e308, math.inf, math.nan)))


def counted(
    bad: float, of: float, terms: Terms = TERMS, dt_s: float = DT_S, gap: float = 1.0, watch_s: float = WATCH_S
) -> Bet:
    """A bet that began and was then told that."""
    bet = Bet()
    bet.idle(DT_S, WATCH_S)
    bet.count(bad, of, terms, dt_s, gap, watch_s)
    return bet


def idled() -> Bet:
    bet = Bet()
    bet.idle(DT_S, WATCH_S)
    bet.idle(DT_S, WATCH_S)
    return bet


IMPOSSIBLE = [
    (-1, 10),
    (11, 10),
    (1, 0),
    (1, -10),
    (-5, -10),
    (0, 0),
    (1e13, 1e13),
    (math.nan, 10),
    (5, math.nan),
    (5, math.inf),
    (math.inf, math.inf),
    (-math.inf, 10),
]


@pytest.mark.parametrize(("bad", "of"), IMPOSSIBLE)
def test_counts_that_cannot_be_are_no_evidence(bad: float, of: float) -> None:
    assert counted(bad, of) == idled()


@pytest.mark.parametrize("gap", [0.0, -1.0, math.nan, math.inf])
def test_a_gap_that_cannot_be_is_no_evidence(gap: float) -> None:
    assert counted(10, 10, gap=gap) == idled()


@pytest.mark.parametrize("dt_s", [0.0, -15.0, math.nan, math.inf, -math.inf])
def test_a_time_that_goes_back_or_nowhere_is_no_scrape_at_all(dt_s: float) -> None:
    begun = Bet()
    begun.idle(DT_S, WATCH_S)
    assert counted(10, 10, dt_s=dt_s) == begun


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf])
def test_where_nothing_or_everything_is_tolerated_nothing_is_bet(limit: float) -> None:
    assert counted(10, 10, Terms(limit=limit, alpha=0.001, size=6.0)) == idled()


@given(ANY, ANY, ANY, ANY, ANY)
def test_a_bet_is_finite_whatever_it_is_told(bad: float, of: float, limit: float, dt_s: float, gap: float) -> None:
    bet = counted(bad, of, Terms(limit=limit, alpha=0.001, size=6.0), dt_s, gap)
    bet.count(300, 300, TERMS, DT_S, 1.0, WATCH_S)
    assert -math.inf < bet.log_evidence < math.inf


@given(st.lists(st.tuples(ANY, ANY), max_size=8), st.lists(st.tuples(ANY, ANY), max_size=3))
def test_an_error_bound_is_a_share_whatever_the_blocks_hold(blocks: list[Trial], recent: list[Trial]) -> None:
    found = error_bound(blocks, recent)
    assert 0 < found.limit <= 1
    assert 0 <= found.baseline <= 1


def test_blocks_that_cannot_be_change_nothing() -> None:
    good: list[Trial] = [(6.0, 6000.0), (3.0, 6000.0), (9.0, 6000.0)]
    wrong: list[Trial] = [(9.0, 3.0), (-1.0, 5.0), (math.nan, 5.0), (1.0, math.inf), (0.0, 0.0)]
    assert error_bound([*good, *wrong], [*good, *wrong]) == error_bound(good, good)


HISTOGRAMS = st.lists(st.tuples(ANY, ANY), max_size=5).map(tuple)


@given(st.lists(HISTOGRAMS, max_size=4), st.lists(HISTOGRAMS, max_size=2), st.booleans())
def test_a_bound_of_slow_requests_is_a_share_whatever_the_histograms_hold(
    blocks: list[Buckets], recent: list[Buckets], page: bool
) -> None:
    for found in slow_bounds(blocks, recent, 1.5, page=page):
        assert 0 < found.limit < 1
        assert 0 <= found.baseline <= 1


GOOD: Buckets = ((0.1, 600.0), (0.2, 900.0), (0.4, 990.0), (math.inf, 1000.0))


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ((0.1, 600.0), (0.2, 900.0)),
        ((0.1, 600.0), (0.2, 500.0), (0.4, 990.0), (math.inf, 1000.0)),
        ((0.2, 600.0), (0.1, 900.0), (0.4, 990.0), (math.inf, 1000.0)),
        ((0.1, math.nan), (0.2, 900.0), (0.4, 990.0), (math.inf, 1000.0)),
        ((0.1, -5.0), (0.2, 900.0), (0.4, 990.0), (math.inf, 1000.0)),
        ((-0.1, 600.0), (0.2, 900.0), (0.4, 990.0), (math.inf, 1000.0)),
        ((0.1, 600.0), (0.2, 900.0), (0.4, 990.0), (math.inf, math.inf)),
        ((0.1, 0.0), (0.2, 0.0), (0.4, 0.0), (math.inf, 0.0)),
    ],
)
def test_histograms_that_cannot_be_change_nothing(wrong: Buckets) -> None:
    found = slow_bounds([GOOD] * 10, [GOOD], 1.5)
    assert found
    assert slow_bounds([wrong, *[GOOD] * 10], [GOOD, wrong], 1.5) == found


@given(ANY, ANY, ANY, st.lists(ANY, max_size=20))
def test_a_bet_on_a_gauge_is_finite_whatever_it_is_told(
    value: float, dt_s: float, gap: float, before: list[float]
) -> None:
    bound = GaugeBound.learnt([*before, *[0.2] * 10])
    assert bound is not None
    bet = GaugeBet()
    bet.count(value, bound, TERMS, dt_s, gap, WATCH_S)
    bet.count(0.2, bound, TERMS, DT_S, 1.0, WATCH_S)
    assert -math.inf < bet.log_evidence < math.inf


@pytest.mark.parametrize("value", [0.0, -0.2, math.nan, math.inf])
def test_a_gauge_that_cannot_be_is_no_evidence(value: float) -> None:
    bound = GaugeBound.learnt([0.2] * 10)
    assert bound is not None
    counted_, idled_ = GaugeBet(), GaugeBet()
    counted_.count(value, bound, TERMS, DT_S, 1.0, WATCH_S)
    idled_.idle(DT_S, WATCH_S)
    assert counted_ == idled_
