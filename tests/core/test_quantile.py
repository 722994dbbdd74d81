"""Quantiles from histograms: where the true value must lie, and what is no evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.finding import Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Quantile
from rollguard.core.ratios import Measure, quantile, quantile_at
from tests.builders import GOOD, NOON, a_policy, a_rule, a_tenure, a_view, bucketed, evidence, readings, windows

INF = math.inf
BOUNDS = (0.1, 0.5, 1.0, 5.0)


def a_quantile(**but: float) -> Quantile:
    """P95 above 3 s, of at least 100 requests within a minute."""
    settings: dict[str, float] = {"q": 0.95, "over_s": 60.0, "limit": 3.0, "min_count": 100.0} | but
    return Quantile(key="traffic.latency", above=True, **settings)


def measure(*rows: Reading, view: object = None, **but: float) -> Measure:
    return quantile_at(a_quantile(**but), a_policy(), view or a_view(), windows(rows), NOON)  # type: ignore[arg-type]


def finding(*rows: Iterable[Reading], now: float = NOON, **but: object) -> Finding:
    return judge(a_rule(a_quantile(), name="slow"), evidence(*rows, **but), now)


def spread(counts: Mapping[float, float], **but: object) -> Reading:
    """A histogram with all of ``BOUNDS``."""
    return bucketed(dict.fromkeys(BOUNDS, 0.0) | counts, **but)  # type: ignore[arg-type]


# -- the number --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q, counts, value",
    [
        (0.5, {1.0: 100}, 0.75),  # halfway into the bucket from 0.5 to 1
        (0.5, {0.1: 100}, 0.05),  # the first bucket begins at 0
        (0.95, {0.1: 90, 5.0: 10}, 3.0),
        (0.95, {0.1: 95, 5.0: 5}, 0.1),  # exactly at a bound
        (0.95, {0.1: 50, INF: 50}, 5.0),  # beyond the last bound nobody knows how far
        (1.0, {0.1: 1, 0.5: 1}, 0.5),
    ],
)
def test_a_quantile_is_interpolated_inside_its_bucket(q: float, counts: dict[float, float], value: float) -> None:
    assert measure(spread(counts), q=q, min_count=0.0).value == pytest.approx(value)


@given(st.lists(st.floats(0.001, 4.999), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_true_quantile_lies_in_the_same_bucket(durations: list[float], q: float) -> None:
    """Against brute force: the smallest duration that at least a share q of all does not exceed."""
    counts = dict.fromkeys(BOUNDS, 0.0)
    for duration in durations:
        counts[min(b for b in BOUNDS if duration <= b)] += 1
    buckets = bucketed(counts).buckets
    ranked = sorted(durations)
    true = next(d for i, d in enumerate(ranked, start=1) if i >= q * len(ranked))
    upper = min(b for b in BOUNDS if true <= b)
    lower = max((b for b in BOUNDS if b < upper), default=0.0)
    assert lower <= quantile(q, buckets) <= upper


@given(
    st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
)
def test_a_higher_quantile_is_never_lower(counts: list[int], one: float, other: float) -> None:
    buckets = bucketed(dict(zip((*BOUNDS, INF), counts, strict=True))).buckets
    assert quantile(min(one, other), buckets) <= quantile(max(one, other), buckets)


# -- whose requests ----------------------------------------------------------------------------------------------------


def test_histograms_of_all_the_releases_machines_are_added() -> None:
    got = measure(spread({0.1: 90}), spread({5.0: 10}, subject="m2"), view=a_view(2))
    assert (got.count, got.value) == (100, pytest.approx(3.0))


def test_machines_of_another_digest_are_left_out() -> None:
    view = a_view(1, others=[a_tenure("m2", GOOD)])
    assert measure(spread({0.1: 100}), spread({5.0: 900}, subject="m2"), view=view).value == pytest.approx(0.095)


def test_histograms_with_different_bounds_are_added_where_both_know() -> None:
    """0.1 and 5 are in both: 50 and 100 at 0.1, all 200 at 5."""
    one = bucketed({0.1: 50, 1.0: 25, 5.0: 25})
    two = bucketed({0.1: 50, 2.0: 0, 5.0: 50}, subject="m2")
    got = measure(one, two, view=a_view(2), q=0.5)
    assert (got.count, got.value) == (200, pytest.approx(0.1))


def test_histograms_without_a_common_bound_say_nothing() -> None:
    got = measure(bucketed({0.1: 100}), bucketed({0.2: 100}, subject="m2"), view=a_view(2))
    assert (got.value, got.newest_at) == (None, NOON)


def test_a_machine_without_requests_has_no_say_about_the_bounds() -> None:
    empty = Reading(key="traffic.latency", subject="m2", at=NOON, since=NOON - 15, value=0.0)
    assert measure(spread({1.0: 100}), empty, view=a_view(2), q=0.5).value == pytest.approx(0.75)


def test_an_increase_that_spans_the_machines_start_is_left_out() -> None:
    view = a_view(cohort=(a_tenure("m1", since=NOON - 5),))
    assert measure(spread({5.0: 1000}), view=view).value is None


def test_window_edges_are_those_of_every_rule() -> None:
    old, new = spread({5.0: 1000}, at=NOON - 60), spread({0.1: 100})
    assert measure(old, new).count == 100
    assert measure(spread({5.0: 1000}, at=NOON - 59), new).count == 1100


# -- enough of them ----------------------------------------------------------------------------------------------------


def test_less_than_the_minimum_is_no_verdict() -> None:
    assert measure(spread({5.0: 99})).value is None
    assert measure(spread({5.0: 100})).value is not None
    found = finding([spread({5.0: 99})])
    assert found.state is RuleState.CLEAR
    assert "too little traffic to judge, 99 of 100" in found.sentence


def test_no_requests_are_no_quantile_even_without_a_minimum() -> None:
    assert measure(spread({}), min_count=0.0).value is None


def test_the_onset_is_the_first_reading_of_the_window() -> None:
    found = finding([spread({5.0: 100}, at=NOON - 30), spread({5.0: 100})])
    assert found.since == NOON - 30


def test_the_guards_own_probes_do_not_make_up_the_minimum() -> None:
    """110 requests in the fifteen seconds before noon, 3 + 3 of them ours, and then a dozen."""
    ours = [readings("ok ok ok ok", subject=subject) for subject in ("m1", EDGE)]
    assert finding([spread({5.0: 106})], *ours).firing
    assert finding([spread({5.0: 105})], *ours).state is RuleState.CLEAR


def test_a_finding_says_value_limit_and_since_when() -> None:
    found = finding([spread({5.0: 100})])
    assert found.sentence == "traffic.latency q0.95 4.8 s of 100 in 1 m, above 3 s since 12:00:00Z"
    assert (found.value, found.limit, found.since) == (pytest.approx(4.8), 3.0, NOON)


def test_a_silent_source_makes_the_guard_blind() -> None:
    assert finding([spread({0.1: 200})], now=NOON + 51).state is RuleState.BLIND
