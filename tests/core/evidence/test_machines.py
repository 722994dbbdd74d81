"""What is known of each machine before a deploy: its lasting level, and how far machines stray from each other."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.evidence.limits import Trial
from rollguard.core.evidence.machines import Levels
from rollguard.core.evidence.strata import Tally
from tests.core.evidence.draws import poisson

BLOCKS = st.lists(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
        max_size=6,
    ),
    max_size=24,
)


def of_a_day(
    levels: Mapping[str, float], share: float = 0.004, *, apart: float = 0.0, blips: bool = False
) -> list[Mapping[str, Trial]]:
    """24 blocks of 3,000 requests a machine; each machine strays by ``apart`` (log-sd); ``blips`` that all share."""
    dice = random.Random("a day")
    blocks: list[Mapping[str, Trial]] = []
    for number in range(24):
        now = share * (20 if blips and number % 6 == 0 else 1)
        strays = {m: math.exp(dice.gauss(0, apart)) for m in levels}
        blocks.append({m: (float(poisson(dice, 3000 * now * r * strays[m])), 3000.0) for m, r in levels.items()})
    return blocks


def test_the_lasting_level_of_a_machine_is_found() -> None:
    levels = Levels.learnt(of_a_day({"a": 0.7, "b": 1.0, "c": 1.0, "d": 1.3}))
    assert levels.ratio("a") == pytest.approx(0.7, abs=0.12)
    assert levels.ratio("d") == pytest.approx(1.3, abs=0.12)


def test_a_machine_that_is_not_known_is_as_all_are() -> None:
    assert Levels().ratio("new") == 1.0
    assert Levels.learnt([{"a": (3.0, 100.0)}]).ratio("new") == 1.0


def test_few_events_say_little_of_a_machine() -> None:
    assert Levels.learnt([{"a": (2.0, 100.0), "b": (0.0, 100.0)}]).ratio("a") == pytest.approx(22 / 21)


def test_exposure_weighs_requests_by_level() -> None:
    levels = Levels({"a": 2.0})
    assert levels.exposure([Tally("a", 0, 100), Tally("b", 0, 30)]) == 230


def test_blips_that_all_machines_share_do_not_widen_the_envelope() -> None:
    same = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
    calm, shaken = Levels.learnt(of_a_day(same)), Levels.learnt(of_a_day(same, blips=True))
    assert shaken.envelope(1, 3) < 1.15 * calm.envelope(1, 3)


def test_machines_that_stray_by_themselves_widen_it() -> None:
    same = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}
    assert Levels.learnt(of_a_day(same, 0.03, apart=0.5)).spread > 2 * Levels.learnt(of_a_day(same, 0.03)).spread


def test_lasting_levels_are_no_straying() -> None:
    unlike = Levels.learnt(of_a_day({"a": 0.5, "b": 1.0, "c": 1.0, "d": 1.5}, 0.03))
    assert unlike.spread < math.sqrt(math.log1p(0.03))


def test_the_envelope_narrows_with_more_machines_and_is_bounded() -> None:
    levels = Levels(spread=0.2)
    assert levels.envelope(1, 1) > levels.envelope(1, 3) > levels.envelope(5, 5) > 1
    assert Levels(spread=9.0).envelope(1, 1) == levels.envelope(0, 3) == math.exp(1.2)
    assert levels.envelope(1, 1) == pytest.approx(math.exp(2 * 0.2 * math.sqrt(2)))


def test_nothing_known_is_the_usual_straying() -> None:
    assert Levels.learnt([]).spread == Levels().spread == pytest.approx(math.sqrt(math.log1p(0.03)))


def test_it_is_the_formula() -> None:
    """Two machines, two blocks: (4 of 100, 8 of 100), (6 of 200, 6 of 100)."""
    levels = Levels.learnt([{"a": (4.0, 100.0), "b": (8.0, 100.0)}, {"a": (6.0, 200.0), "b": (6.0, 100.0)}])
    p = 24 / 500
    a, b = 30 / (300 * p + 20), 34 / (200 * p + 20)
    assert (levels.ratio("a"), levels.ratio("b")) == pytest.approx((a, b))
    first = [12 * 100 * r / (100 * a + 100 * b) for r in (a, b)]
    second = [12 * n * r / (200 * a + 100 * b) for n, r in ((200, a), (100, b))]
    squares = sum((k - e) ** 2 for k, e in zip((4, 8, 6, 6), (*first, *second), strict=True))
    excess = max(0.0, squares / 24 * 2 - 1) / max(24 / 4, 0.5)
    assert levels.spread == pytest.approx(math.sqrt(math.log1p((2 * excess + 6 * 0.03) / 8)))


@given(BLOCKS, st.randoms())
def test_the_order_of_blocks_and_machines_does_not_matter(blocks: list[dict[str, Trial]], dice: random.Random) -> None:
    mixed = [dict(dice.sample(sorted(block.items()), len(block))) for block in dice.sample(blocks, len(blocks))]
    assert Levels.learnt(mixed).to_plain() == Levels.learnt(blocks).to_plain()


@given(BLOCKS)
def test_kept_levels_are_the_same_to_the_last_bit(blocks: list[dict[str, Trial]]) -> None:
    levels = Levels.learnt(blocks)
    assert Levels.from_plain(json.loads(json.dumps(levels.to_plain()))) == levels
    assert all(0 < r < math.inf for r in levels.ratios.values())


@pytest.mark.parametrize(
    "trial", [(-1.0, 5.0), (6.0, 5.0), (math.nan, 5.0), (1.0, math.inf), (math.inf, math.inf), (1.0, 1e300)]
)
def test_impossible_counts_teach_nothing(trial: Trial) -> None:
    day = of_a_day({"a": 1.0, "b": 1.0})
    assert Levels.learnt([{**block, "c": trial} for block in day]) == Levels.learnt(day)


@pytest.mark.parametrize("plain", [[], [[], 0.1], [{"a": 0.0}, 0.1], [{}, math.nan], [{"a": "x"}, 0.1], [{}, -1.0]])
def test_what_is_no_kept_levels_is_refused(plain: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Levels.from_plain(plain)
