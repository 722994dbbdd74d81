"""Probes of both cohorts in the same seconds."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.matched import Asked, Matched

FAILED = st.integers(0, 4).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))
ASKED = st.tuples(FAILED, FAILED).map(lambda pair: Asked(*pair[0], *pair[1]))
SECONDS = st.lists(st.lists(ASKED, max_size=2), max_size=20)


def after(seconds: list[list[Asked]]) -> Matched:
    matched = Matched()
    for second, regions in enumerate(seconds):
        matched.take(float(second), regions)
    return matched


def test_a_new_machine_that_is_down_is_found_within_15_s_of_probes() -> None:
    matched = after([[Asked(1, 1, 0, 3)]] * 30)
    assert matched.fired_at is not None
    assert matched.fired_at <= 15


def test_one_that_goes_down_after_a_healthy_minute_is_found_within_20_s() -> None:
    matched = Matched()
    for number in range(12):
        matched.take(number * 5.0, [Asked(0, 1, 0, 3)])
    for second in range(56, 90):
        matched.take(float(second), [Asked(1, 1, 0, 3)])
    assert matched.fired_at is not None
    assert matched.fired_at <= 55 + 20


@pytest.mark.parametrize("share", [0.2, 0.4, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("new", [1, 2, 3])
def test_an_outage_that_hits_all_machines_never_fires(share: float, new: int) -> None:
    dice = random.Random(f"outage {share} {new}")
    for _ in range(40):
        matched = Matched()
        for second in range(90):
            failed = [dice.random() < share for _ in range(4)]
            matched.take(float(second), [Asked(sum(failed[:new]), new, sum(failed[new:]), 4 - new)])
        assert matched.fired_at is None


def test_outages_that_hit_all_machines_hardly_ever_agree() -> None:
    """Its bar is one of 300; over 600 deploys in which all fail alike."""
    dice, agreed = random.Random("outages"), 0
    for number in range(600):
        matched, share, new = Matched(), dice.choice([0.2, 0.4, 0.6, 0.8]), 1 + number % 3
        for second in range(60):
            failed = [dice.random() < share for _ in range(4)]
            matched.take(float(second), [Asked(sum(failed[:new]), new, sum(failed[new:]), 4 - new)])
        agreed += matched.agreed_at is not None
    assert agreed <= 2


def test_a_deploy_that_is_over_after_a_few_bad_seconds_has_agreed_before_it_could_fire() -> None:
    matched = after([[Asked(1, 1, 0, 3)]] * 10)
    assert matched.fired_at is None
    assert matched.agreed_at is not None
    assert after([[Asked(1, 1, 0, 3)]] * 5).agreed_at is None


def test_seconds_in_which_half_of_the_old_machines_fail_are_no_evidence() -> None:
    matched = after([[Asked(1, 1, 1, 2)]] * 60)
    assert matched.log_evidence <= 0
    assert matched.fired_at is None


def test_a_region_whose_old_machines_fail_is_left_out() -> None:
    """Amsterdam is out, and most new machines are there; in Frankfurt nothing is wrong."""
    assert after([[Asked(3, 3, 1, 1), Asked(0, 1, 0, 3)]] * 60).log_evidence < 0


def test_seconds_in_which_one_cohort_was_asked_are_no_evidence() -> None:
    assert after([[Asked(2, 2, 0, 0)]] * 60).log_evidence == pytest.approx(math.log(0.5 + 0.5 * 60 / 300))
    assert after([[Asked(0, 0, 0, 2)]] * 60) == Matched()


def test_one_failing_new_machine_of_four_is_not_the_release() -> None:
    assert after([[Asked(1, 4, 0, 4)]] * 120).fired_at is None
    assert after([[Asked(2, 4, 0, 4)]] * 120).fired_at is None
    assert after([[Asked(3, 4, 0, 4)]] * 120).fired_at is not None


def test_whether_most_new_machines_fail_now_may_be_told() -> None:
    matched = Matched()
    for second in range(60):
        matched.take(float(second), [Asked(2, 2, 0, 2)], new_failing_now=False)
    assert matched.log_evidence > matched.need
    assert matched.fired_at is None
    matched.take(60.0, [Asked(2, 2, 0, 2)], new_failing_now=True)
    assert matched.fired_at == 60.0


def test_no_second_counts_for_more_than_its_tenth() -> None:
    """Evidence of all alternatives at once, which is more than the limit is made for, still takes nine seconds."""
    assert after([[Asked(40, 40, 0, 40)]] * 30).fired_at == 8.0


@given(SECONDS, st.integers(0, 20))
def test_resumed_at_any_cut_it_goes_on_to_the_last_bit(seconds: list[list[Asked]], cut: int) -> None:
    matched = after(seconds[:cut])
    matched = Matched.from_plain(json.loads(json.dumps(matched.to_plain())))
    for second, regions in enumerate(seconds[cut:], start=min(cut, len(seconds))):
        matched.take(float(second), regions)
    assert matched == after(seconds)


@given(SECONDS, ASKED)
def test_more_failures_on_new_machines_never_lower_it(seconds: list[list[Asked]], last: Asked) -> None:
    rising = [after([*seconds, [last._replace(new_failed=failed)]]) for failed in range(int(last.new) + 1)]
    evidence = [matched.log_evidence for matched in rising]
    assert evidence == sorted(evidence)


@given(SECONDS, st.tuples(*[st.sampled_from([-1.0, math.nan, math.inf, 1e300])] * 4), st.sampled_from([math.nan, -1.0]))
def test_impossible_counts_and_times_change_nothing(
    seconds: list[list[Asked]], hostile: tuple[float, float, float, float], at: float
) -> None:
    matched, untouched = after([[Asked(0, 1, 0, 1)], *seconds]), after([[Asked(0, 1, 0, 1)], *seconds])
    matched.take(1e3, [Asked(*hostile)])
    matched.take(at, [Asked(1, 1, 0, 1)])
    matched.take(math.inf, [Asked(1, 1, 0, 1)])
    if hostile[:2] != (1e300, 1e300):
        assert matched == untouched


@pytest.mark.parametrize("plain", [[], [0.1, 0.2, None, None, []], ["x", 0.2, None, None, [1.0, 0, 0, 0, 0, 0]]])
def test_what_is_no_kept_test_is_refused(plain: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Matched.from_plain(plain)
