"""The live test: machines on the new image against those on the old one, in the same seconds."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.live import Live, LiveTerms, old_are_bad_too, only_new_are_bad
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.strata import Stratum, Tally
from tests.core.evidence.draws import binomial

ERRORS = LiveTerms.errors()
LEVELS = Levels({"n0": 1.2, "o0": 0.8})
KNOWN = Levels()
SCRAPE_S = 15.0

TALLY = st.integers(0, 300).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))
COHORT = st.lists(TALLY, max_size=4)
HOSTILE = st.tuples(
    st.sampled_from([-1.0, math.nan, math.inf, 1e300, 5.0]), st.sampled_from([-1.0, math.nan, math.inf, 1e300, 4.0])
)


def tallies(prefix: str, counts: Sequence[tuple[float, float]]) -> tuple[Tally, ...]:
    return tuple(Tally(f"{prefix}{i}", bad, of) for i, (bad, of) in enumerate(counts))


def stratum(number: int, new: Sequence[tuple[float, float]], old: Sequence[tuple[float, float]]) -> Stratum:
    return Stratum(at=SCRAPE_S * number, dt_s=SCRAPE_S, new=tallies("n", new), old=tallies("o", old))


SCRAPES = st.lists(st.tuples(COHORT, COHORT), max_size=8).map(
    lambda found: [stratum(number, new, old) for number, (new, old) in enumerate(found)]
)


def after(scrapes: Sequence[Stratum], terms: LiveTerms = ERRORS) -> Live:
    live = Live(terms)
    for scrape in scrapes:
        live.take([scrape], LEVELS)
    return live


# -- properties --------------------------------------------------------------------------------------------------------


@given(SCRAPES, st.randoms())
def test_the_order_of_machines_does_not_matter(scrapes: list[Stratum], dice: random.Random) -> None:
    mixed = [
        s._replace(new=tuple(dice.sample(s.new, len(s.new))), old=tuple(dice.sample(s.old, len(s.old))))
        for s in scrapes
    ]
    assert after(mixed).to_plain() == after(scrapes).to_plain()


@given(SCRAPES, st.lists(TALLY, min_size=1, max_size=4), COHORT, st.integers(0, 3), st.integers(1, 300))
def test_more_bad_ones_on_new_machines_never_lower_the_evidence_of_their_scrape(
    before: list[Stratum],
    new: list[tuple[float, float]],
    old: list[tuple[float, float]],
    which: int,
    extra: int,
) -> None:
    worse = list(new)
    bad, of = worse[which % len(worse)]
    worse[which % len(worse)] = (min(bad + extra, of), of)
    as_it_was, as_worse = (after([*before, stratum(99, counts, old)]) for counts in (new, worse))
    assert as_worse.log_evidence >= as_it_was.log_evidence - 1e-9
    assert as_worse.agrees.log_evidence >= as_it_was.agrees.log_evidence - 1e-9
    assert as_worse.above >= as_it_was.above


@given(SCRAPES, st.integers(0, 8))
def test_resumed_at_any_cut_it_goes_on_to_the_last_bit(scrapes: list[Stratum], cut: int) -> None:
    live = after(scrapes[:cut])
    live = Live.from_plain(json.loads(json.dumps(live.to_plain())))
    for scrape in scrapes[cut:]:
        live.take([scrape], LEVELS)
    assert live == after(scrapes)


@given(SCRAPES, st.lists(HOSTILE, min_size=1, max_size=3), st.lists(HOSTILE, max_size=3))
def test_impossible_counts_are_as_if_the_machine_had_not_been_read(
    scrapes: list[Stratum], new: list[tuple[float, float]], old: list[tuple[float, float]]
) -> None:
    spoilt = [s._replace(new=(*s.new, *tallies("x", new)), old=(*s.old, *tallies("y", old))) for s in scrapes]
    assert after(spoilt) == after(scrapes)


@given(SCRAPES, st.sampled_from([math.nan, math.inf, -math.inf, -5.0, 0.0]))
def test_a_scrape_that_is_not_after_the_last_one_changes_nothing(scrapes: list[Stratum], at: float) -> None:
    live = after([stratum(0, [(1, 300)], [(1, 300)]), *scrapes[1:]])
    before = live.to_plain()
    live.take([Stratum(at=at, dt_s=SCRAPE_S, new=(Tally("n", 200, 200),), old=(Tally("o", 0, 200),))], KNOWN)
    live.take([Stratum(at=1e6, dt_s=math.nan, new=(Tally("n", 200, 200),), old=(Tally("o", 0, 200),))], KNOWN)
    assert live.to_plain() == before


@given(st.lists(TALLY, min_size=1, max_size=4), st.booleans())
def test_one_side_alone_is_no_evidence(counts: list[tuple[float, float]], old: bool) -> None:
    live = after([stratum(number, [] if old else counts, counts if old else []) for number in range(30)])
    assert live.log_evidence <= 1e-9
    assert live.fired_at is live.agreed_at is None


@pytest.mark.parametrize("plain", [[], [[], [], [], [], [], {}], [[1] * 7, [None] * 3, [1.0], [1.0], [0] * 4, []]])
def test_what_is_no_kept_live_test_is_refused(plain: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Live.from_plain(plain)


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_terms_are_those_of_the_signal() -> None:
    assert ERRORS.need == pytest.approx(math.log(2000 / 0.4))
    assert (LiveTerms.errors(add=0.02, factor=3.0).more, LiveTerms.errors(add=0.02, factor=3.0).ratio) == (0.02, 3.0)
    assert LiveTerms.latency(0.12, 0.04).ratio == pytest.approx(3.0)
    assert LiveTerms.latency(0.04, 0.04).ratio == 1.5
    assert LiveTerms.latency(0.4, 0.0).ratio == LiveTerms.latency(0.4, 0.01).ratio == 6.0


def test_the_blatant_may_be_found_in_one_scrape_and_the_rest_takes_two() -> None:
    blatant = [stratum(number, [(250, 300)], [(0, 300)] * 3) for number in range(3)]
    plain = [stratum(number, [(60, 300)], [(0, 300)] * 3) for number in range(3)]
    assert after(blatant[:1]).fired_at == 0.0
    assert after(plain[:1]).fired_at is None
    assert after(plain).fired_at == SCRAPE_S


def test_it_stays_fired_when_the_old_machines_are_gone() -> None:
    live = after([stratum(number, [(60, 300)], [(0, 300)] * 3) for number in range(3)])
    live.take([stratum(9, [(0, 300)] * 4, [])], KNOWN)
    assert live.fired_at == SCRAPE_S
    assert live.agreed_at == 0.0


def test_it_fires_only_in_a_scrape_with_an_old_machine() -> None:
    live = after([stratum(0, [(60, 300)], [(0, 300)])])
    evidence = live.log_evidence
    live.take([stratum(1, [(300, 300)] * 4, [])], KNOWN)
    assert live.log_evidence == pytest.approx(evidence, abs=0.2)
    assert live.fired_at is None


def test_it_agrees_with_less_than_it_fires_with() -> None:
    """2.75 times as many errors: hardly more than tolerated, and clearly more than machines stray."""
    live = Live(ERRORS)
    for number in range(24):
        live.take([stratum(number, [(11, 300)] * 2, [(4, 300)] * 2)], KNOWN)
    assert live.agreed_at is not None
    assert live.fired_at is None


def test_cohorts_are_compared_inside_a_region() -> None:
    """An outage of the region that has most of the new machines is not the release, however it looks pooled."""
    apart, pooled = Live(ERRORS), Live(ERRORS)
    for number in range(20):
        ams = stratum(number, [(30, 300)] * 5, [(30, 300)])
        fra = Stratum(at=ams.at, dt_s=SCRAPE_S, new=(Tally("f0", 0, 300),), old=tallies("g", [(0, 300)] * 5))
        apart.take([ams, fra], KNOWN)
        pooled.take([ams._replace(new=ams.new + fra.new, old=ams.old + fra.old)], KNOWN)
    assert pooled.fired_at is not None
    assert apart.fired_at is apart.agreed_at is None
    assert apart.log_evidence < 0


def test_a_machine_is_held_against_the_old_ones_of_its_own_scrapes() -> None:
    """An outage late in the deploy, when most machines are new: above what the old ones did before, not above now."""
    calm = [stratum(number, [(0, 300)], [(0, 300)] * 3) for number in range(10)]
    outage = [stratum(number, [(30, 300)] * 3, [(30, 300)]) for number in range(10, 14)]
    assert after([*calm, *outage]).above == 0


def test_a_missed_scrape_lets_the_stake_fall_due_and_counts_twice_at_most() -> None:
    terms = replace(ERRORS, size=math.inf)
    gap = Stratum(at=150.0, dt_s=SCRAPE_S, gap=9.0, new=tallies("n", [(100, 300)]), old=tallies("o", [(0, 300)]))
    live = after([stratum(0, [(0, 300)], [(0, 300)]), gap], terms)
    assert live.fires.left == pytest.approx(0.5 - 0.5 * 165 / 300)
    once = after([stratum(0, [(0, 300)], [(0, 300)]), gap._replace(gap=1.0)], terms)
    assert live.log_evidence - once.log_evidence == pytest.approx((ERRORS.need + math.log(5) + 0.7) * 0.5, abs=0.3)


def test_machines_that_stray_need_a_wider_margin() -> None:
    scrapes = [stratum(number, [(12, 300)], [(4, 300)] * 3) for number in range(12)]
    calm, straying = Live(ERRORS), Live(ERRORS)
    for scrape in scrapes:
        calm.take([scrape], KNOWN)
        straying.take([scrape], Levels(spread=0.5))
    assert straying.log_evidence < calm.log_evidence


@pytest.mark.parametrize("old, frozen", [([(1, 20)], False), ([(2, 60)], False), ([(9, 300)] * 2, True), ([], False)])
def test_old_machines_that_are_surely_bad_too_freeze_it(old: list[tuple[float, float]], frozen: bool) -> None:
    assert old_are_bad_too([stratum(0, [(90, 300)], old)], 0.02) is frozen


@pytest.mark.parametrize(
    "new, old, faster",
    [
        ((30, 300), (0, 300), True),
        ((30, 300), (8, 300), True),
        ((30, 300), (10, 300), False),
        ((2, 300), (0, 300), False),
        ((5, 300), (0, 60), False),
        ((0, 0), (0, 300), False),
        ((-3, 300), (0, 300), False),
    ],
)
def test_old_machines_that_would_show_it_and_do_not_let_it_go_faster(
    new: tuple[float, float], old: tuple[float, float], faster: bool
) -> None:
    assert only_new_are_bad([stratum(0, [new], [old])], KNOWN, 0.01) is faster


# -- simulated deploys -------------------------------------------------------------------------------------------------

Share = Callable[[int, int], float]
"""The share of errors of a machine (by its number) in a scrape."""


def rolled(dice: random.Random, new_of: Callable[[int], int], machines: int, share: Share, scrapes: int) -> Live:
    """A deploy at 20 requests a second and machine; the first machines get the new image first."""
    live = Live(ERRORS)
    for number in range(scrapes):
        counts = [
            Tally(f"m{m}", binomial(dice, 300, min(1.0, share(m, number) * math.exp(dice.gauss(0, 0.1)))), 300)
            for m in range(machines)
        ]
        new = new_of(number)
        live.take(
            [Stratum(at=SCRAPE_S * (number + 1), dt_s=SCRAPE_S, new=tuple(counts[:new]), old=tuple(counts[new:]))],
            KNOWN,
        )
    return live


def test_one_new_machine_of_four_with_five_percent_errors_is_found_within_45_s() -> None:
    dice = random.Random("found")
    found = [
        rolled(dice, lambda _: 1, 4, lambda m, _: 0.05 if m == 0 else 0.001, scrapes=5).fired_at for _ in range(200)
    ]
    assert sum(at is not None and at <= 45 for at in found) >= 195
    assert all(found)


@pytest.mark.parametrize("outage", [0.02, 0.05, 0.5, 1.0])
def test_an_outage_that_hits_all_machines_never_fires(outage: float) -> None:
    """From an instant in the middle of a rolling deploy, for a minute or more."""
    dice = random.Random(f"outage {outage}")
    for _ in range(50):
        start, end = dice.randrange(2, 8), dice.randrange(9, 14)
        live = rolled(
            dice,
            lambda number: min(1 + number // 4, 3),
            4,
            lambda _, number, start=start, end=end: outage if start <= number <= end else 0.001,  # type: ignore[misc]
            scrapes=16,
        )
        assert live.fired_at is None


def test_two_sick_machines_of_ten_new_ones_are_not_the_release() -> None:
    """The new ones pooled are clearly worse than the old: the evidence is there, but not of more than half of them."""
    dice = random.Random("sick")
    evidence = []
    for _ in range(30):
        live = rolled(dice, lambda _: 10, 14, lambda m, _: 0.10 if m in (3, 7) else 0.001, scrapes=12)
        assert (live.fired_at, live.agreed_at) == (None, None)
        evidence.append(live.log_evidence)
    assert max(evidence) > ERRORS.need
