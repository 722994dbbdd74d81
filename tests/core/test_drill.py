"""A drill as values: what the journal says of it, who goes, what holds it, what it proves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.drill import BACK, THERE, Proof, last_proven, mark_of
from rollguard.core.event_json import from_json, to_json
from rollguard.core.executors import Flyctl
from rollguard.core.finding import RuleState
from rollguard.core.fleet import view
from rollguard.core.lifecycle import TargetState, replay
from rollguard.core.model import Lease, Mode
from rollguard.core.plan import Complete, Wait, Wave
from rollguard.core.policy import Rollback
from rollguard.core.rehearsal import Wish, chosen, gap, holds, next_move, put_back, typed
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    a_case,
    a_finding,
    a_machine,
    a_policy,
    a_record,
    a_snapshot,
    a_state,
    a_tenure,
    machines,
    recorded,
)

BEGAN = ev.DrillBegan(
    at=NOON,
    drill="d-1",
    serving=BAD,
    serving_ref=f"registry.example/shop@{BAD}",
    serving_version=42,
    target=GOOD,
    target_ref=f"registry.example/shop@{GOOD}",
    target_version=41,
    machines=("m4",),
    whole=False,
    after_version=42,
    by="bob",
    reason="monthly",
    deadline_at=NOON + 900.0,
    span_s=900.0,
    instances={"m3": "m3-1", "m4": "m4-1"},
    configs={"m4": "c"},
)
TURNED = ev.DrillTurned(
    at=NOON + 41, drill="d-1", result="ok", why="", hurried=False, after_version=42, instances={"m4": "m4-2"}
)
ENDED = ev.DrillEnded(at=NOON + 80, drill="d-1", result="ok", sentence="s", machines=1, there_s=41.0, back_s=38.0)


def step(kind: type[Any], way: str, **but: Any) -> Any:
    return kind(at=NOON + 1, incident=mark_of("d-1", way), kind="update", machine="m4", **but)


THERE_STEPS = (
    step(ev.StepIntended, THERE, instance_id="m4-1"),
    step(ev.StepDone, THERE, result="m4-2", phase="healthy"),
)
BACK_STEPS = (
    step(ev.StepIntended, BACK, instance_id="m4-2"),
    step(ev.StepDone, BACK, result="m4-3", phase="healthy"),
)


def state_after(*events: ev.Event) -> TargetState:
    return replay(recorded(*events))


# -- the journal -------------------------------------------------------------------------------------------------------


def test_each_way_is_a_goal_with_its_own_mark_and_its_own_steps() -> None:
    state = state_after(BEGAN, *THERE_STEPS, TURNED, *BACK_STEPS)
    drill = state.drilling
    assert drill is not None
    assert (drill.there.candidate, drill.there.target) == (BAD, GOOD)
    assert drill.back is not None
    assert (drill.back.candidate, drill.back.target, drill.back.target_ref) == (GOOD, BAD, BEGAN.serving_ref)
    assert drill.there.updates["m4"].after == "m4-2"
    assert drill.back.updates["m4"].after == "m4-3"
    assert drill.back.deadline_at == TURNED.at + BEGAN.span_s, "the way back has time of its own"
    assert state.goal is None, "a drill is no rollback"
    assert state.rollbacks == ()
    assert state.incident is None


def test_after_its_end_a_drill_is_over_and_what_it_proved_stays() -> None:
    state = state_after(BEGAN, *THERE_STEPS, TURNED, *BACK_STEPS, ENDED)
    assert state.drilling is None
    assert state.works == Proof(at=ENDED.at, how="drill", machines=1, there_s=41.0, back_s=38.0)
    failed = replace(ENDED, at=NOON + 500, result="failed", there_s=None, back_s=None)
    again = replay(recorded(BEGAN, TURNED, ENDED, replace(BEGAN, at=NOON + 400), failed))
    assert again.works is not None
    assert again.works.at == ENDED.at, "a drill that failed proves nothing, and takes back nothing"


def test_a_write_of_the_way_there_that_is_learnt_late_is_where_the_way_back_begins() -> None:
    turned = replace(TURNED, instances={"m4": "m4-1"})
    state = state_after(BEGAN, THERE_STEPS[0], turned, step(ev.StepDone, THERE, result="m4-2", phase="accepted"))
    assert state.drill is not None
    assert state.drill.back is not None
    assert state.drill.back.instances["m4"] == "m4-2"


@pytest.mark.parametrize(
    "event",
    [
        BEGAN,
        TURNED,
        ENDED,
        ev.DrillMoved(
            at=NOON, drill="d-1", machine="m4", way="there",
            lease_s=0.1, accepted_s=0.2, started_s=1.0, healthy_s=5.0, stable_s=20.0,
        ),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_its_events_come_out_of_the_journal_as_they_went_in(event: ev.Event) -> None:
    assert from_json(to_json(event)) == event


def test_who_is_away_says_nothing_about_the_release_that_serves() -> None:
    one, whole = state_after(BEGAN).drill, state_after(replace(BEGAN, whole=True), *THERE_STEPS).drill
    assert one is not None
    assert whole is not None
    assert one.away == {"m4"}
    assert whole.away == {"m4"}, "of the whole app those that have left"
    home = state_after(replace(BEGAN, whole=True), *THERE_STEPS, TURNED, *BACK_STEPS).drill
    assert home is not None
    assert home.away == frozenset()
    tenures = {"m3": a_tenure("m3"), "m4": a_tenure("m4", GOOD)}
    present = {m: t for m, t in tenures.items() if m not in one.away}
    assert view(present, BAD, whole_since=NOON, deploying=False).whole


# -- what it proves ----------------------------------------------------------------------------------------------------


def test_the_newest_proof_in_words() -> None:
    drill = Proof(at=NOON, how="drill", machines=1, there_s=41.0, back_s=38.0)
    assert last_proven(None, NOON) == "rollback last proven: never"
    assert last_proven(drill, NOON + 3 * 86400) == (
        "rollback last proven: 3 d ago by drill (1 machine, 41 s there, 38 s back)"
    )
    real = Proof(at=NOON, how="rollback", machines=4, there_s=100.0)
    assert last_proven(real, NOON + 60) == "rollback last proven: 1 m ago by rollback (4 machines, 1 m 40 s there)"


def test_a_rollback_that_had_to_and_got_there_is_a_proof_too() -> None:
    goal = ev.GoalSet(
        at=NOON, incident="i", candidate=BAD, target=GOOD, target_ref="r", target_version=41, after_version=42,
        trigger="manual", by="ann", reason="r", deadline_at=NOON + 900,
    )  # fmt: skip
    opened = ev.IncidentOpened(at=NOON, incident="i", candidate=BAD, sentence="s")
    done = ev.StepDone(at=NOON + 9, incident="i", kind="update", machine="m1", result="m1-2", phase="healthy")
    restored = ev.GoalEnded(at=NOON + 50, incident="i", outcome="restored", sentence="s")
    works = state_after(opened, goal, done, restored).works
    assert works == Proof(at=NOON + 50, how="rollback", machines=1, there_s=50.0)
    assert state_after(opened, goal, done, replace(restored, outcome="yielded")).works is None


# -- who goes ----------------------------------------------------------------------------------------------------------


def test_the_last_healthy_machine_of_the_first_group_with_services_goes() -> None:
    fleet = (
        a_machine("m1"),
        a_machine("m2"),
        a_machine("m3", well=False),
        a_machine("m9", group="aworker", has_services=False),
    )
    (machine,), _ = chosen(a_snapshot(*fleet), Wish())
    assert machine.id == "m2"
    assert chosen(a_snapshot(*fleet), Wish(machine="m9"))[0][0].id == "m9"
    assert chosen(a_snapshot(*fleet), Wish(machine="m3")) == ((), "machine m3 is not healthy")
    assert chosen(a_snapshot(*fleet), Wish(machine="m8"))[1] == "there is no managed machine m8"
    assert len(chosen(a_snapshot(*fleet), Wish(whole=True))[0]) == 4
    assert chosen(a_snapshot(a_machine(well=False)), Wish()) == ((), "no machine is healthy")


def test_the_next_move_is_one_machine_at_a_time_and_never_the_one_that_the_floor_needs() -> None:
    settings = a_policy().rollback
    fleet = machines(BAD, BAD, BAD, BAD)
    step_ = next_move(a_snapshot(*fleet), ("m4",), GOOD, settings)
    assert isinstance(step_, Wave)
    assert [m.id for m in step_.machines] == ["m4"]
    assert next_move(a_snapshot(*machines(BAD, BAD, BAD, GOOD)), ("m4",), GOOD, settings) == Complete()
    changing = replace(fleet[3], state="replacing")
    assert isinstance(next_move(a_snapshot(*fleet[:3], changing), ("m4",), GOOD, settings), Wait)
    sick = a_machine("m1", well=False)
    kept = next_move(a_snapshot(sick, *fleet[1:]), ("m4",), GOOD, settings)
    assert isinstance(kept, Wait)
    assert kept.by_floor


# -- what holds it -----------------------------------------------------------------------------------------------------

PROVEN = a_record(BAD, proven_at=NOON - 60.0)
CALM = a_case(candidate=PROVEN, state=a_state(a_record(GOOD), PROVEN), findings=())
HELD: dict[str, dict[str, Any]] = {
    "rules": {"findings": (a_finding(state=RuleState.PENDING),)},
    "deploy in progress": {"snapshot": a_snapshot(leases={"m1": Lease("ci@example.com", "", NOON + 13)})},
    "mixed": {"snapshot": a_snapshot(*machines(BAD, BAD, BAD, GOOD))},
    "release not proven": {"candidate": a_record(BAD)},
    "floor": {"snapshot": a_snapshot(a_machine("m1", well=False), *machines(BAD, BAD, BAD, BAD)[1:])},
    "gap": {"snapshot": a_snapshot(a_machine("m1"))},
    "executor": {"policy": a_policy(rollback=Rollback(executor=Flyctl()))},
}


def names(wish: Wish = Wish(), mode: Mode = Mode.ENFORCE, **but: Any) -> list[str]:  # noqa: B008  (frozen)
    case = replace(CALM, **but)
    goes, _ = chosen(case.snapshot, wish)
    return [r.name for r in holds(case, wish, goes, mode, way_back=True)]


def test_in_a_quiet_moment_nothing_holds_a_drill() -> None:
    assert names() == []
    assert names(Wish(whole=True)) == []


@pytest.mark.parametrize("name", HELD)
def test_everything_that_holds_a_drill_is_named(name: str) -> None:
    assert names(**HELD[name]) == [name]


def test_a_mode_that_writes_nothing_rehearses_nothing() -> None:
    assert names(mode=Mode.OBSERVE) == ["mode"]
    assert names(mode=Mode.PAGE) == []


def test_a_way_back_that_cannot_be_had_is_no_way_to_go() -> None:
    goes, _ = chosen(CALM.snapshot, Wish())
    for known in (False, None):
        assert [r.name for r in holds(CALM, Wish(), goes, Mode.ENFORCE, way_back=known)] == ["way back"]


def test_the_gap_of_a_lonely_machine_is_accepted_by_name() -> None:
    alone = a_snapshot(a_machine("m1"))
    assert names(Wish(accept_gap=True), snapshot=alone) == []
    assert gap(alone, alone.managed) == "group app has one machine: it is down while it changes, twice"


@pytest.mark.parametrize(
    "app, mode, wish, word",
    [
        ("shop", Mode.ENFORCE, Wish(whole=True), "shop"),
        ("shop-staging", Mode.ENFORCE, Wish(whole=True), "yes"),
        ("shop_dev", Mode.ENFORCE, Wish(whole=True), "yes"),
        ("devshop", Mode.ENFORCE, Wish(whole=True), "devshop"),
        ("shop", Mode.PAGE, Wish(whole=True), "yes"),
        ("shop", Mode.ENFORCE, Wish(), "yes"),
    ],
)
def test_all_of_production_is_moved_only_when_its_name_is_typed(app: str, mode: Mode, wish: Wish, word: str) -> None:
    policy = a_policy()
    assert typed(replace(policy, target=replace(policy.target, app=app)), mode, wish) == word


def test_the_command_that_puts_a_machine_back_is_exact() -> None:
    command = put_back(a_policy(), "m4", BEGAN.serving_ref)
    assert command == f"flyctl machine update m4 --app shop --image registry.example/shop@{BAD} --yes"
