"""What would make a comparison deaf, forgetful or too sure of itself: clocks, hostile texts, the end of the watch."""

from __future__ import annotations

import json

import pytest

from rollguard.core.finding import RuleState
from rollguard.core.policy import Action
from rollguard.core.relative.relatives import Relatives, Unreadable
from tests.builders import BAD, NOON
from tests.core.relative.released import MORE_ERRORS, Does, Released

BACK_S = 1800.0


def put_back(world: Released, by_s: float) -> None:
    world.now -= by_s
    world.last_scrape -= by_s
    world.since = {machine: since - by_s for machine, since in world.since.items()}
    world.windows.clear()


def test_a_clock_that_is_put_back_does_not_make_the_bets_deaf() -> None:
    world = Released(new={"m1": Does(errors=lambda after: 0.05 if after > -BACK_S + 300 else 0.001)})
    while world.now < NOON + 240:
        world.step()
    put_back(world, BACK_S)
    begun = world.now
    while not world.finding(MORE_ERRORS).firing and world.now < begun + 600:
        world.step()
    assert world.finding(MORE_ERRORS).firing


def test_a_clock_put_back_while_the_guard_was_down_does_not_make_the_bets_deaf_either() -> None:
    world = Released(new={"m1": Does(errors=0.05)})
    for _ in range(6):
        world.step()
    text = world.relatives.to_text()
    put_back(world, BACK_S)
    world.relatives = Relatives(world.policy)
    world.relatives.restore(text)
    begun = world.now
    while not world.finding(MORE_ERRORS).firing and world.now < begun + 600:
        world.step()
    assert world.finding(MORE_ERRORS).firing


def test_a_clock_that_is_put_ahead_does_not_end_the_watch() -> None:
    world = Released(new={"m1": Does(errors=0.05)})
    for _ in range(3):
        world.step()
    world.relatives.shift(7200.0)
    comparison = world.relatives.comparison(MORE_ERRORS.name)
    assert comparison is not None
    world.relatives.arm(BAD, world.baseline, world.evidence, world.now + 7200.0)
    assert world.relatives.comparison(MORE_ERRORS.name) is comparison
    assert not comparison.rearmed


def test_after_the_watch_nothing_is_acted_on_though_there_is_no_fresh_baseline() -> None:
    world = Released(new={"m1": Does(errors=lambda after: 0.05 if after > 4000 else 0.001)})
    while world.now < NOON + 3500:
        world.step()
    world.baseline = None  # type: ignore[assignment]
    while world.now < NOON + 5000 and not world.finding(MORE_ERRORS).firing:
        world.step()
    finding = world.finding(MORE_ERRORS)
    assert finding.state is RuleState.FIRING
    assert finding.rule.then is Action.PAGE


@pytest.mark.parametrize(
    "field", ["last_at", "armed_at", "since", "won_at", "suspicious_at", "grew_at", "highest", "requests", "watch_s"]
)
@pytest.mark.parametrize("value", ["soon", [], float("nan"), float("inf")])
def test_an_instant_that_is_none_is_refused_before_it_can_stop_the_guard(field: str, value: object) -> None:
    world = Released(new={"m1": Does()})
    for _ in range(6):
        world.step()
    kept = json.loads(world.relatives.to_text())
    kept["rules"][MORE_ERRORS.name][1][field] = value
    with pytest.raises(Unreadable):
        Relatives(world.policy).restore(json.dumps(kept))


@pytest.mark.parametrize("place, value", [("bound", "x"), ("terms", 0.0), ("terms", "x"), ("terms", -1.0)])
def test_a_bound_or_terms_that_cannot_be_are_refused(place: str, value: object) -> None:
    world = Released(new={"m1": Does()})
    world.step()
    kept = json.loads(world.relatives.to_text())
    kept["rules"][MORE_ERRORS.name][1]["wagers"][0][place][1] = value
    with pytest.raises(Unreadable):
        Relatives(world.policy).restore(json.dumps(kept))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"x": 1}', "null", "3"])
def test_a_text_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        Released().relatives.restore(text)


def test_what_is_kept_at_every_scrape_is_small_and_the_rest_is_bounded() -> None:
    world = Released(new={f"m{n}": Does(rps=1.0) for n in range(64)})
    while world.now < NOON + 400:
        world.step()
    small = world.relatives.to_text(histories=False)
    assert len(small) < 64 * 1000 * len(world.rules) / 2
    whole = world.relatives.histories_text(10**9)
    assert len(world.relatives.histories_text(len(whole) - 1)) < len(whole)
    other = Relatives(world.policy)
    other.restore(small)
    other.restore_histories(whole)
    assert other.to_text() == world.relatives.to_text()
    with pytest.raises(Unreadable):
        other.restore_histories("[]")


def test_who_is_convicted_and_still_does_it_is_not_acquitted_when_the_watch_ends() -> None:
    world = Released(new={"m1": Does(errors=0.05, rps=3.0)})
    assert world.until_fires(MORE_ERRORS) is not None
    while world.now < NOON + 3700:
        world.step()
        assert world.finding(MORE_ERRORS).firing
