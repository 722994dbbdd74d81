"""What several targets of a guard have in common is told once, waits a moment for the others, and is never lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core.case import Case
from rollguard.core.decide import Hold, PageDecision, RollBack, decide
from rollguard.core.finding import Blame, Trigger
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Interlocks
from rollguard.core.surroundings import GRACE_S, Neighbour, Surroundings
from tests.builders import NOON, a_case, a_finding, a_policy, a_rule

OURS = NOON - 10.0
"""Since when a rule of this target, shop-production, fires; the others have just been told."""


def beside(*neighbours: Neighbour, known_ago: float = 1.0, unheard: tuple[str, ...] = (), **but: object) -> Case:
    around = Surroundings(neighbours=neighbours, known_at=NOON - known_ago, unheard=unheard)
    return a_case(around=around, findings=(a_finding(**but),))  # type: ignore[arg-type]


def on(case: Case, mode: Mode = Mode.ENFORCE) -> Hold | PageDecision | RollBack:
    return decide(case, mode, NOON)


def told_by(case: Case, mode: Mode = Mode.ENFORCE) -> str:
    """Whose page tells; empty: this target's own."""
    decision = on(case, mode)
    assert isinstance(decision, PageDecision), decision
    assert "other targets" in {r.name for r in decision.refusals}
    return decision.told_by


ELDER, YOUNGER = Neighbour("another", OURS - 2.0), Neighbour("another", OURS + 2.0)


def test_the_target_that_breached_first_tells_and_the_others_wait_for_it() -> None:
    assert told_by(beside(YOUNGER)) == ""
    waits = on(beside(ELDER))
    assert waits == Hold(sentence="other targets breach at the same time: another tells people of it")
    assert told_by(beside(replace(ELDER, told=True))) == "another"


def test_of_two_that_breached_in_the_same_instant_the_first_by_name_tells() -> None:
    assert isinstance(on(beside(Neighbour("another", OURS))), Hold)
    assert told_by(beside(Neighbour("zebra", OURS))) == ""


def test_where_the_first_one_does_not_tell_in_time_each_tells_for_itself() -> None:
    assert told_by(beside(ELDER, known_ago=GRACE_S + 0.1)) == ""


def test_one_that_has_told_speaks_for_all_until_a_moment_after_it_is_well() -> None:
    told = replace(YOUNGER, told=True)
    assert told_by(beside(told, known_ago=600.0)) == "another"
    assert told_by(beside(replace(told, until=NOON - GRACE_S))) == "another"
    assert told_by(beside(replace(told, until=NOON - GRACE_S - 0.1))) == ""


def test_an_act_waits_for_first_signs_elsewhere_and_not_for_long() -> None:
    signs = Neighbour("another", signs_since=OURS + 3.0)
    assert on(beside(signs)) == Hold(sentence="waiting up to 15 s for another: does the same begin there?")
    assert isinstance(on(beside(signs, known_ago=GRACE_S + 0.1)), RollBack)
    assert isinstance(on(beside(Neighbour("another", signs_since=OURS - 600.0))), RollBack)


def test_an_act_waits_for_targets_that_a_new_guard_has_not_heard_of_yet() -> None:
    assert isinstance(on(beside(unheard=("another",))), Hold)
    assert isinstance(on(beside()), RollBack)


def test_what_breached_at_another_time_neither_holds_nor_tells() -> None:
    assert isinstance(on(beside(Neighbour("another", OURS - 600.0, told=True))), RollBack)


def test_nobody_looks_aside_where_the_policy_says_so() -> None:
    alone = a_policy(interlocks=replace(a_policy().interlocks, others_within_s=0.0))
    assert isinstance(on(replace(beside(ELDER, unheard=("third",)), policy=alone)), RollBack)
    assert Interlocks().others_within_s > 0


def test_a_report_is_about_this_target_alone() -> None:
    assert isinstance(on(beside(replace(ELDER, told=True), trigger=Trigger.REPORT)), RollBack)


@pytest.mark.parametrize(
    "blame, teller", [(Blame.RELEASE, "another"), (Blame.EVERYONE, "another"), (Blame.MACHINE, "")]
)
def test_rules_that_only_page_are_told_of_once_as_well_but_a_sick_machine_is_news(blame: Blame, teller: str) -> None:
    slow = a_finding(a_rule(name="slow", then=Action.PAGE), blame=blame)
    decision = on(replace(beside(replace(ELDER, told=True)), findings=(slow,)))
    assert isinstance(decision, PageDecision)
    assert decision.told_by == teller


def test_an_observing_target_leaves_nothing_to_others() -> None:
    decision = on(beside(replace(ELDER, told=True)), Mode.OBSERVE)
    assert isinstance(decision, PageDecision)
    assert decision.told_by == ""
