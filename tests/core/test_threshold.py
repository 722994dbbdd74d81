"""Values beyond a limit, without a break, for as long as the rule says."""

from __future__ import annotations

import pytest

from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.policy import Action, Quorum, Rule, Threshold
from tests.builders import NOON, a_rule, a_tenure, a_view, evidence, readings

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND


def rule(*, above: bool = True, limit: float = 3.0, for_s: float = 60.0, key: str = "numbers.p95") -> Rule:
    return a_rule(Threshold(key=key, limit=limit, above=above, for_s=for_s), then=Action.PAGE, name="slow")


def finding(script: str, asked: Rule | None = None, *, now: float = NOON, key: str = "numbers.p95") -> Finding:
    """One machine, a reading every 15 s (blind after 50 s), the last one at noon."""
    return judge(asked or rule(), evidence(readings(script, every=15.0, key=key)), now)


@pytest.mark.parametrize(
    "history, state",
    [
        ("1 1 1 1 1 1", CLEAR),
        ("1 3 3 3 3 3", CLEAR),  # at the limit is still right
        ("1 1 1 1 1 4", PENDING),
        ("1 1 4 4 4 4", PENDING),  # 45 s
        ("1 4 4 4 4 4", FIRING),  # 60 s, to the second
        ("4 4 4 4 4 1", CLEAR),
        ("4 4 4 4 1 4", PENDING),  # one good reading starts the hold again
        ("1 4 4 - 4 4", FIRING),  # a gap does not
        ("1 4 - - 4 4", FIRING),
        ("4 4 4 nan 4 4", FIRING),
        ("4 4 4 4 - - - -", BLIND),  # a silence does: no data is no evidence
        ("- - - - - -", BLIND),
    ],
)
def test_a_rule_fires_once_its_limit_was_exceeded_for_its_whole_hold(history: str, state: RuleState) -> None:
    assert finding(history).state is state


@pytest.mark.parametrize(
    "history, state",
    [
        ("0.995 0.995 0.995 0.995 0.995", CLEAR),
        ("0.99 0.99 0.99 0.99 0.99", CLEAR),
        ("0.98 0.98 0.98 0.98 0.98", FIRING),
        ("0.98 0.98 1.00 0.98 0.98", PENDING),
        ("0 0 0 0 0", FIRING),  # zero is a value
    ],
)
def test_below_is_the_other_side(history: str, state: RuleState) -> None:
    below = rule(above=False, limit=0.99, key="numbers.uptime")
    assert finding(history, below, key="numbers.uptime").state is state


def test_without_a_hold_one_reading_is_enough() -> None:
    assert finding("1 4", rule(for_s=0.0)).state is FIRING


def test_two_readings_with_blindness_in_between_are_no_hold() -> None:
    """Above at 11:58:00, nothing for two minutes, above at noon: nobody saw it stay above."""
    assert finding("4 - - - - - - - 4", rule(for_s=120.0)).state is PENDING
    assert finding("4 4 - - 4 4 - 4 4", rule(for_s=120.0)).state is FIRING


def test_the_same_silence_turns_into_blindness_on_its_own_time() -> None:
    assert finding("4 4 4 4 4", now=NOON + 50).state is FIRING
    assert finding("4 4 4 4 4", now=NOON + 51).state is BLIND


def test_a_source_that_has_no_traffic_to_speak_of_is_neither_bad_nor_blind() -> None:
    found = finding("4 4 4 4 quiet")
    assert (found.state, found.sentence, found.value) == (CLEAR, "no traffic", None)


def test_no_traffic_is_forgotten_when_the_source_falls_silent() -> None:
    assert finding("1 quiet quiet", now=NOON + 51).state is BLIND


def test_a_finding_says_value_limit_and_since_when() -> None:
    found = finding("1 4 5 6 4 4")
    assert found.sentence == "numbers.p95 4 above 3 since 11:59:00Z on 1 of 1 machine"
    assert (found.value, found.limit, found.since) == (4.0, 3.0, NOON - 60)


def test_the_worst_machine_gives_the_value() -> None:
    rows = [readings(script, every=15.0, key="numbers.p95", subject=f"m{i}") for i, script in ((1, "4 4"), (2, "9 9"))]
    found = judge(rule(for_s=15.0), evidence(*rows, view=a_view(2)), NOON)
    assert (found.value, found.machines) == (9.0, ("m1", "m2"))


def test_the_worst_of_what_must_not_be_below_is_the_lowest() -> None:
    rows = [
        readings(script, every=15.0, key="numbers.uptime", subject=f"m{i}")
        for i, script in ((1, "0.9 0.9"), (2, "0.5 0.5"))
    ]
    below = rule(above=False, limit=0.99, key="numbers.uptime", for_s=15.0)
    assert judge(below, evidence(*rows, view=a_view(2)), NOON).value == 0.5


def test_a_young_guard_gets_the_time_to_read() -> None:
    assert judge(rule(), evidence(alive_since=NOON - 50), NOON).sentence == "nothing read yet"
    assert judge(rule(), evidence(alive_since=NOON - 51), NOON).state is BLIND


def test_one_slow_machine_is_not_a_slow_release() -> None:
    rows = [readings("9 9" if i == 1 else "1 1", every=15.0, key="numbers.p95", subject=f"m{i}") for i in (1, 2, 3)]
    asked = a_rule(Threshold(key="numbers.p95", limit=3.0, above=True, for_s=15.0), quorum=Quorum(machines=0.5))
    found = judge(asked, evidence(*rows, view=a_view(3)), NOON)
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.MACHINE, ("m1",))


def test_values_of_the_life_before_do_not_count() -> None:
    young = a_view(cohort=(a_tenure("m1", since=NOON - 20),), whole_since=NOON - 20)
    rows = readings("4 4 4 4 4 4", every=15.0, key="numbers.p95")
    assert judge(rule(), evidence(rows, view=young), NOON).state is PENDING
