"""Why the guard does, or does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.baseline import Baseline, Block, Share
from rollguard.core.conditions import Situation
from rollguard.core.explain import asks_for, closeness, explain_incident, explain_now, lines_now
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Threshold
from rollguard.core.status import target_object
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    a_case,
    a_finding,
    a_goal,
    a_policy,
    a_rule,
    a_state,
    an_incident,
    evidence,
    readings,
    recorded,
)
from tests.core.test_conditions import a_situation


def slow(value: float, *, above: bool = True, limit: float = 3.0) -> Finding:
    rule = a_rule(Threshold(key="numbers.p95", limit=limit, above=above, for_s=0.0))
    return a_finding(rule, RuleState.CLEAR, value=value, limit=limit)


@pytest.mark.parametrize(
    "finding, expected",
    [
        (slow(1.5), 0.5),
        (slow(6.0), 2.0),
        (slow(0.995, above=False, limit=0.99), pytest.approx(0.99497, abs=1e-4)),
        (slow(0.0, limit=0.0), 0.0),
        (slow(1.0, limit=0.0), 2.0),
        (a_finding(state=RuleState.PENDING, value=2.0), pytest.approx(2 / 3)),
        (a_finding(state=RuleState.BLIND, value=None), None),
    ],
)
def test_how_much_of_its_limit_a_value_has_used_up(finding: Finding, expected: Any) -> None:
    assert closeness(finding) == expected


@pytest.mark.parametrize(
    "finding, mode, expected",
    [
        (a_finding(), Mode.ENFORCE, "a rollback"),
        (a_finding(), Mode.PAGE, "a rollback, which mode page forbids"),
        (a_finding(a_rule(mode=Mode.OBSERVE)), Mode.ENFORCE, "a rollback, which mode observe forbids"),
        (a_finding(a_rule(then=Action.PAGE)), Mode.ENFORCE, "a page"),
        (a_finding(blame=Blame.MACHINE), Mode.ENFORCE, "a page: it blames machine, not the release"),
        (a_finding(state=RuleState.BLIND), Mode.ENFORCE, "a page that the guard is blind"),
        (a_finding(state=RuleState.PENDING), Mode.ENFORCE, "nothing"),
    ],
)
def test_what_a_rule_asks_for(finding: Finding, mode: Mode, expected: str) -> None:
    assert asks_for(finding, mode) == expected


@pytest.mark.parametrize(
    "situation, expected",
    [
        (a_situation(), "a rule that fires now would roll back to v41 (900d900d900d)"),
        (a_situation(mode=Mode.PAGE), "a rule that fires now would only page: the mode is page"),
        (a_situation(mode=Mode.OBSERVE), "a rule that fires now would only record: the mode is observe"),
        (a_situation(case=None), "nothing: no release of the app has been seen yet"),
        (
            a_situation(case=a_case(deploy="ci", findings=())),
            "a rule that fires now would page, held by deploy in progress",
        ),
        (
            a_situation(state=a_state(incident=an_incident(phase="acting", goal=a_goal()))),
            "a rollback is under way: nothing else is begun",
        ),
    ],
)
def test_what_would_happen(situation: Situation, expected: str) -> None:
    assert explain_now(situation, None, NOON)["would"] == expected


def test_every_value_comes_with_its_age() -> None:
    seen = evidence(readings("ok ok", until=NOON - 4.0))
    data = explain_now(a_situation(), seen, NOON)
    assert [rule["ageSeconds"] for rule in data["rules"]] == [4.0]
    assert explain_now(a_situation(), evidence(), NOON)["rules"][0]["ageSeconds"] is None
    assert json.loads(json.dumps(data)) == data


def test_one_rule_alone_and_an_unknown_one() -> None:
    policy = a_policy(a_rule(), a_rule(name="second"))
    situation = a_situation(policy=policy, findings=(a_finding(), a_finding(a_rule(name="second"))))
    assert [r["name"] for r in explain_now(situation, None, NOON, "second")["rules"]] == ["second"]
    with pytest.raises(KeyError):
        explain_now(situation, None, NOON, "third")


def test_the_lines_name_what_holds_and_what_is_clear() -> None:
    pause = ev.PauseSet(at=NOON - 60.0, by="ada", reason="we look first")
    case = a_case(state=a_state(pause=pause))
    lines = lines_now(explain_now(a_situation(case=case, findings=(a_finding(),)), None, NOON))
    assert (
        "  FIRES    not-responding: health failed 3 in a row (HTTP 503), limit 3 since 11:59:50Z on 4 of 4 machines"
        in lines
    )
    assert "  HOLDS    pause: paused by ada since 11:59:00Z: we look first" in lines
    assert any(line.startswith("  clear    ") and "cooldown" in line for line in lines)
    assert lines[-1] == "would: a rule that fires now would page, held by pause"


def test_a_past_decision_is_retold_with_its_numbers_and_what_held_it() -> None:
    history = recorded(
        ev.RuleChanged(at=NOON - 3600.0, rule="old", before="clear", after="firing", sentence="long ago"),
        ev.RuleChanged(at=NOON - 1.0, rule="errors", before="clear", after="firing", sentence="12 % of 80"),
        ev.IncidentOpened(at=NOON, incident="i-1", candidate=BAD, sentence="it is bad"),
        ev.Decided(
            at=NOON,
            incident="i-1",
            decision="page",
            trigger="absolute rule",
            sentence="not rolled back",
            findings=("errors: 12 % of 80",),
            refusals=("cooldown: another 5 m",),
            warnings=("hold: a hotfix",),
            policy="0123456789abcdef",
        ),
        ev.Decided(at=NOON, incident="i-2", decision="page", trigger="report", sentence="another one"),
    )
    assert explain_incident(history, "i-1") == [
        "2026-08-21T11:59:59Z  errors is firing: 12 % of 80",
        "2026-08-21T12:00:00Z  decided to page (absolute rule): not rolled back",
        "    because    errors: 12 % of 80",
        "    held by    cooldown: another 5 m",
        "    note       hold: a hotfix",
        "    policy     0123456789ab",
    ]
    assert explain_incident(history, "i-9") == []


def test_what_a_release_is_compared_with_is_said_with_its_age_and_how_it_is_known() -> None:
    blocks = tuple(Block(GOOD, end - 300, end, {"errors": Share(1.0, 1000.0)}) for end in (NOON - 600, NOON - 300))
    known = Baseline(GOOD, blocks, "recorded")
    seen = a_situation(case=a_case(), baseline=known)
    data = explain_now(seen, replace(evidence(), baseline=known), NOON)
    assert data["baseline"] == target_object(seen, (), NOON)["status"]["baseline"]
    shown = data["baseline"]
    assert (shown["version"], shown["blocks"], shown["requests"], shown["how"]) == (41, 2, 2000, "recorded")
    assert (shown["from"], shown["to"]) == ("2026-08-21T11:45:00Z", "2026-08-21T11:55:00Z")
    (line,) = [line for line in lines_now(data) if line.startswith("compared with: ")]
    assert line.startswith("compared with: v41 (900d900d900d): 2 blocks of 2000 requests, recorded, the newest 5 m old")
    json.dumps(data)


def test_without_a_baseline_nothing_is_said_to_be_compared() -> None:
    data = explain_now(a_situation(case=a_case()), evidence(), NOON)
    assert data["baseline"] is None
    assert not [line for line in lines_now(data) if line.startswith("compared with")]
