"""What the journal says about a target: replay and live events move the same state by the same function."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import events as ev
from rollguard.core.event_json import EVENTS, from_json, to_json
from rollguard.core.events import Event
from rollguard.core.lifecycle import DIGESTS_MAX, REPORTS_MAX, ROLLBACKS_MAX, TargetState, Update, apply, replay
from tests.builders import BAD, GOOD, NOON, OLDER, recorded

# -- every event, as JSON and back -------------------------------------------------------------------------------------

NUMBERS = st.floats(0, 2e9, allow_nan=False)
WORDS = st.sampled_from(["", "a", "m1", GOOD, BAD, "release_create", "update", "healthy", "restored", "a|b", "zoë\n"])
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "float": NUMBERS,
    "int": st.integers(0, 99),
    "str": WORDS,
    "bool": st.booleans(),
    "int | None": st.none() | st.integers(0, 99),
    "float | None": st.none() | NUMBERS,
    "tuple[str, ...]": st.lists(WORDS, max_size=3).map(tuple),
    "Mapping[str, str]": st.dictionaries(WORDS, WORDS, max_size=3),
}


def any_event(cls: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(cls, **{f.name: BY_TYPE[str(f.type)] for f in dataclasses.fields(cls)})


ANY_EVENT = st.one_of([any_event(cls) for cls in EVENTS.values()])


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_every_event_survives_the_journal(kind: str, data: st.DataObject) -> None:
    event = data.draw(any_event(EVENTS[kind]))
    written = json.dumps(to_json(event))
    assert from_json(json.loads(written)) == event


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_an_event_of_an_older_guard_takes_defaults_and_one_of_a_newer_guard_loses_what_is_unknown(
    kind: str, data: st.DataObject
) -> None:
    cls = EVENTS[kind]
    event = data.draw(any_event(cls))
    written = to_json(event) | {"invented_later": [1, {"deep": True}]}
    optional = [f for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING or _factory(f)]
    for field in optional:
        del written[field.name]
    read = from_json(json.loads(json.dumps(written)))
    for field in dataclasses.fields(cls):
        default = field.default_factory() if _factory(field) else field.default  # type: ignore[misc]
        assert getattr(read, field.name) == (default if field in optional else getattr(event, field.name))


def _factory(field: dataclasses.Field[Any]) -> bool:
    return field.default_factory is not dataclasses.MISSING


@pytest.mark.parametrize("data", [{}, {"event": "Invented"}, {"event": None, "at": 1.0}, {"event": ["Proven"]}])
def test_an_event_of_an_unknown_kind_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="unknown event"):
        from_json(data)


# -- replay ------------------------------------------------------------------------------------------------------------


@given(st.lists(ANY_EVENT, max_size=25), st.integers(0, 25))
def test_replay_is_live_whatever_happens_and_wherever_it_is_cut(happened: list[Event], cut: int) -> None:
    """No order of events, however odd, breaks a restart; and a journal read back says the same as the life before."""
    entries = recorded(*happened)
    live = TargetState()
    for entry in entries[:cut]:
        live = apply(live, entry)
    for entry in entries[cut:]:
        live = apply(live, ev.Recorded(entry.seq, from_json(json.loads(json.dumps(to_json(entry.event))))))
    assert live == replay(entries)


@given(st.lists(ANY_EVENT, min_size=1, max_size=25))
def test_the_state_knows_the_newest_time_and_the_last_place_of_its_journal(happened: list[Event]) -> None:
    state = replay(recorded(*happened))
    assert state.seq == len(happened)
    assert state.newest_at == max(0.0, *(e.at for e in happened))
    assert state.since == happened[0].at


@given(st.lists(ANY_EVENT, max_size=25))
def test_a_goal_under_way_belongs_to_an_open_incident_that_is_acting(happened: list[Event]) -> None:
    state = replay(recorded(*happened))
    if state.goal is not None:
        assert state.incident is not None
        assert state.incident.phase == "acting"


# -- digests -----------------------------------------------------------------------------------------------------------


def seen(digest: str, version: int | None, at: float = NOON, **but: Any) -> ev.DigestSeen:
    return ev.DigestSeen(**{"at": at, "digest": digest, "image_ref": "shop:x", "version": version, "labels": {}} | but)


def vouched(digest: str, version: int | None) -> ev.Proven:
    return ev.Proven(at=NOON, digest=digest, image_ref="shop:x", version=version, how="adopted", by="ann")


def test_a_digest_is_told_apart_by_its_first_sight() -> None:
    state = replay(recorded(seen(GOOD, 41), seen(GOOD, 44, NOON + 9, by_guard=True)))
    record = state.record(GOOD)
    assert record is not None
    assert (record.version, record.first_seen_at, record.by_guard) == (41, NOON, False)
    assert state.order == (GOOD,)


def test_digests_stay_in_the_order_of_their_appearance() -> None:
    assert replay(recorded(seen(OLDER, 40), seen(GOOD, None), seen(BAD, 42))).order == (OLDER, GOOD, BAD)


def test_a_release_that_a_person_names_afterwards_takes_its_place_by_number() -> None:
    """Adopting v40 must not make it look newer than the v42 that serves."""
    state = replay(recorded(seen(GOOD, 41), seen(BAD, 42), vouched(OLDER, 40)))
    assert state.order == (OLDER, GOOD, BAD)
    assert (state.record(OLDER) or pytest.fail("it is there")).proven_how == "adopted"


def test_proof_and_full_deployment_are_noted_on_their_digest_alone() -> None:
    events = [seen(GOOD, 41), seen(BAD, 42), ev.FullyDeployed(at=NOON + 60, digest=BAD, version=42), vouched(GOOD, 41)]
    state = replay(recorded(*events))
    assert [(d.full_at, d.proven_at) for d in state.digests] == [(None, NOON), (NOON + 60, None)]


def test_memory_is_bounded_and_the_newest_is_kept() -> None:
    report = ev.Reported(at=NOON, kind="bug", digest=BAD, version=42, by="ann", reason="x")
    events: list[Event] = [seen(f"sha256:{i}", i) for i in range(DIGESTS_MAX + 10)]
    events += [report] * (REPORTS_MAX + 10) + [goal_set()] * (ROLLBACKS_MAX + 10)
    state = replay(recorded(*events))
    assert (len(state.digests), len(state.reports), len(state.rollbacks)) == (DIGESTS_MAX, REPORTS_MAX, ROLLBACKS_MAX)
    assert state.order[-1] == f"sha256:{DIGESTS_MAX + 9}"


# -- an incident and its goal ------------------------------------------------------------------------------------------


def opened() -> ev.IncidentOpened:
    return ev.IncidentOpened(at=NOON, incident="i-1", candidate=BAD, sentence="it is bad")


def goal_set(**but: Any) -> ev.GoalSet:
    settings: dict[str, Any] = {
        "at": NOON,
        "incident": "i-1",
        "candidate": BAD,
        "target": GOOD,
        "target_ref": f"shop@{GOOD}",
        "target_version": 41,
        "after_version": 42,
        "trigger": "report",
        "by": "rollguard",
        "reason": "policy",
        "deadline_at": NOON + 900,
    }
    return ev.GoalSet(**settings | but)


def intended(kind: str, machine: str = "", instance_id: str = "") -> ev.StepIntended:
    return ev.StepIntended(at=NOON, incident="i-1", kind=kind, machine=machine, instance_id=instance_id)


def done(kind: str, **but: Any) -> ev.StepDone:
    return ev.StepDone(at=NOON, incident="i-1", kind=kind, **but)


def ended(outcome: str) -> ev.GoalEnded:
    return ev.GoalEnded(at=NOON + 60, incident="i-1", outcome=outcome, sentence="")


def test_a_rollback_counts_from_its_intent() -> None:
    state = replay(recorded(opened(), goal_set()))
    assert [(r.at, r.candidate, r.target, r.trigger) for r in state.rollbacks] == [(NOON, BAD, GOOD, "report")]
    assert state.goal is not None


def test_what_was_intended_and_what_took_effect_are_told_apart() -> None:
    before = [opened(), goal_set(), intended("release_create")]
    goal = replay(recorded(*before)).goal
    assert goal is not None
    assert (goal.row_intended, goal.row_id) == (True, None)
    events = [
        *before,
        done("release_create", result="r43", version=43),
        done("release_running"),
        intended("update", "m1", "m1-1"),
        done("update", machine="m1", result="m1-2", phase="accepted"),
        done("update", machine="m1", result="m1-2", phase="healthy"),
        intended("update", "m2", "m2-1"),
    ]
    goal = replay(recorded(*events)).goal
    assert goal is not None
    assert (goal.row_id, goal.row_version, goal.row_running) == ("r43", 43, True)
    assert goal.updates == {"m1": Update(before="m1-1", after="m1-2", healthy=True), "m2": Update(before="m2-1")}


@pytest.mark.parametrize(
    "outcome, phase",
    [("restored", "verifying"), ("yielded", "open"), ("failed", "open"), ("deadline", "open"), ("paused", "open")],
)
def test_after_its_end_a_goal_is_never_resumed_and_the_incident_remembers_it(outcome: str, phase: str) -> None:
    state = replay(recorded(opened(), goal_set(), ended(outcome), done("update", machine="m1", result="m1-2")))
    assert state.goal is None
    assert state.incident is not None
    assert state.incident.phase == phase
    assert state.incident.goal is not None
    assert state.incident.goal.updates == {}, "what comes after the end changes nothing"
    assert state.incident.verify_since == (NOON + 60 if phase == "verifying" else None)


def test_a_closed_incident_is_over_and_its_rollback_still_counts() -> None:
    closed = ev.IncidentClosed(at=NOON + 99, incident="i-1", outcome="restored")
    state = replay(recorded(opened(), goal_set(), ended("restored"), closed))
    assert state.incident is None
    assert (len(state.rollbacks), state.incidents) == (1, 1)


def test_what_was_said_is_remembered_reason_by_reason() -> None:
    def page(about: str) -> ev.PageQueued:
        return ev.PageQueued(at=NOON, key="k", summary="s", severity="critical", about=about)

    state = replay(recorded(opened(), page("rule a|held by pause"), page("rule b")))
    assert state.incident is not None
    assert state.incident.said == {"rule a", "held by pause", "rule b"}
    assert replay(recorded(page("rule a"))).incident is None


# -- what people did ---------------------------------------------------------------------------------------------------


def test_a_pause_stays_until_it_is_lifted_and_a_hold_is_replaced_by_the_next() -> None:
    pause = ev.PauseSet(at=NOON, by="ann", reason="fire drill")
    hold = ev.HoldSet(at=NOON, by="ann", reason="hotfix", until=NOON + 600)
    over = dataclasses.replace(hold, until=NOON)
    state = replay(recorded(pause, hold))
    assert (state.pause, state.hold) == (pause, hold)
    lifted = replay(recorded(pause, hold, ev.PauseLifted(at=NOON, by="ann", reason="done"), over))
    assert (lifted.pause, lifted.hold) == (None, over)


def test_a_deploy_lasts_from_its_first_to_its_last_sign() -> None:
    began = ev.DeployBegan(at=NOON, owner="bob", sign="a lease")
    assert replay(recorded(began)).deploying == began
    assert replay(recorded(began, ev.DeployEnded(at=NOON, owner="bob"))).deploying is None
