"""How often a healthy release would be taken back, and how soon a slow one is found: measured, on apps that wander.

Many more runs are in bench/decision.
"""

from __future__ import annotations

from statistics import median

import pytest

from tests.core.relative.wandering import MORE_ERRORS, SLOW, App, fires_after_s, watched

SETTLE_S = 30.0


@pytest.mark.parametrize("condition", [SLOW, MORE_ERRORS])
@pytest.mark.parametrize("rps", [5, 40])
def test_half_an_hour_of_a_healthy_release_is_left_alone(condition: object, rps: float) -> None:
    """Cold starts and a level that strays; nothing else. Ten apps, each unlike the others."""
    quiet = [App(("healthy", rps, number), rps, blips=False) for number in range(10)]
    assert [fires_after_s(watched(app, condition)) for app in quiet] == [None] * 10  # type: ignore[arg-type]


def test_a_release_twice_as_slow_is_found_within_two_minutes_after_it_settled() -> None:
    """At 20 requests a second, in the coarse buckets of Prometheus' own libraries: half of the time, or sooner."""
    apps = [App(("slow", number), 20.0, blips=False) for number in range(15)]
    found = [fires_after_s(watched(app, SLOW, slower=2.0, minutes=15)) for app in apps]
    assert all(after is not None for after in found)
    assert median(after or 0.0 for after in found) <= SETTLE_S + 120


def test_three_percent_more_errors_are_found_within_two_minutes() -> None:
    apps = [App(("bad", number), 20.0, blips=False) for number in range(15)]
    found = [fires_after_s(watched(app, MORE_ERRORS, errors=0.03, minutes=10)) for app in apps]
    assert all(after is not None for after in found)
    assert median(after or 0.0 for after in found) <= SETTLE_S + 105


def test_a_hiccup_of_something_else_for_half_a_minute_takes_nothing_back() -> None:
    """Three times as slow for 30 seconds, in the middle of the watch."""
    for number in range(10):
        app = App(("hiccup", number), 20.0, blips=False)
        assert fires_after_s(watched(app, SLOW, slower=3.0, onset_s=300.0, until_s=330.0, minutes=10)) is None
