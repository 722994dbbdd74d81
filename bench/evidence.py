"""What the sequential test costs, and how often it blames a release that is exactly as bad as it may be.

    .venv/bin/python bench/evidence.py [--releases 20000] [--samples 20000] [--seed 1]

Cost: CPU time of all bets of one sample (errors, two latency edges for the rollback and two for the page, probes), of
saving them, and of making the bounds once. Guarantee: for each cell so many releases at the tolerated share in every
scrape, each looked at after every scrape; ``most`` is the 99.9 % quantile of Binomial(releases, alpha). Prints tables,
and ends with a code other than 0 where a cell has more.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.bounds import Buckets, error_bound, slow_bounds

LOOKS = 60
DT_S = 15.0
WATCH_S = LOOKS * DT_S
ALPHAS = (0.05, 0.01)
FREE = Terms(limit=0.02, alpha=1e-30, size=math.inf, least_s=1e-9, blatant_s=1e-9)
"""The plain factor: clusters are not discounted, and the speed limit lies far beyond what any of the alphas needs."""

Scrape = tuple[int, float, float]
"""Requests, the true share of bad ones, and how many intervals it covers; no requests: the scrape did not come."""
Traffic = Callable[[random.Random, float], Iterator[Scrape]]


@lru_cache(maxsize=4096)
def _below(of: int, share: float) -> list[float]:
    """The distribution function of Binomial(of, share), up to where it cannot be told from 1."""
    odds = math.log(share) - math.log1p(-share)
    top = min(of, int(of * share + 12 * math.sqrt(of * share) + 20))
    base = math.lgamma(of + 1) + of * math.log1p(-share)
    return list(
        accumulate(math.exp(base - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * odds) for k in range(top))
    )


def drawn(dice: random.Random, of: int, share: float) -> int:
    """So many of ``of``, binomial."""
    return min(of, bisect_left(_below(of, share), dice.random()))


def quantile(of: int, share: float, level: float) -> int:
    """The smallest count that Binomial(of, share) exceeds with a probability of at most 1 - ``level``."""
    return bisect_left(_below(of, share), level)


def steady(dice: random.Random, limit: float, of: int) -> Iterator[Scrape]:
    """The same traffic all the time, at the limit."""
    return ((of, limit, 1.0) for _ in range(LOOKS))


def jumping(dice: random.Random, limit: float) -> Iterator[Scrape]:
    """Traffic that jumps a hundredfold from scrape to scrape, at the limit."""
    return ((dice.choice((1, 10, 100)), limit, 1.0) for _ in range(LOOKS))


def wandering(dice: random.Random, limit: float) -> Iterator[Scrape]:
    """A level that stays for a while and moves, never above the limit."""
    part = 1.0
    for _ in range(LOOKS):
        part = dice.choice((0.2, 0.6, 1.0, 1.0)) if dice.random() < 0.2 else part
        yield dice.choice((30, 100)), limit * part, 1.0


def gaps(dice: random.Random, limit: float) -> Iterator[Scrape]:
    """Every third scrape does not come, and the next one holds what it would have held."""
    missed = 0
    for _ in range(LOOKS):
        if dice.random() < 1 / 3:
            missed += 1
            yield 0, limit, 1.0
        else:
            yield 40 * (1 + min(missed, 3)), limit, 1.0 + missed
            missed = 0


@dataclass(frozen=True)
class Cell:
    """Releases at the limit of ``terms`` under one kind of traffic."""

    traffic: Traffic
    terms: Terms = FREE


def _terms(limit: float, size: float, least_s: float, alpha: float) -> Terms:
    return Terms(limit=limit, alpha=alpha, size=size, least_s=least_s, blatant_s=min(least_s, 40.0))


CELLS = {
    "a few requests": Cell(partial(steady, of=3), _terms(0.05, math.inf, 1e-9, 1e-30)),
    "some": Cell(partial(steady, of=50)),
    "many": Cell(partial(steady, of=400)),
    "probes": Cell(partial(steady, of=3), _terms(0.25, math.inf, 1e-9, 1e-30)),
    "slow requests": Cell(partial(steady, of=100), _terms(0.15, math.inf, 1e-9, 1e-30)),
    "traffic jumps": Cell(jumping),
    "the level moves below": Cell(wandering),
    "gaps": Cell(gaps),
    "gaps, clusters discounted, speed limited": Cell(gaps, _terms(0.02, 6.0, 75.0, 0.01)),
    "many, clusters discounted, speed limited": Cell(partial(steady, of=400), _terms(0.02, 6.0, 75.0, 0.01)),
}


def highest(cell: Cell, dice: random.Random, worse: float = 1.0) -> float:
    """The highest log-evidence against one release within its watch. ``worse``: so many times beyond the limit."""
    bet, found = Bet(), -math.inf
    for of, share, gap in cell.traffic(dice, cell.terms.limit):
        if of:
            bet.count(drawn(dice, of, min(share * worse, 0.99)), of, cell.terms, DT_S, gap, WATCH_S)
        else:
            bet.idle(DT_S, WATCH_S)
        found = max(found, bet.log_evidence)
    return found


def crossings(cell: Cell, dice: random.Random, releases: int, worse: float = 1.0) -> dict[float, int]:
    """How many releases were blamed, by alpha."""
    found = [highest(cell, dice, worse) for _ in range(releases)]
    return {alpha: sum(evidence >= -math.log(alpha) for evidence in found) for alpha in ALPHAS}


def a_past(dice: random.Random) -> tuple[list[tuple[float, float]], list[Buckets]]:
    """Two hours at 20 requests a second: errors, and a histogram with Prometheus's usual bounds."""
    edges = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
    shares = (0.0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.97, 0.99, 0.996, 0.999, 0.9999, 1.0)
    errors = [(float(drawn(dice, 6000, 0.001)), 6000.0) for _ in range(24)]
    return errors, [tuple((e, 6000.0 * s) for e, s in zip(edges, shares, strict=True)) for _ in range(24)]


def costs(samples: int, dice: random.Random) -> Iterator[tuple[str, float]]:
    """What is done, and what it takes in microseconds."""
    errors = Terms(limit=0.0025, alpha=4e-4, size=6.0)
    slow = [Terms(limit=limit, alpha=1.5e-4, size=10.0, blatant_s=75.0) for limit in (0.05, 0.2, 0.04, 0.16)]
    probes = Terms(limit=0.25, alpha=3e-4, size=10.0, least_s=40.0)
    every = [errors, *slow, probes]
    given = [(0.0, 300.0)] + [(300 * terms.limit / 2, 300.0) for terms in slow] + [(0.0, 3.0)]
    bets = [Bet() for _ in every]

    def sample() -> None:
        for bet, terms, (bad, of) in zip(bets, every, given, strict=True):
            bet.count(bad, of, terms, DT_S, 1.0, 3600.0)
        max(bet.log_evidence - terms.need for bet, terms in zip(bets, every, strict=True))

    past, histograms = a_past(dice)

    def bounds() -> None:
        error_bound(past, past[-2:])
        slow_bounds(histograms, histograms[-2:], 1.5)
        slow_bounds(histograms, histograms[-2:], 1.2, page=True)

    yield "one sample, 6 bets", _timed(sample, samples)
    yield "saving 6 bets as text", _timed(lambda: json.dumps([bet.to_plain() for bet in bets]), samples // 10)
    yield "all bounds of a release, once", _timed(bounds, 50)


def _timed(work: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return 1e6 * (time.process_time() - began) / times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    print("| cost | µs |\n|---|---|")
    for what, us in costs(options.samples, random.Random(options.seed)):
        print(f"| {what} | {us:.1f} |", flush=True)
    columns = " | ".join(f"blamed at α {alpha:g} | most" for alpha in ALPHAS)
    print(f"\n| releases at the limit | {columns} |\n|---|" + "---|" * (2 * len(ALPHAS)))
    broken = False
    for name, cell in CELLS.items():
        blamed = crossings(cell, random.Random(f"{options.seed} {name}"), options.releases)
        most = {alpha: quantile(options.releases, alpha, 0.999) for alpha in ALPHAS}
        broken |= any(blamed[alpha] > most[alpha] for alpha in ALPHAS)
        row = " | ".join(f"{blamed[a] / options.releases:.2%} | {most[a] / options.releases:.2%}" for a in ALPHAS)
        print(f"| {name} | {row} |", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
