"""Numbers as people read them at night: short, with a unit, and never saying something else than the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import text
from tests.builders import GOOD, NOON


@pytest.mark.parametrize(
    "ratio, words",
    [
        (0.0, "0 %"),
        (0.0312, "3.1 %"),
        (0.05, "5 %"),
        (0.104, "10.4 %"),  # "10 %, above 10 %" would puzzle anyone
        (0.275, "27.5 %"),
        (0.9996, "100 %"),
        (1.0, "100 %"),
        (1.5, "150 %"),
        (0.0004, "under 0.1 %"),  # some is not none
        (0.0005, "0.1 %"),
    ],
)
def test_a_share_is_said_in_percent(ratio: float, words: str) -> None:
    assert text.percent(ratio) == words


@pytest.mark.parametrize(
    "value_s, words",
    [
        (0.0, "0 ms"),
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.0, "1 s"),
        (1.25, "1.2 s"),
        (59.94, "59.9 s"),
        (59.97, "1 m"),
        (60.0, "1 m"),
        (90.0, "1 m 30 s"),
        (3600.0, "1 h"),
        (3661.0, "1 h 1 m"),
        (86399.7, "1 d"),
        (86400.0 * 400, "400 d"),
        (86400.0 + 60, "1 d 1 m"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(value_s: float, words: str) -> None:
    assert text.seconds(value_s) == words


@given(st.floats(0, 1e9))
def test_a_duration_is_never_empty_and_never_sixty_of_a_unit(value_s: float) -> None:
    words = text.seconds(value_s).split()
    assert words
    for count, unit in zip(words[::2], words[1::2], strict=True):
        assert float(count) < {"ms": 1000, "s": 60, "m": 60, "h": 24, "d": 1e9}[unit]


def test_instants_are_said_in_utc() -> None:
    assert text.clock(NOON + 3.9) == "12:00:03Z"
    assert text.stamp(NOON) == "2026-08-21T12:00:00Z"


@pytest.mark.parametrize(
    "names, words",
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b, c and 1 more"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more"),
    ],
)
def test_a_list_names_the_first_ones_and_counts_the_rest(names: list[str], words: str) -> None:
    assert text.listing(names, most=3) == words


def test_a_digest_is_known_by_its_first_twelve_figures() -> None:
    assert text.short(GOOD) == "900d900d900d"
    assert text.short("") == ""
