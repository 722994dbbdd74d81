"""The bet where only a gauge is to be had."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest

from rollguard.core.evidence.bets import Terms
from rollguard.core.evidence.gauge import VALUES_MIN, GaugeBet, GaugeBound

DT_S, WATCH_S = 15.0, 3600.0
TERMS = Terms(limit=0.5, alpha=0.0003, size=10.0)


def p95s(seed: str, times: float = 1.0, count: int = 480, apart: float = 0.06) -> list[float]:
    """A P95 that wanders slowly around 200 ms, read every 15 s."""
    dice = random.Random(seed)
    level, values = 0.0, []
    for _ in range(count):
        level = 0.95 * level + dice.gauss(0, apart * 0.3)
        values.append(0.2 * times * math.exp(level))
    return values


def learnt(factor: float = 1.5) -> GaugeBound:
    bound = GaugeBound.learnt(p95s("before"), factor)
    assert bound is not None
    return bound


def found_after(values: list[float], bound: GaugeBound) -> int | None:
    """After so many values it is won, if ever."""
    bet = GaugeBet()
    for number, value in enumerate(values, 1):
        bet.count(value, bound, TERMS, DT_S, 1.0, WATCH_S)
        if bet.log_evidence >= TERMS.need:
            return number
    return None


def test_the_baseline_is_the_median_and_outliers_change_nothing() -> None:
    bound = learnt()
    assert bound.baseline == pytest.approx(0.2, rel=0.1)
    assert bound.limit == pytest.approx(1.5 * bound.baseline)
    shaken = GaugeBound.learnt([*p95s("before"), *[9.0] * 20])
    assert shaken is not None
    assert shaken.baseline == pytest.approx(bound.baseline, rel=0.02)
    assert shaken.sd == pytest.approx(bound.sd, rel=0.1)


def test_of_a_few_values_nothing_is_learnt() -> None:
    assert GaugeBound.learnt([0.2] * (VALUES_MIN - 1)) is None
    assert GaugeBound.learnt([0.2] * (VALUES_MIN - 1) + [math.nan, 0.0, -1.0, math.inf]) is None
    assert GaugeBound.learnt([0.2] * VALUES_MIN) is not None


def test_a_doubling_is_found_in_two_minutes_and_never_before_75_seconds() -> None:
    assert 5 <= (found_after(p95s("doubled", 2.0), learnt()) or 999) <= 8
    assert found_after([9.0] * 20, learnt()) == 5


def test_what_wanders_or_is_within_the_factor_is_not_blamed() -> None:
    for seed in "abcdefgh":
        assert found_after(p95s(seed, 1.0, 240), learnt()) is None
        assert found_after(p95s(seed, 1.2, 240), learnt()) is None


def test_a_worse_value_never_gives_less_evidence() -> None:
    found = []
    for percent in range(50, 400):
        bet = GaugeBet()
        bet.count(percent / 500, learnt(), TERMS, DT_S, 1.0, WATCH_S)
        found.append(bet.log_evidence)
    assert found == sorted(found)


def test_values_that_overlap_count_as_one() -> None:
    often, seldom = GaugeBet(), GaugeBet()
    slow = replace(TERMS, least_s=1e-9)
    often.count(0.25, learnt(), slow, 5.0, 1.0, WATCH_S)
    seldom.count(0.25, learnt(), slow, 30.0, 1.0, WATCH_S)
    assert abs(often.log_evidence - math.log(0.5)) < abs(seldom.log_evidence - math.log(0.5))


def test_resumed_at_any_cut_it_goes_on_to_the_last_bit() -> None:
    whole, resumed = GaugeBet(), GaugeBet()
    for value in p95s("resumed", 1.4, 40):
        whole.count(value, learnt(), TERMS, DT_S, 1.0, WATCH_S)
        resumed.count(value, learnt(), TERMS, DT_S, 1.0, WATCH_S)
        resumed = GaugeBet.from_plain(json.loads(json.dumps(resumed.to_plain())))
        assert resumed == whole


def test_what_no_bet_was_saved_as_is_refused() -> None:
    with pytest.raises(ValueError, match="mixture"):
        GaugeBet.from_plain([0.5, 0, 0, 0, 0, 0])
