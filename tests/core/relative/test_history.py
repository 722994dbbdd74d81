"""The newest two hours of an app, block by block."""

from __future__ import annotations

import math

from rollguard.core.relative.counts import Count, Counts
from rollguard.core.relative.history import BLOCK_S, History, Sum

BUCKETS = ((0.1, 80.0), (math.inf, 100.0))


def counts(at: float, *, bad: float = 1.0, buckets: tuple[tuple[float, float], ...] = (), machines: int = 2) -> Counts:
    """100 requests of each machine in the 15 s up to ``at``."""
    every = [Count(f"m{n}", at - 15.0, at, True, 900.0, 100.0, bad, buckets) for n in range(machines)]
    return Counts(at, 15.0, 1.0, tuple(every))


def test_a_block_that_is_over_is_told_once_with_all_machines_in_it() -> None:
    history, told = History(), []
    for number in range(1, 62):  # three blocks of five minutes
        told += history.add(counts(15.0 * number))
    # An interval belongs to the block of its end: 19 of them to the first.
    assert told == [Sum(0.0, 38.0, 3800.0, ()), Sum(BLOCK_S, 40.0, 4000.0, ()), Sum(2 * BLOCK_S, 40.0, 4000.0, ())]


def test_of_histograms_the_buckets_are_added_up() -> None:
    history = History()
    history.add(counts(15.0, buckets=BUCKETS))
    history.add(counts(30.0, buckets=BUCKETS))
    (ended,) = history.add(counts(BLOCK_S + 15.0, buckets=BUCKETS))
    assert ended.buckets == ((0.1, 320.0), (math.inf, 400.0))


def test_a_histogram_with_other_bounds_ends_the_block_before_it() -> None:
    history = History()
    history.add(counts(15.0, buckets=BUCKETS, machines=1))
    (ended,) = history.add(counts(30.0, buckets=((0.2, 90.0), (math.inf, 100.0)), machines=1))
    assert ended == Sum(0.0, 1.0, 100.0, BUCKETS)


def test_a_block_that_was_kept_without_machines_is_one_in_which_nothing_was_counted() -> None:
    history = History.from_plain([[0, [0.1], 2, {}]])
    (ended,) = history.add(counts(BLOCK_S + 15.0, buckets=BUCKETS))
    assert ended == Sum(0.0, 0.0, 0.0, ((0.1, 0.0), (math.inf, 0.0)))
