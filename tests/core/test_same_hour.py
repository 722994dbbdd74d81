"""The same hour of earlier days: what always comes at this time of the day is not the release's doing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.core.baseline import measure_of
from rollguard.core.relative.relatives import Relatives
from rollguard.core.same_hour import BOUNDS_MAX, DAYS, LEAST, MEASURES_MAX, MOST, SameHours
from tests.builders import BAD, DAY, HOUR, MINUTE, NOON
from tests.core.relative.released import ERRORS as ERRORS_OF
from tests.core.relative.released import MORE_ERRORS, Released

WATCH = HOUR
ERRORS = "traffic.errors / traffic.requests #1"


def week(level_at: dict[int, float], *, days: int = DAYS, usual: float = 0.01, per_hour: float = 10_000.0) -> SameHours:
    """So many days up to noon today; ``level_at`` are the shares of errors at some hours of the day."""
    hours = SameHours()
    for hour in range(-2, days * 24):
        start = NOON - days * DAY + hour * HOUR
        share = level_at.get(int(start // HOUR) % 24, usual)
        for quarter in range(4):
            hours.add(ERRORS, start + quarter * 15 * MINUTE, share * per_hour / 4, per_hour / 4)
    return hours


def test_an_hour_that_is_worse_every_day_lifts_the_baseline_by_as_much_within_bounds() -> None:
    assert week({12: 0.013}).lift(ERRORS, NOON, WATCH).times == pytest.approx(1.3, rel=0.02)
    assert week({12: 0.05}).lift(ERRORS, NOON, WATCH).times == MOST
    assert week({12: 0.001}).lift(ERRORS, NOON, WATCH).times == LEAST


def test_the_sentence_says_on_how_many_days_it_was_so() -> None:
    said = week({12: 0.05}).lift(ERRORS, NOON, WATCH).sentence
    assert said == "at this hour of 7 earlier days it was 50 % worse than before, too"
    assert week({}).lift(ERRORS, NOON, WATCH).sentence == ""


def test_what_moves_by_a_fifth_or_less_is_left_alone() -> None:
    assert week({12: 0.0118}).lift(ERRORS, NOON, WATCH).times == 1.0
    assert week({}).lift(ERRORS, NOON, WATCH).times == 1.0


def test_an_hour_that_only_the_end_of_the_watch_meets_counts_and_one_that_it_hardly_touches_does_not() -> None:
    known = week({13: 0.05})
    assert known.lift(ERRORS, NOON + 6 * MINUTE, WATCH).times == MOST
    assert known.lift(ERRORS, NOON + 2 * MINUTE, WATCH).times == 1.0


def test_one_bad_day_is_no_habit() -> None:
    hours = week({})
    for quarter in range(4):
        hours.add(ERRORS, NOON - DAY + quarter * 15 * MINUTE, 2400.0, 2500.0)
    assert hours.lift(ERRORS, NOON, WATCH).times == 1.0
    assert week({12: 0.05}, days=1).lift(ERRORS, NOON, WATCH).times == 1.0
    assert week({12: 0.05}, days=2).lift(ERRORS, NOON, WATCH).times == MOST


def test_what_is_bad_today_already_does_not_count_as_an_earlier_day() -> None:
    hours = week({})
    hours.add(ERRORS, NOON + MINUTE, 900.0, 1000.0)
    assert hours.lift(ERRORS, NOON + 2 * MINUTE, WATCH).times == 1.0


def test_hours_with_hardly_any_traffic_say_nothing() -> None:
    assert week({12: 0.5}, per_hour=40.0).lift(ERRORS, NOON, WATCH).times == 1.0


def test_a_histogram_is_asked_at_a_bound_that_it_has() -> None:
    hours = SameHours()
    for hour in range(3 * 24):
        at = NOON - 3 * DAY + hour * HOUR
        slow = 300.0 if int(at // HOUR) % 24 == 12 else 200.0
        hours.add("latency", at, 0.0, 4000.0, ((0.1, 3000.0), (0.5, 4000.0 - slow), (math.inf, 4000.0)))
    assert hours.lift("latency", NOON, WATCH, bound_s=0.5).times == pytest.approx(1.5, rel=0.01)
    assert hours.lift("latency", NOON, WATCH, bound_s=0.1).times == 1.0
    assert hours.lift("latency", NOON, WATCH, bound_s=0.25).days == 0


def test_an_unknown_measure_and_an_empty_memory_move_nothing() -> None:
    assert SameHours().lift(ERRORS, NOON, WATCH).times == 1.0
    assert week({12: 0.05}).lift("another", NOON, WATCH).times == 1.0


def test_what_was_kept_says_the_same_again() -> None:
    known = week({12: 0.05})
    known.add("latency", NOON, 0.0, 100.0, ((0.1, 60.0), (math.inf, 100.0)))
    again = SameHours.from_text(known.to_text())
    assert again == known
    assert again.to_text() == known.to_text()


def test_a_clock_that_was_far_ahead_for_a_while_does_not_stop_the_counting() -> None:
    hours = SameHours()
    hours.add(ERRORS, NOON + 400 * DAY, 1.0, 1000.0)
    hours.add(ERRORS, NOON, 2.0, 1000.0)
    assert [hour.bad for hour in hours.hours[ERRORS].values()] == [2.0]


@pytest.mark.parametrize("share, times", [(0.05, 1.5), (0.01, 1.0), (0.0001, 1.0)])
def test_a_release_before_an_hour_that_is_worse_every_day_is_given_as_much_more(share: float, times: float) -> None:
    """An hour that is better every day takes nothing away."""
    usual, lifted = Released(rules=(MORE_ERRORS,)), Released(rules=(MORE_ERRORS,))
    measure = measure_of(ERRORS_OF, lifted.policy)
    known = week({12: share})
    lifted.relatives = Relatives(lifted.policy)
    lifted.relatives.hours = SameHours({measure: known.hours[ERRORS]})
    lifted.relatives.arm(BAD, lifted.baseline, lifted.evidence, NOON)
    for world in (usual, lifted):
        for _ in range(12):
            world.step()
    before, after = usual.finding(MORE_ERRORS), lifted.finding(MORE_ERRORS)
    assert before.limit is not None
    assert after.limit == pytest.approx(before.limit * times)
    assert ("at this hour of 7 earlier days it was 50 % worse" in after.sentence) is (times > 1.0)
    again = Relatives(lifted.policy)
    again.restore(lifted.relatives.to_text())
    assert again.to_text() == lifted.relatives.to_text()


def test_it_stays_small_whatever_comes() -> None:
    hours = SameHours()
    bounds = tuple((float(n), 10.0) for n in range(1, 200))
    for hour in range(40 * 24):
        hours.add(ERRORS, NOON + hour * HOUR, 1.0, 1000.0, bounds)
    for number in range(100):
        hours.add(f"m{number}", NOON, 1.0, 1000.0)
    assert len(hours.hours) == MEASURES_MAX
    assert len(hours.hours[ERRORS]) <= (DAYS + 1) * 24
    assert all(len(hour.slower) <= BOUNDS_MAX for hour in hours.hours[ERRORS].values())
    assert len(week({12: 0.013}).to_text()) < 8000


@pytest.mark.parametrize(
    "kept",
    [
        *(
            "",
            "{}",
            "[]",
            "null",
            '{"format":2,"hours":{}}',
            '{"format":1,"hours":[]}',
            '{"format":1,"hours":{"m":[1]}}',
        ),
        *('{"format":1,"hours":{"m":[[1,NaN,2,[]]]}}', '{"format":1,"hours":{"m":[[Infinity,0,2,[]]]}}'),
        *(json.dumps({"format": 1, "hours": {"m": [row]}}) for row in ([1, 2], [1, -1, 2, []], [1, 5, 2, []])),
        json.dumps({"format": 1, "hours": {"m": [[1, 0, 2, [[0.1, 3]]]]}}),
    ],
)
def test_what_it_did_not_write_is_refused(kept: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SameHours.from_text(kept)


KNOWN = week({12: 0.02}, days=3).to_text()
WILD = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.one_of(WILD, st.floats(NOON - 9 * DAY, NOON)), WILD, WILD, st.lists(st.tuples(WILD, WILD))),
        max_size=20,
    ),
    WILD,
)
def test_no_data_whatever_raises_or_moves_the_baseline_beyond_its_bounds(
    rows: list[tuple[float, float, float, list[tuple[float, float]]]], bound_s: float
) -> None:
    hours = SameHours.from_text(KNOWN)
    for at, bad, total, buckets in rows:
        hours.add(ERRORS, at, bad, total, tuple(buckets))
    assert LEAST <= hours.lift(ERRORS, NOON, WATCH).times <= MOST
    assert LEAST <= hours.lift(ERRORS, NOON, WATCH, bound_s).times <= MOST
    assert SameHours.from_text(hours.to_text()) == hours
