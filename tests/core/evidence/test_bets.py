"""One bet against "this release is within tolerance"."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.pairs import ODDS

DT_S, WATCH_S = 15.0, 3600.0
TERMS = Terms(limit=0.02, alpha=0.0004, size=6.0)
FREE = replace(TERMS, size=math.inf, least_s=1e-9, blatant_s=1e-9)
SCRAPES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(40, 400), st.sampled_from((0.0, 1.0, 3.0))), min_size=1, max_size=12
)


def scrape(bet: Bet, bad: float, of: float, terms: Terms = TERMS, gap: float = 1.0, faster: float = 1.0) -> None:
    bet.count(bad, of, terms, DT_S, gap, WATCH_S, faster)


def after(bad: float, of: float, terms: Terms = TERMS, gap: float = 1.0, faster: float = 1.0) -> float:
    """What one scrape says."""
    bet = Bet()
    scrape(bet, bad, of, terms, gap, faster)
    return bet.log_evidence


def scrapes_to_win(bad: float, of: float, dt_s: float = DT_S, terms: Terms = TERMS, idle: int = 0) -> int:
    """After so many scrapes like that is it won, ``idle`` ones after the release."""
    bet = Bet()
    for _ in range(idle):
        bet.count(0, of, terms, dt_s, 1.0, WATCH_S)
    for number in range(1, 100):
        bet.count(bad, of, terms, dt_s, 1.0, WATCH_S)
        if bet.log_evidence >= terms.need:
            return number
    return 100


def test_it_is_the_likelihood_of_the_alternatives_against_the_limit() -> None:
    bad, of, u = 3, 50, FREE.limit
    worse = [m * u / (1 + (m - 1) * u) for m in ODDS]
    stake = 0.5 + 0.5 * DT_S / WATCH_S
    expected = stake / 5 * sum((p / u) ** bad * ((1 - p) / (1 - u)) ** (of - bad) for p in worse)
    assert after(bad, of, FREE) == pytest.approx(math.log(expected))


@given(st.integers(1, 500), st.floats(0.001, 0.9), st.floats(1.0, 20.0), st.sampled_from((1.0, 2.0)))
def test_worse_counts_of_a_scrape_never_give_less_evidence(of: int, limit: float, size: float, gap: float) -> None:
    terms = Terms(limit=limit, alpha=0.001, size=size)
    found = [after(bad, of, terms, gap) for bad in range(0, of + 1, 1 + of // 50)]
    assert found == sorted(found)


def test_where_most_fails_evidence_is_never_slower_even_if_the_terms_say_so() -> None:
    odd = replace(TERMS, least_s=40.0, blatant_s=75.0)
    assert after(100, 100, odd) >= after(30, 100, odd)


@pytest.mark.parametrize(("dt_s", "scrapes"), [(5.0, 13), (15.0, 5), (30.0, 3), (60.0, 3), (300.0, 3)])
def test_evidence_takes_its_time_and_three_scrapes_at_least(dt_s: float, scrapes: int) -> None:
    assert scrapes_to_win(300, 1000, dt_s) == scrapes


@pytest.mark.parametrize(("dt_s", "scrapes"), [(5.0, 7), (15.0, 3), (60.0, 3)])
def test_where_most_fails_it_takes_less(dt_s: float, scrapes: int) -> None:
    assert scrapes_to_win(1000, 1000, dt_s) == scrapes


def test_a_blip_of_a_minute_late_in_the_watch_is_not_enough() -> None:
    assert scrapes_to_win(300, 1000, idle=100) > 5
    assert scrapes_to_win(300, 1000, dt_s=60.0, idle=30) > 2


def test_after_a_gap_it_may_say_twice_as_much_and_never_more() -> None:
    once, twice = after(300, 1000), after(300, 1000, gap=2.0)
    assert twice > once
    assert after(300, 1000, gap=7.0) == twice


def test_going_faster_is_worth_a_gap_of_two_and_no_more_together_with_one() -> None:
    twice = after(300, 1000, gap=2.0)
    assert after(300, 1000, faster=2.0) == twice
    assert after(300, 1000, gap=2.0, faster=2.0) == twice
    assert after(5, 1000, faster=2.0) == after(5, 1000)


def test_what_comes_in_a_burst_counts_less_than_what_does_not() -> None:
    assert after(5, 100) < after(5, 100, replace(TERMS, size=math.inf))


def test_healthy_hours_do_not_bury_a_late_regression() -> None:
    bet = Bet()
    for _ in range(200):
        scrape(bet, 3, 300)
    assert bet.log_evidence < math.log(0.01)
    for _ in range(10):
        scrape(bet, 60, 300)
    assert bet.log_evidence >= TERMS.need


def test_no_more_than_one_is_ever_staked() -> None:
    bet = Bet()
    for _ in range(1000):
        bet.idle(DT_S, WATCH_S)
    assert bet.log_evidence == pytest.approx(0.0)
    bet.idle(1e9, WATCH_S)
    assert bet.log_evidence == pytest.approx(0.0)


def test_a_scrape_without_requests_is_no_evidence_but_time_passes() -> None:
    counted, idled = Bet(), Bet()
    scrape(counted, 0, 0)
    idled.idle(DT_S, WATCH_S)
    assert counted == idled != Bet()


def test_nothing_is_staked_before_it_begins() -> None:
    assert Bet().log_evidence == -math.inf


@given(SCRAPES)
def test_resumed_at_any_cut_it_goes_on_to_the_last_bit(scrapes: list[tuple[int, int, float]]) -> None:
    whole, resumed = Bet(), Bet()
    for bad, of, gap in scrapes:
        for bet in (whole, resumed):
            if gap:
                scrape(bet, bad, of, gap=gap)
            else:
                bet.idle(DT_S, WATCH_S)
        resumed = Bet.from_plain(json.loads(json.dumps(resumed.to_plain())))
        assert resumed == whole


@pytest.mark.parametrize(
    "plain",
    [[], [1.0], [0.5, 0, 0, 0, 0], [2.0, 0, 0, 0, 0, 0], [0.5, 0, 0, 0, 0, math.nan], [0.5, -1, 0, 0, 0, 0], ["x"] * 6],
)
def test_what_no_bet_was_saved_as_is_refused(plain: list[object]) -> None:
    with pytest.raises(ValueError, match=r"mixture|convert|unpack"):
        Bet.from_plain(plain)
