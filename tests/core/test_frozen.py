"""Values made and replaced quickly are the very ones that ``dataclasses`` makes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.event_json import EVENTS
from rollguard.core.frozen import made, replace
from rollguard.core.goal import Goal, Update
from rollguard.core.lifecycle import Incident, TargetState
from tests.telemetry.test_logs import any_event

VALUES: list[Any] = [TargetState(), Update(before="a"), Incident(id="i", candidate="c", opened_at=1.0, sentence="")]


def fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_each_field_is_replaced_and_no_other(value: Any) -> None:
    for name in fields(value):
        assert replace(value, **{name: "new"}) == dataclasses.replace(value, **{name: "new"})
    assert replace(value) == value
    assert replace(value) is not value


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_an_event_is_made_of_its_fields(kind: type[ev.Event]) -> None:
    event = any_event(kind)
    assert made(kind, fields(event)) == event
    assert made(kind, {**fields(event), "unknown": 1}) == event


def test_what_nobody_says_takes_its_default_and_every_value_its_own() -> None:
    goal = {f.name: "x" for f in dataclasses.fields(Goal) if f.default is f.default_factory is dataclasses.MISSING}
    one, other = made(Goal, goal), made(Goal, goal)
    assert one == Goal(**goal)  # type: ignore[arg-type]
    assert one.updates is not other.updates


def test_a_missing_field_and_an_unknown_one_are_named() -> None:
    with pytest.raises(TypeError, match="before is missing"):
        made(Update, {})
    with pytest.raises(TypeError, match="no field 'afterwards'"):
        replace(Update(before="a"), afterwards="b")


def test_what_was_made_is_as_frozen_as_the_others() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        replace(Update(before="a")).before = "b"  # type: ignore[misc]
