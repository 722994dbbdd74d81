"""The promise of the test against the past: a release exactly as bad as tolerated is almost never blamed.

2,000 releases a cell, at the bound in every scrape, looked at after every scrape (Ville's inequality); in most cells
neither the speed limit nor the discount for clusters helps. `bench/evidence.py` does the same with 20,000.
"""

from __future__ import annotations

import math
import random
from math import comb

import pytest

from bench.evidence import ALPHAS, CELLS, crossings, quantile
from rollguard.core.evidence.bets import Bet, Terms

RELEASES = 2000


@pytest.mark.parametrize("of", [1, 4, 60, 300])
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize(("size", "least_s"), [(math.inf, 1e-9), (math.inf, 75.0), (6.0, 1e-9), (6.0, 75.0)])
def test_within_the_bound_no_scrape_is_expected_to_raise_the_stake(
    of: int, share: float, size: float, least_s: float
) -> None:
    """Exactly: over all that one scrape can count, whatever the discount for clusters and the speed limit."""
    terms = Terms(limit=0.02, alpha=1e-30, size=size, least_s=least_s, blatant_s=min(least_s, 40.0))
    p, expected = terms.limit * share, 0.0
    for bad in range(of + 1):
        bet = Bet()
        bet.count(bad, of, terms, 15.0, 1.0, 3600.0)
        expected += comb(of, bad) * p**bad * (1 - p) ** (of - bad) * math.exp(bet.log_evidence)
    staked = 0.5 + 0.5 * 15.0 / 3600.0
    assert expected <= staked * (1 + 1e-9)
    if share == 1.0 and of == 4 and size == math.inf and least_s < 1.0:
        assert expected == pytest.approx(staked, rel=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_a_release_at_its_bound_is_blamed_no_more_often_than_promised(name: str) -> None:
    blamed = crossings(CELLS[name], random.Random(f"guarantee {name}"), RELEASES)
    assert all(blamed[alpha] <= quantile(RELEASES, alpha, 0.999) for alpha in ALPHAS)


@pytest.mark.parametrize("name", CELLS)
def test_the_promise_is_not_kept_by_never_blaming(name: str) -> None:
    """Three times the bound is found in most cases by the same evidence."""
    blamed = crossings(CELLS[name], random.Random(f"power {name}"), 100, worse=3.0)
    assert blamed[0.05] > 50


def test_bounds_that_are_a_third_too_low_would_be_noticed() -> None:
    cell = CELLS["many"]
    blamed = crossings(cell, random.Random("too low"), 300, worse=1.33)
    assert blamed[0.05] > quantile(300, 0.05, 0.999)


def test_the_quantile_is_exact() -> None:
    def beyond(count: int, of: int, share: float) -> float:
        return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(count + 1, of + 1))

    for of, share in ((200, 0.05), (500, 0.01)):
        found = quantile(of, share, 0.999)
        assert beyond(found, of, share) <= 0.001 < beyond(found - 1, of, share)
