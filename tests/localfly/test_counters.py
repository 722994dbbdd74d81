"""What the edge and the app count comes out as Prometheus text, selected as a federation asks for it."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from rollguard.localfly.counters import BOUNDS_S, ResponseCounter, exposition, selector
from rollguard.localfly.hotdash import LATENCY_SIGMA


def counter() -> ResponseCounter:
    counted = ResponseCounter(count="hits", time="hit_seconds", labels=("instance", "status"))
    counted.observe(("m1", "200"), 0.1)
    counted.observe(("m1", "200"), 99.0)
    counted.observe(("m2", "500"), 0.2)
    return counted


def test_a_series_is_born_with_its_first_response_and_not_before() -> None:
    text = exposition(counter().samples()).decode()
    assert 'hits{instance="m1",status="200"} 2\n' in text
    assert 'instance="m1",status="500"' not in text


def test_buckets_are_cumulative_and_end_in_infinity() -> None:
    text = exposition(counter().samples()).decode()
    assert 'hit_seconds_bucket{instance="m1",status="200",le="0.05"} 0\n' in text
    assert 'hit_seconds_bucket{instance="m1",status="200",le="0.1"} 1\n' in text  # le: the bound is inside
    assert 'hit_seconds_bucket{instance="m1",status="200",le="30"} 1\n' in text
    assert 'hit_seconds_bucket{instance="m1",status="200",le="+Inf"} 2\n' in text
    assert 'hit_seconds_count{instance="m1",status="200"} 2\n' in text
    assert 'hit_seconds_sum{instance="m1",status="200"} 99.1\n' in text


def test_each_family_is_announced_once() -> None:
    lines = exposition(counter().samples()).decode().splitlines()
    assert [line for line in lines if line.startswith("#")] == ["# TYPE hits counter", "# TYPE hit_seconds histogram"]


def test_big_counts_keep_every_digit() -> None:
    counted = ResponseCounter(count="hits", time="t", labels=())
    for _ in range(1_234_567):
        counted.observe((), 0.0)
    assert "hits 1234567\n" in exposition(counted.samples()).decode()


def test_a_label_value_cannot_break_out_of_its_quotes() -> None:
    counted = ResponseCounter(count="hits", time="t", labels=("path",))
    counted.observe(('a"} 9\n\\',), 0.0)
    assert exposition(counted.samples()).decode().splitlines()[1] == 'hits{path="a\\"} 9\\n\\\\"} 1'


def test_machines_that_are_gone_are_forgotten() -> None:
    counted = counter()
    counted.forget_all_but("instance", frozenset(["m2"]))
    assert "m1" not in exposition(counted.samples()).decode()


@pytest.mark.parametrize(
    ("match", "count"),
    [
        ("hits", 2),
        ('hits{status="500"}', 1),
        ('{__name__="hits"}', 2),
        ('{__name__=~"hits|nothing", instance="m1"}', 1),
        ('{__name__=~"hit.*_count",status!~"5.."}', 1),
        ('hits{status!="200"}', 1),
        ('hits{nothing=""}', 2),
        ('hits{status="5.."}', 0),
    ],
)
def test_a_selector_selects_as_prometheus_would(match: str, count: int) -> None:
    text = exposition(counter().samples(), match=selector(match), at_ms=7).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == count
    assert all(line.endswith(" 7") for line in samples)


@pytest.mark.parametrize("match", ["", "{}", "hits{", 'hits{a="b"', "a b", "x{a=b}", '{a=~"("}', "x" * 501])
def test_what_is_no_selector_is_refused(match: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        selector(match)


def p95_s(median_s: float) -> float:
    """The 95th percentile of 20,000 pages, as a histogram's reader estimates it."""
    dice, counted = random.Random(1), ResponseCounter(count="hits", time="hit_seconds", labels=())
    for _ in range(20_000):
        counted.observe((), dice.lognormvariate(math.log(median_s), LATENCY_SIGMA))
    sums = [value for _, _, series, value in counted.samples() if series["__name__"] == "hit_seconds_bucket"]
    edges = list(zip((0.0, *BOUNDS_S), (0.0, *sums), strict=False))
    (low_s, below), (high_s, upto) = next(pair for pair in pairwise(edges) if pair[1][1] >= 0.95 * sums[-1])
    return low_s + (high_s - low_s) * (0.95 * sums[-1] - below) / (upto - below)


def test_the_buckets_tell_a_page_that_is_slower_by_a_third_from_one_that_is_by_four_fifths() -> None:
    usual_s = p95_s(0.08)
    assert 1.2 < p95_s(0.08 * 1.3) / usual_s < 1.5
    assert 1.5 < p95_s(0.08 * 1.8) / usual_s < 2.0
