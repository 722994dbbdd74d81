"""What counters say at two instants, and what happened in between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.counters import BOUNDS_MAX, FORGET_AFTER_S, SERIES_MAX, CounterBook, Sample, TooMany
from rollguard.core.model import GapKind, Reading

ERRORS, REQUESTS, LATENCY = "traffic.errors", "traffic.requests", "traffic.latency"
INF = math.inf


def errors(value: float, subject: str = "m1", series: str = "500", at: float | None = None) -> Sample:
    return Sample(ERRORS, subject, series, value, at=at)


def requests(value: float, subject: str = "m1", series: str = "200", at: float | None = None) -> Sample:
    return Sample(REQUESTS, subject, series, value, at=at)


def latency(*counts: float, series: str = "200", bounds: Sequence[float] = (0.1, 1.0, INF)) -> list[Sample]:
    return [Sample(LATENCY, "m1", series, n, bound) for bound, n in zip(bounds, counts, strict=True)]


def book() -> CounterBook:
    return CounterBook([ERRORS, REQUESTS])


def summary(readings: Sequence[Reading]) -> dict[str, float | GapKind | None]:
    return {f"{r.key.partition('.')[2]}@{r.subject}": r.gap or r.value for r in readings}


def test_the_first_sight_of_a_machine_says_nothing() -> None:
    assert book().take([requests(1000), errors(37)], 0.0) == []


def test_an_increase_is_dated_from_the_page_before() -> None:
    counted = book()
    counted.take([requests(1000)], 10.0)
    errors_reading, requests_reading = counted.take([requests(1060)], 25.0)
    assert requests_reading == Reading(key=REQUESTS, subject="m1", at=25.0, value=60.0, since=10.0)
    assert errors_reading.value == 0.0  # requests, and no series of errors: no errors


def test_a_series_born_at_37_is_37_where_its_machine_was_read_before() -> None:
    counted = book()
    counted.take([requests(1000)], 0.0)
    assert summary(counted.take([requests(1050), errors(37)], 15.0)) == {"errors@m1": 37.0, "requests@m1": 50.0}
    assert counted.take([requests(500, "m2"), errors(37, "m2")], 15.0) == []


def test_a_counter_that_drops_was_reset() -> None:
    counted = book()
    counted.take([requests(1000), requests(50, series="404")], 0.0)
    assert summary(counted.take([requests(8), requests(51, series="404")], 15.0))["requests@m1"] == 9.0


@pytest.mark.parametrize("value", [math.nan, INF, -INF, -1.0])
def test_an_unbelievable_value_is_a_gap_and_the_next_good_one_spans_the_longer_time(value: float) -> None:
    counted = book()
    counted.take([requests(100)], 0.0)
    assert summary(counted.take([requests(value)], 15.0)) == {"errors@m1": 0.0, "requests@m1": GapKind.NOT_A_NUMBER}
    reading = counted.take([requests(130)], 30.0)[1]
    assert (reading.value, reading.since) == (30.0, 0.0)


@pytest.mark.parametrize("first", [[errors(math.nan)], [errors(1), errors(2)]])
def test_counting_never_starts_from_an_unbelievable_page(first: list[Sample]) -> None:
    counted = book()
    counted.take([requests(100), *first], 0.0)
    assert "errors@m1" not in summary(counted.take([requests(110), errors(5000)], 15.0))
    assert summary(counted.take([requests(110), errors(5001)], 30.0))["errors@m1"] == 1.0


def test_after_a_page_with_lost_lines_a_new_series_need_not_be_newborn() -> None:
    counted = book()
    assert counted.take([requests(100)], 0.0, complete=False) == []
    assert summary(counted.take([requests(110), errors(5000)], 15.0)) == {"errors@m1": 0.0, "requests@m1": 10.0}
    assert summary(counted.take([requests(120), errors(5003)], 30.0)) == {"errors@m1": 3.0, "requests@m1": 10.0}


def test_the_same_series_twice_is_a_bad_answer() -> None:
    counted = book()
    counted.take([requests(100)], 0.0)
    twice = counted.take([requests(110), requests(111)], 15.0)
    assert summary(twice) == {"errors@m1": 0.0, "requests@m1": GapKind.BAD_ANSWER}


def test_samples_that_are_too_old_are_stale_and_later_ones_span_the_time() -> None:
    counted = CounterBook([REQUESTS], stale_after_s=40.0)
    counted.take([requests(100, at=1000.0)], 1010.0)
    (stale,) = counted.take([requests(100, at=1000.0)], 1041.0)
    assert (stale.gap, stale.detail) == (GapKind.STALE, "the newest sample is 41s old")
    (fresh,) = counted.take([requests(160, at=1050.0)], 1055.0)
    assert (fresh.value, fresh.since, fresh.until) == (60.0, 1000.0, 1050.0)


def test_one_fresh_series_is_enough_for_a_subject() -> None:
    counted = CounterBook([REQUESTS], stale_after_s=40.0)
    old = requests(7, series="500", at=0.0)
    counted.take([requests(100, at=1000.0), old], 1000.0)
    assert summary(counted.take([old, requests(101, at=1015.0)], 1015.0)) == {"requests@m1": 1.0}


def test_a_machine_that_pauses_is_continued_and_one_gone_for_an_hour_is_new() -> None:
    counted = book()
    counted.take([requests(100)], 0.0)
    counted.take([requests(1, "m2")], 1800.0)
    assert counted.take([requests(160)], 1815.0)[1].since == 0.0
    counted.take([requests(1, "m2")], 1816.0 + FORGET_AFTER_S)
    assert counted.take([requests(999)], 1817.0 + FORGET_AFTER_S) == []


def test_bucket_increases_are_summed_over_series_and_cumulative() -> None:
    counted = CounterBook([], [LATENCY])
    counted.take(latency(10, 20, 30), 0.0)
    (reading,) = counted.take([*latency(12, 25, 37), *latency(1, 2, 2, series="500")], 15.0)
    assert reading.buckets == ((0.1, 3.0), (1.0, 7.0), (INF, 9.0))
    assert reading.value == 9.0


def test_a_histogram_is_reset_as_a_whole() -> None:
    counted = CounterBook([], [LATENCY])
    counted.take(latency(1, 20, 30), 0.0)
    (reading,) = counted.take(latency(3, 5, 6), 15.0)
    assert reading.buckets == ((0.1, 3.0), (1.0, 5.0), (INF, 6.0))


@pytest.mark.parametrize(
    "changed", [latency(1, 2, bounds=(0.1, INF)), latency(1, 2, 3, bounds=(0.1, 0.5, INF)), latency(1, bounds=(0.1,))]
)
def test_other_bounds_are_a_gap_once(changed: list[Sample]) -> None:
    counted = CounterBook([], [LATENCY])
    counted.take(latency(10, 20, 30), 0.0)
    assert counted.take(changed, 15.0)[0].gap is GapKind.BAD_ANSWER
    if changed[-1].bound == INF:
        assert counted.take(changed, 30.0)[0].value == 0.0


def test_series_with_unequal_bounds_cannot_be_summed() -> None:
    counted = CounterBook([], [LATENCY])
    counted.take(latency(10, 20, 30), 0.0)
    page = [*latency(10, 20, 30), *latency(1, 1, series="500", bounds=(0.2, INF))]
    assert counted.take(page, 15.0)[0].gap is GapKind.BAD_ANSWER


def test_buckets_read_at_slightly_different_instants_stay_cumulative() -> None:
    counted = CounterBook([], [LATENCY])
    counted.take(latency(10, 20, 30), 0.0)
    assert counted.take(latency(15, 22, 32), 15.0)[0].buckets == ((0.1, 5.0), (1.0, 5.0), (INF, 5.0))


def test_a_page_that_is_not_one_apps_is_refused_and_not_remembered() -> None:
    counted = book()
    counted.take([requests(100)], 0.0)
    with pytest.raises(TooMany):
        counted.take([requests(1, series=f"s{n}") for n in range(SERIES_MAX + 1)], 15.0)
    with pytest.raises(TooMany):
        counted.take(latency(*range(BOUNDS_MAX + 1), bounds=[float(n) for n in range(BOUNDS_MAX + 1)]), 15.0)
    assert counted.take([requests(101)], 30.0)[1].value == 1.0


def test_memory_is_bounded_when_series_come_and_go_and_no_false_increase_is_born() -> None:
    counted = book()
    for page in range(20):
        readings = counted.take([requests(500, series=f"{page}/{n}") for n in range(1000)], page * 15.0)
        remembered = sum(len(row.series) for row in counted._rows.values())
        assert remembered <= 2 * SERIES_MAX * 2 + 1000
        if remembered == 1000:
            assert readings == []


def test_a_counter_that_shrinks_a_little_is_two_sources_in_turn_and_never_a_burst_of_requests() -> None:
    counted = book()
    counted.take([requests(1_000_000), errors(500)], 0.0)
    dip = counted.take([requests(999_900), errors(500)], 15.0)
    assert [(r.key, r.gap) for r in dip if r.gap] == [(REQUESTS, GapKind.BAD_ANSWER)]
    assert summary(counted.take([requests(1_000_000), errors(500)], 30.0))["requests@m1"] == 100.0


@given(st.lists(st.tuples(st.sampled_from(["read", "missed", "restarted"]), st.integers(0, 50)), max_size=40))
def test_increases_are_never_negative_and_sum_to_what_happened(story: list[tuple[str, int]]) -> None:
    counted, value, happened, told, read = book(), 100, 0, 0.0, 100
    counted.take([requests(value)], 0.0)
    for number, (what, count) in enumerate([*story, ("read", 0)], start=1):
        if what == "restarted" and read == value > 0:  # what was counted after the last reading dies unseen
            value = min(count, value // 2)  # a new process that has already counted more is not told from a dip
            happened += value
        else:
            value += count
            happened += count
        if what == "missed":
            continue
        increase = counted.take([requests(value)], number * 15.0)[1].value
        assert increase is not None
        assert increase >= 0
        told, read = told + increase, value
    assert told == happened


@given(st.lists(st.lists(st.integers(0, 1000), min_size=3, max_size=3), max_size=20))
def test_buckets_never_shrink_upwards_whatever_is_read(pages: list[list[int]]) -> None:
    counted = CounterBook([], [LATENCY])
    for number, counts in enumerate(pages):
        for reading in counted.take(latency(*map(float, counts)), number * 15.0):
            if reading.gap is not None:
                continue
            heights = [count for _, count in reading.buckets]
            assert heights == sorted(heights)
            assert min(heights) >= 0
            assert reading.value == heights[-1]
