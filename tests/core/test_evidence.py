"""The sequential test: a release at its bound is hardly ever blamed, however often one looks; a bad one soon is."""

from __future__ import annotations

import random

import pytest

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.blocks import BLOCKS_MAX, Blocks
from rollguard.core.evidence.bounds import ERRORS_MIN, ERRORS_UNKNOWN, error_bound, slow_bounds
from rollguard.core.evidence.limits import lower, upper, wandering
from rollguard.core.evidence.sequential import Judge, Sample, Verdict

DT_S, WATCH_S = 15.0, 3600.0
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def counted(random_: random.Random, n: int, share: float) -> int:
    return sum(random_.random() < share for _ in range(n))


def test_a_release_exactly_at_its_bound_is_blamed_in_less_than_the_promised_share_of_cases() -> None:
    """Ville's inequality: 400 releases, 240 looks each, alpha 5 %; 34 is the 99.9 % quantile of Binomial(400, 5 %)."""
    random_ = random.Random(1)
    terms = Terms(limit=0.02, alpha=0.05, size=6.0)
    crossed = 0
    for _ in range(400):
        bet, n = Bet(), random_.choice((3, 30, 100))
        for _ in range(240):
            bet.count(counted(random_, n, terms.limit), n, terms, DT_S, 1.0, WATCH_S)
            if bet.log_evidence >= terms.need:
                crossed += 1
                break
    assert crossed <= 34


def test_worse_counts_of_a_scrape_never_give_less_evidence() -> None:
    terms = Terms(limit=0.02, alpha=0.001, size=6.0)
    found = []
    for bad in range(51):
        bet = Bet()
        bet.count(bad, 50, terms, DT_S, 1.0, WATCH_S)
        found.append(bet.evidence)
    assert found == sorted(found)


def test_no_single_scrape_decides() -> None:
    terms = Terms(limit=0.02, alpha=0.001, size=6.0)
    bet = Bet()
    bet.count(1000, 1000, terms, DT_S, 1.0, WATCH_S)
    assert bet.log_evidence < terms.need


def test_limits_of_a_share_lie_on_both_sides_of_it() -> None:
    assert lower(5, 100, 1.65) < 0.05 < upper(5, 100, 1.65)
    assert lower(0, 100, 1.0) == 0.0
    assert lower(3, 0, 1.0) == 0.0


def test_an_app_that_stands_still_wanders_less_than_one_that_does_not() -> None:
    calm = [(50.0, 1000.0)] * 24
    restless = [(20.0, 1000.0), (120.0, 1000.0)] * 12
    assert wandering(calm) < 0.12 < 0.5 < wandering(restless)


def test_of_an_app_that_nobody_knows_five_percent_are_tolerated() -> None:
    assert error_bound(Blocks()).limit == ERRORS_UNKNOWN


def test_a_policys_margin_can_only_widen_the_bound() -> None:
    blocks = Blocks()
    for block in range(24):
        blocks.add(block * 300.0, 6000, 6)
    plain = error_bound(blocks)
    assert plain.limit >= ERRORS_MIN
    assert error_bound(blocks, add=0.05).limit == pytest.approx(plain.baseline + 0.05)
    assert error_bound(blocks, add=0.0001).limit == plain.limit


def test_a_day_of_blocks_is_kept_and_no_more() -> None:
    blocks = Blocks()
    for block in range(BLOCKS_MAX + 50):
        blocks.add(block * 300.0, 10, 0)
    assert len(blocks.ring) == BLOCKS_MAX


def test_where_little_was_timed_latency_is_not_judged() -> None:
    blocks = Blocks()
    blocks.add(0.0, 40, 0, (40.0, *(0.0,) * len(BOUNDS_S)))
    assert slow_bounds(blocks, BOUNDS_S, 1.5) == []


def lived(error_share: float, seed: int = 7) -> float | None:
    """After how many seconds of an hour at 20 requests a second a release with that share of errors is rolled back."""
    random_, judge = random.Random(seed), Judge(BOUNDS_S)
    for step in range(1, 241):
        judge.take(Sample(at=step * DT_S, dt_s=DT_S, requests=300, errors=counted(random_, 300, 0.001), probes=3))
    judge.release(240 * DT_S)
    for step in range(241, 481):
        sample = Sample(at=step * DT_S, dt_s=DT_S, requests=300, errors=counted(random_, 300, error_share), probes=3)
        if judge.take(sample)[0] is Verdict.ROLLBACK:
            return (step - 240) * DT_S
    return None


def test_five_percent_of_errors_are_found_within_ninety_seconds_and_none_is_found_where_nothing_changed() -> None:
    assert (lived(0.05) or 1e9) <= 90
    assert lived(0.001) is None


def test_without_scrapes_there_is_no_data_and_no_verdict() -> None:
    judge = Judge(BOUNDS_S)
    judge.take(Sample(at=0.0, dt_s=DT_S, requests=300, probes=3))
    judge.release(0.0)
    said = [judge.take(Sample(at=step * DT_S, dt_s=DT_S, probes=3))[0] for step in range(1, 60)]
    assert set(said) == {Verdict.OK, Verdict.NO_DATA}
    assert said[-1] is Verdict.NO_DATA
