from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config.problems import Wrong
from rollguard.config.quantity import Dimension, duration_s, duration_text, quantity, ratio


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("1.5s", 1.5),
        ("90s", 90),
        ("1h30m", 5400),
        ("30d", 2592000),
        ("1d2h3m4s5ms", 93784.005),
    ],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    "text, dimension, value",
    [
        ("1%", Dimension.RATIO, 0.01),
        ("99.9%", Dimension.RATIO, 0.999),
        ("1pp", Dimension.POINTS, 0.01),
        ("3000ms", Dimension.TIME, 3.0),
        ("512MiB", Dimension.SIZE, 536870912),
        ("1.5GB", Dimension.SIZE, 1.5e9),
        ("-3", Dimension.NUMBER, -3),
        (0, Dimension.NUMBER, 0),
        (2.5, Dimension.NUMBER, 2.5),
    ],
)
def test_a_quantity_knows_what_it_counts(text: object, dimension: Dimension, value: float) -> None:
    found = quantity(text)
    assert (found.dimension, found.value) == (dimension, value)


@pytest.mark.parametrize(
    "text, sentence",
    [
        (5, "5 has no unit; write 5s, 5m or 1h"),
        ("5", "5 has no unit; write 5s, 5m or 1h"),
        (0, "0 has no unit; write 0s"),
        ("5 min", "'5 min' is not a duration; write 5m"),
        ("5S", "'5S' is not a duration; write 5s"),
        ("30 seconds", "'30 seconds' is not a duration; write 30s"),
        ("-5s", "'-5s' is not a duration; write 5s, 5m or 1h"),
        ("5m1h", "'5m1h' is not a duration; write 5s, 5m or 1h"),
        ("1m1m", "'1m1m' is not a duration; write 5s, 5m or 1h"),
        ("", "'' is not a duration; write 5s, 5m or 1h"),
        ("inf", "'inf' is not a duration; write 5s, 5m or 1h"),
        ("٥s", "'٥s' is not a duration; write 5s, 5m or 1h"),
        ("99999d", "99999d is longer than ten years"),
        ("1%", "1% is a share, not a duration; write 5s, 5m or 1h"),
        (True, "must be a duration such as 5s, 5m or 1h"),
        (None, "must be a duration such as 5s, 5m or 1h"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: object, sentence: str) -> None:
    with pytest.raises(Wrong) as caught:
        duration_s(text)
    assert caught.value.message == sentence


def test_a_share_needs_its_sign_and_ends_at_100_percent() -> None:
    assert ratio("100%") == 1
    for text, sentence in ((0.5, "0.5 has no unit; write 0.5% or 50%"), ("101%", "101% is more than 100%")):
        with pytest.raises(Wrong) as caught:
            ratio(text)
        assert caught.value.message == sentence


@pytest.mark.parametrize(
    "seconds, text",
    [
        (90.0, "1m30s"),
        (0, "0s"),
        (0.25, "250ms"),
        (0.9996, "1s"),
        (1.5, "1.5s"),
        (59.9999, "1m"),
        (60, "1m"),
        (5400, "1h30m"),
        (86400, "1d"),
        (604800, "7d"),
        (60480, "16h48m"),
        (-5, "-5s"),
        (math.inf, "for ever"),
        (math.nan, "?"),
    ],
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.one_of(st.integers(1, 300_000_000).map(float), st.integers(1, 59_999).map(lambda ms: ms / 1000)))
def test_what_is_written_reads_back_as_the_same_duration(seconds: float) -> None:
    assert duration_s(duration_text(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.one_of(st.text(max_size=80), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())))
def test_anything_else_is_refused_and_never_breaks_the_reader(value: object) -> None:
    for read in (duration_s, ratio, quantity):
        with suppress(Wrong):
            assert read(value) is not None
