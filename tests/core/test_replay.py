"""A restart replays a journal of years: the work per event is small, and does not grow with what came before."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import events as ev
from rollguard.core import lifecycle
from rollguard.core.events import Recorded
from rollguard.core.lifecycle import TargetState, apply, replay
from tests.builders import NOON


def seen(number: int, version: int | None) -> ev.DigestSeen:
    return ev.DigestSeen(at=NOON + number, digest=f"d{number}", image_ref=f"r{number}", version=version, labels={})


def changed(number: int, rule: str = "error-rate") -> ev.RuleChanged:
    return ev.RuleChanged(at=NOON + number, rule=rule, before="clear", after=f"state {number}", sentence="")


def stepped(number: int) -> ev.StepDone:
    return ev.StepDone(
        at=NOON + number, incident="i1", kind="update", machine=f"m{number % 4}", result=f"i{number}", phase="healthy"
    )


def goal() -> list[ev.Event]:
    return [
        ev.IncidentOpened(at=NOON, incident="i1", candidate="d2", sentence=""),
        ev.GoalSet(
            at=NOON,
            incident="i1",
            candidate="d2",
            target="d1",
            target_ref="r1",
            target_version=1,
            after_version=2,
            trigger="absolute rule",
            by="rollguard",
            reason="policy",
            deadline_at=NOON + 900,
        ),
    ]


def values_made(events: list[ev.Event]) -> int:
    """How many frozen values a replay makes out of others."""
    with mock.patch.object(lifecycle, "replace", side_effect=replace) as made:
        replay([Recorded(seq, event) for seq, event in enumerate(events, start=1)])
    return made.call_count


def test_a_replay_makes_a_few_values_for_each_event_however_long_the_journal_is() -> None:
    few = [*goal(), *(event for n in range(100) for event in (seen(n, n), stepped(n)))]
    many = [*goal(), *(event for n in range(1000) for event in (seen(n, n), stepped(n)))]
    assert values_made(many) <= 4 * len(many)
    assert values_made(many) <= 10 * values_made(few)


def test_what_rules_said_long_ago_costs_a_replay_nothing() -> None:
    assert values_made([changed(n) for n in range(1000)]) == values_made([changed(0)])


def test_a_replay_ends_where_the_events_led_one_by_one() -> None:
    events = [seen(1, 1), changed(1), seen(2, 2), changed(2, "pages-fail"), changed(3), *goal(), stepped(1)]
    recorded = [Recorded(seq, event) for seq, event in enumerate(events, start=1)]
    state = TargetState()
    for entry in recorded:
        state = apply(state, entry)
    assert replay(recorded) == state
    assert list(state.rules.items()) == [("error-rate", "state 3"), ("pages-fail", "state 2")]


@given(st.lists(st.none() | st.integers(1, 9), max_size=20))
def test_a_release_named_afterwards_stands_before_the_first_one_with_a_higher_number(
    versions: list[int | None],
) -> None:
    expected: list[int | None] = []
    for version in versions:
        later = [i for i, other in enumerate(expected) if version is not None and other is not None and other > version]
        expected.insert(later[0] if later else len(expected), version)
    state = replay([Recorded(n, seen(n, version)) for n, version in enumerate(versions, start=1)])
    assert [d.version for d in state.digests] == expected
