"""The promise of machines side by side: a release just as bad as the bound allows is almost never called bad.

2,000 rolling deploys a cell, at the bound in every scrape, with a shared level that jumps up to a hundredfold between
scrapes, load that jumps ninefold and machines that are unlike. No speed limit helps.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.pairs import Mixture, pair_factors
from rollguard.core.evidence.strata import Tally
from tests.core.evidence.draws import binomial, poisson, quantile

DEPLOYS, SCRAPES = 2000, 18
ROLLING = (1, 1, 2, 3, 3, 3)
"""New machines of four, scrape by scrape, three scrapes each."""
LEVELS = Levels({"m0": 0.6, "m1": 1.0, "m2": 1.5, "m3": 0.9})
ALPHAS = (0.05, 0.01)

Draw = Callable[[random.Random, int, float], int]


def independent(dice: random.Random, of: int, share: float) -> int:
    """Each request fails by itself, with the same probability."""
    return poisson(dice, of * share)


@dataclass(frozen=True)
class Cell:
    """``requests`` of one machine in one scrape; the shared level is ``share`` to a hundred times that."""

    requests: int
    share: float
    ratio: float
    more: float
    size: float
    draw: Draw = independent


CELLS = {
    "errors, sparse": Cell(10, 0.002, 2.0, 0.001, math.inf),
    "errors, sparse, clusters discounted": Cell(10, 0.002, 2.0, 0.001, 6.0),
    "errors, usual": Cell(75, 0.0005, 2.0, 0.001, math.inf),
    "errors, usual, clusters discounted": Cell(75, 0.0005, 2.0, 0.001, 6.0),
    "slow requests": Cell(75, 0.002, 2.5, 0.0, 10.0, binomial),
    "agreement": Cell(75, 0.002, 1.3, 0.0005, math.inf, binomial),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_release_within_the_bound_is_called_bad_no_more_often_than_promised(name: str) -> None:
    dice = random.Random(f"guarantee {name}")
    highest = [_highest(CELLS[name], dice) for _ in range(DEPLOYS)]
    for alpha in ALPHAS:
        crossed = sum(evidence >= math.log(1 / alpha) for evidence in highest)
        assert crossed <= quantile(DEPLOYS, alpha, 0.999)


def test_the_promise_is_not_kept_by_never_looking() -> None:
    """Four times the bound is found nearly always by the same evidence."""
    dice = random.Random("power")
    found = [_highest(CELLS["errors, usual"], dice, worse=4.0) >= math.log(100) for _ in range(60)]
    assert sum(found) >= 50


def _highest(cell: Cell, dice: random.Random, worse: float = 1.0) -> float:
    """The highest log-evidence within one deploy."""
    mixture, highest = Mixture(), -math.inf
    for scrape in range(SCRAPES):
        level = cell.share * 100 ** dice.random()
        load = cell.requests * 3 ** dice.uniform(-1, 1)
        new, old = [], []
        for number in range(4):
            machine, is_new = f"m{number}", number < ROLLING[scrape // 3]
            share = level * LEVELS.ratio(machine)
            if is_new:
                share = worse * (cell.ratio * share + cell.more)
            of = max(1, round(load))
            tally = Tally(machine, cell.draw(dice, of, min(share, 1.0)), of)
            (new if is_new else old).append(tally)
        factors = pair_factors(
            k1=sum(t.bad for t in new),
            n1=LEVELS.exposure(new),
            r1=sum(t.of for t in new),
            k0=sum(t.bad for t in old),
            n0=LEVELS.exposure(old),
            ratio=cell.ratio,
            more=cell.more,
            size=cell.size,
        )
        mixture.take(factors, 15.0)
        highest = max(highest, mixture.log_evidence)
    return highest
