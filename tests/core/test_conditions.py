"""The five conditions of a target."""

from __future__ import annotations

from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.conditions import Condition, Situation, camel, conditions
from rollguard.core.finding import RuleState
from rollguard.core.lifecycle import Update
from rollguard.core.model import Mode
from tests.builders import GOOD, HOUR, NOON, a_case, a_finding, a_goal, a_policy, a_snapshot, a_state, an_incident

CLEAR = a_finding(state=RuleState.CLEAR, said="well on 4 of 4")
PAUSE = ev.PauseSet(at=NOON - 60.0, by="ada", reason="we look first")


def a_situation(**but: Any) -> Situation:
    """All is well, and a rollback would be possible."""
    case = but.pop("case", a_case(findings=()))
    settings: dict[str, Any] = {
        "policy": a_policy(),
        "generation": 3,
        "mode": Mode.ENFORCE,
        "state": case.state if case else a_state(),
        "findings": (CLEAR,),
        "sentence": "no rule is firing",
        "snapshot": a_snapshot(),
        "case": case,
    }
    return Situation(**settings | but)


def of(name: str, situation: Situation, now: float = NOON) -> Condition:
    return next(c for c in conditions(situation, (), now) if c.type == name)


def test_all_is_well() -> None:
    shown = {c.type: (c.status, c.reason) for c in conditions(a_situation(), (), NOON)}
    assert shown == {
        "Observed": ("True", "Watching"),
        "Healthy": ("True", "NoRuleFiring"),
        "RollbackReady": ("True", "TargetProven"),
        "Acting": ("False", "Idle"),
        "Held": ("False", "Free"),
    }


@pytest.mark.parametrize(
    "but, name, expected",
    [
        ({"journal_error": "disk full"}, "Observed", ("False", "JournalNotWritable")),
        ({"snapshot": None}, "Observed", ("Unknown", "NotSeenYet")),
        ({"snapshot": a_snapshot(at=NOON - HOUR)}, "Observed", ("False", "PlatformNotSeen")),
        ({"findings": (a_finding(state=RuleState.BLIND),)}, "Observed", ("False", "Blind")),
        ({"findings": (a_finding(state=RuleState.BLIND),)}, "Healthy", ("Unknown", "Blind")),
        ({"findings": ()}, "Healthy", ("Unknown", "NotJudgedYet")),
        ({"findings": (a_finding(),)}, "Healthy", ("False", "RuleFiring")),
        ({"case": None}, "RollbackReady", ("Unknown", "NotSeenYet")),
        ({"mode": Mode.PAGE}, "RollbackReady", ("False", "ModePage")),
        ({"case": a_case(target=None, no_target="none", findings=())}, "RollbackReady", ("False", "TargetNotProven")),
        ({"case": a_case(state=a_state(pause=PAUSE), findings=())}, "RollbackReady", ("False", "Pause")),
        ({"state": a_state(pause=PAUSE)}, "Held", ("True", "Paused")),
        ({"state": a_state(incident=an_incident(phase="acting", goal=a_goal()))}, "Acting", ("True", "RollingBack")),
        ({"state": a_state(incident=an_incident(phase="verifying", goal=a_goal()))}, "Acting", ("True", "Verifying")),
    ],
)
def test_each_condition_says_what_is_the_matter(but: dict[str, Any], name: str, expected: tuple[str, str]) -> None:
    found = of(name, a_situation(**but))
    assert (found.status, found.reason) == expected
    assert found.message


def test_of_many_firing_rules_one_is_told_and_the_others_are_named() -> None:
    message = of("Healthy", a_situation(findings=(a_finding(),) * 9)).message
    assert message.count(a_finding().sentence) == 1
    assert message.endswith("and 3 more")


def test_a_hold_that_is_over_holds_nobody() -> None:
    hold = ev.HoldSet(at=NOON, by="ada", reason="hotfix", until=NOON + 60.0)
    situation = a_situation(state=a_state(hold=hold))
    assert of("Held", situation, NOON + 59.0).reason == "Hold"
    assert of("Held", situation, NOON + 60.0).status == "False"


def test_acting_counts_the_machines_that_are_done() -> None:
    updates = {"m1": Update(before="a", after="b", healthy=True), "m2": Update(before="a", after="b")}
    incident = an_incident(phase="acting", goal=a_goal(updates=updates))
    assert of("Acting", a_situation(state=a_state(incident=incident))).message == "rolling back to v41: 1 machines done"


def test_a_condition_keeps_the_time_of_its_last_transition() -> None:
    well, firing = a_situation(), a_situation(findings=(a_finding(),))
    first = conditions(well, (), NOON)
    again = conditions(well, first, NOON + 10.0)
    ill = conditions(firing, again, NOON + 20.0)
    assert {c.since for c in again} == {NOON}
    assert {c.type: c.since for c in ill} == {c.type: NOON for c in first} | {"Healthy": NOON + 20.0}


def test_ready_names_where_it_would_go_back_to() -> None:
    assert GOOD.removeprefix("sha256:")[:12] in of("RollbackReady", a_situation()).message


def test_a_reason_is_one_word() -> None:
    assert [camel("target not proven"), camel("config-only release")] == ["TargetNotProven", "ConfigOnlyRelease"]
