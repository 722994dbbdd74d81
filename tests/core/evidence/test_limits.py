"""Limits of a share, and how much more it wanders than chance lets it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.limits import USUAL_VARIATION, Trial, lower, upper, wandering
from tests.core.evidence.draws import poisson

USUAL = math.sqrt(math.log1p(USUAL_VARIATION))


def two_hours(events: float, apart: float = 0.0) -> list[Trial]:
    """24 blocks of 6,000 requests in which so many ``events`` are expected; the level strays by ``apart`` (log-sd)."""
    dice = random.Random("two hours")
    return [(float(poisson(dice, events * math.exp(dice.gauss(0, apart)))), 6000.0) for _ in range(24)]


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.1, 3.0))
def test_the_limits_of_a_share_lie_on_both_sides_of_it(trial: tuple[int, int], z: float) -> None:
    bad, of = trial
    assert 0 <= lower(bad, of, z) <= bad / of < upper(bad, of, z)


def test_where_nothing_was_counted_a_share_may_be_anything() -> None:
    assert (lower(0, 0, 1.0), upper(0, 0, 1.0)) == (0.0, math.inf)


def test_an_app_that_strays_by_itself_wanders_that_much() -> None:
    assert wandering(two_hours(600, apart=0.6)) == pytest.approx(0.6, abs=0.15)
    assert wandering(two_hours(600)) < USUAL < wandering(two_hours(600, apart=0.6))


def test_of_few_events_it_is_believed_to_wander_as_apps_do() -> None:
    assert wandering([]) == wandering([(3.0, 100.0)]) == wandering([(0.0, 100.0)] * 24) == USUAL
    assert wandering(two_hours(1)) == pytest.approx(USUAL, abs=0.03)


def test_blocks_of_few_events_say_less_than_blocks_of_many() -> None:
    """Half of the blocks have four times the share of the others, in either case."""
    few, many = ([(share * n, n) for share in (0.001, 0.004)] * 12 for n in (3000.0, 300_000.0))
    assert wandering(few) < wandering(many)


@given(st.lists(st.floats(0, 1e12).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))), max_size=30))
def test_whatever_blocks_hold_it_is_a_finite_number(blocks: list[Trial]) -> None:
    assert 0 <= wandering(blocks) < math.inf
