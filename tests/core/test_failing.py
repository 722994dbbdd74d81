"""Probes: k failures in a row, or k of the last n; on enough machines, or at the edge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import Tenure, View
from rollguard.core.judge import judge
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Failing, Quorum, Rule
from rollguard.core.signals import Scope
from tests.builders import GOOD, HEALTH, LIFE, NOON, a_policy, a_rule, a_tenure, a_view, evidence, readings

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND
THREE_IN_A_ROW = Failing(signal="health", k=3)
THREE_OF_FIVE = Failing(signal="health", k=3, of=5)
NO_EDGE = a_policy()
NO_EDGE = replace(NO_EDGE, signals=(replace(HEALTH, scopes=frozenset({Scope.MACHINE})), *NO_EDGE.signals[1:]))


def finding(
    *rows: Iterable[Reading], view: View | None = None, rule: Rule | None = None, edge: str = "ok", **but: object
) -> Finding:
    """What the rule says at noon about these machines' readings; the edge answers well unless it is said."""
    seen = evidence(*rows, readings(edge, subject=EDGE), view=view, **but)
    return judge(rule or a_rule(THREE_IN_A_ROW), seen, NOON)


def fleet(*scripts: str) -> list[list[Reading]]:
    """What m1, m2, … answered, one script each."""
    return [readings(script, subject=f"m{i}") for i, script in enumerate(scripts, start=1)]


# -- one machine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "history, state",
    [
        ("ok ok ok", CLEAR),
        ("ok ok fail", PENDING),
        ("ok fail fail", PENDING),
        ("fail fail fail", FIRING),
        ("ok fail fail fail fail", FIRING),
        ("fail fail ok fail", PENDING),  # one good answer starts the count again
        ("fail fail fail ok", CLEAR),
        ("fail fail - fail", FIRING),  # a gap is no failure and no success
        ("fail - - fail", PENDING),
        ("fail fail fail - -", FIRING),  # and takes nothing back
        ("ok - -", CLEAR),
        ("ok - - - - -", BLIND),  # a silence of 25 s
        ("fail fail fail - - - - -", BLIND),  # no data is no evidence, of failure or of health
    ],
)
def test_three_failures_in_a_row_fire_and_no_gap_counts_as_one(history: str, state: RuleState) -> None:
    assert finding(readings(history), edge=history).state is state


@pytest.mark.parametrize(
    "history, state",
    [
        ("ok ok ok ok ok", CLEAR),
        ("fail ok ok ok ok ok", CLEAR),  # only the last five count
        ("fail ok ok ok fail", PENDING),
        ("fail ok fail ok fail", FIRING),
        ("fail ok fail ok ok fail", PENDING),
        ("fail fail fail ok ok", FIRING),
        ("fail - fail - ok ok fail", FIRING),
        ("fail fail fail", FIRING),  # three of three are three of five
    ],
)
def test_three_failures_of_the_last_five_fire(history: str, state: RuleState) -> None:
    assert finding(readings(history), rule=a_rule(THREE_OF_FIVE)).state is state


def test_a_finding_says_value_limit_and_since_when() -> None:
    found = finding(readings("ok fail fail fail fail"))
    assert found.sentence == "health failed 4 in a row (HTTP 503), limit 3 since 11:59:45Z on 1 of 1 machine"
    assert (found.value, found.since, found.machines) == (4.0, NOON - 15, ("m1",))


def test_the_onset_is_the_earliest_and_the_count_the_highest_of_all_that_fail() -> None:
    found = finding(*fleet("ok fail fail fail", "fail fail fail fail"), view=a_view(2))
    assert found.sentence == "health failed 4 in a row (HTTP 503), limit 3 since 11:59:45Z on 2 of 2 machines"
    assert (found.since, found.value) == (NOON - 15, 4.0)


def test_a_finding_of_k_of_n_says_so() -> None:
    found = finding(readings("fail ok fail ok fail"), rule=a_rule(THREE_OF_FIVE))
    assert found.sentence == "health failed 3 of the last 5 (HTTP 503), limit 3 since 11:59:40Z on 1 of 1 machine"


def test_nothing_but_breaching_machines_is_named() -> None:
    assert finding(*fleet("ok", "ok"), view=a_view(2)).machines == ()
    assert finding(*fleet("fail", "ok"), view=a_view(2)).machines == ("m1",)


# -- lives -------------------------------------------------------------------------------------------------------------


def test_failures_of_the_machines_life_before_do_not_count() -> None:
    restarted = a_view(cohort=(a_tenure("m1", since=NOON - 7),), whole_since=NOON - 7)
    assert finding(readings("fail fail fail fail"), view=restarted, edge="fail fail fail fail").state is PENDING


def test_a_young_machine_gets_the_time_to_be_read_and_no_good_word_for_it() -> None:
    young = a_view(cohort=(a_tenure("m1", since=NOON - 10),), whole_since=NOON - 10)
    found = finding(view=young, rule=a_rule(THREE_IN_A_ROW, quorum=Quorum(or_edge=False)))
    assert (found.state, found.sentence) == (CLEAR, "nothing read yet")


def test_an_old_machine_that_was_never_read_makes_the_guard_blind() -> None:
    found = finding(edge="-")
    assert found.state is BLIND
    assert found.sentence == "no readings of health: no answer from m1 and edge"


def test_a_young_guard_gets_the_time_to_read_machines_of_any_age() -> None:
    assert finding(edge="-", alive_since=NOON - 10).state is CLEAR
    assert finding(edge="-", alive_since=NOON - 30).state is BLIND


# -- quorum ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, share, sick, fires",
    [
        (4, 0.5, 1, False),
        (4, 0.5, 2, True),
        (5, 0.5, 2, False),
        (5, 0.5, 3, True),
        (1, 0.5, 1, True),
        (3, 1.0, 2, False),
        (3, 1.0, 3, True),
        (3, 0.0, 1, True),
        (20, 0.55, 11, True),  # 0.55 × 20 is a little more than 11 in floating point
        (20, 0.55, 10, False),
    ],
)
def test_one_sick_machine_is_not_a_bad_release(size: int, share: float, sick: int, fires: bool) -> None:
    rows = fleet(*["fail fail fail"] * sick, *["ok ok ok"] * (size - sick))
    found = finding(*rows, view=a_view(size), rule=a_rule(THREE_IN_A_ROW, quorum=Quorum(machines=share)))
    assert found.firing, "somebody is told in any case"
    assert found.blame is (Blame.RELEASE if fires else Blame.MACHINE)
    assert len(found.machines) == sick


def test_a_sick_machine_is_named() -> None:
    found = finding(*fleet("ok ok ok", "fail fail fail", "ok ok ok", "ok ok ok"), view=a_view(4))
    assert found.sentence.startswith("machine m2, not the release: health failed 3 in a row")
    assert found.machines == ("m2",)


def test_machines_that_are_asleep_have_no_vote() -> None:
    sleepers = tuple(a_tenure(f"m{i}", started=False) for i in (2, 3, 4))
    found = finding(readings("fail fail fail"), view=a_view(cohort=(a_tenure("m1"), *sleepers)))
    assert found.blame is Blame.RELEASE


def test_too_few_machines_that_answer_to_reach_the_quorum_make_the_guard_blind() -> None:
    """One of four answers well: two others might be failing, and nobody would know."""
    assert finding(*fleet("ok ok ok"), view=a_view(4)).state is BLIND
    assert finding(*fleet("ok ok ok", "ok ok ok"), view=a_view(4)).state is CLEAR


def unseen(*cohort: Tenure) -> Finding:
    """None of these machines is started, and the edge is not asked."""
    return judge(a_rule(THREE_IN_A_ROW), evidence(view=a_view(cohort=cohort), policy=NO_EDGE), NOON)


def test_a_release_that_could_be_started_and_is_not_cannot_be_seen() -> None:
    found = unseen(a_tenure("m1", started=False), a_tenure("m2", started=False, resting=True))
    assert (found.state, found.sentence) == (BLIND, "no readings of health: no machine of the release is started")


def test_a_release_that_rests_because_nobody_needs_it_is_left_in_peace() -> None:
    asleep = [a_tenure(f"m{i}", started=False, resting=True) for i in (1, 2)]
    assert unseen(*asleep).state is CLEAR
    assert unseen().state is BLIND, "no machine at all is something else"


def test_a_release_whose_youngest_machine_is_only_just_coming_up_gets_its_time() -> None:
    young, old = a_tenure("m1", started=False, since=NOON - 10), a_tenure("m2", started=False)
    assert unseen(young, old).state is CLEAR


def test_an_app_that_is_scaled_to_zero_is_not_a_guard_that_is_blind() -> None:
    asleep = a_view(cohort=(a_tenure("m1", started=False, resting=True),))
    found = judge(a_rule(THREE_IN_A_ROW), evidence(view=asleep, policy=NO_EDGE), NOON)
    assert (found.state, found.sentence) == (CLEAR, "every machine of the release sleeps: health was not asked")


@pytest.mark.parametrize("age_s, state", [(0.0, CLEAR), (18.0, CLEAR), (18.1, BLIND)])
def test_a_release_whose_first_machine_still_boots_is_given_its_time(age_s: float, state: RuleState) -> None:
    """Every deploy begins like this; three rounds, a timeout and a second later nobody having started is blindness."""
    booting = a_view(cohort=(a_tenure("m1", since=NOON - age_s, started=False),), others=(a_tenure("m2", GOOD),))
    assert finding(view=booting, rule=a_rule(THREE_IN_A_ROW), policy=NO_EDGE).state is state


# -- the edge ----------------------------------------------------------------------------------------------------------


def test_the_edge_alone_is_enough_where_the_rule_says_so() -> None:
    found = finding(readings("ok ok ok"), edge="fail fail fail")
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.RELEASE, ())
    assert found.sentence.endswith("at the edge")


def test_the_edge_does_not_count_where_the_rule_asks_the_machines_alone() -> None:
    rule = a_rule(THREE_IN_A_ROW, quorum=Quorum(or_edge=False))
    assert finding(readings("ok ok ok"), edge="fail fail fail", rule=rule).state is CLEAR


def test_the_edge_blames_no_release_while_machines_run_different_ones() -> None:
    mixed = a_view(1, others=[a_tenure("m2", GOOD)])
    found = finding(*fleet("ok ok ok", "ok ok ok"), view=mixed, edge="fail fail fail")
    assert (found.state, found.blame) == (FIRING, Blame.EVERYONE)


def test_the_edge_counts_only_since_every_machine_runs_the_release() -> None:
    assert finding(readings("ok ok ok"), edge="fail fail fail", view=a_view(1, whole_since=NOON - 7)).state is PENDING


# -- new machines beside old ones --------------------------------------------------------------------------------------


def test_beside_old_machines_that_are_well_one_new_machine_is_enough() -> None:
    mixed = a_view(3, others=[a_tenure("m4", GOOD)])
    found = finding(*fleet("fail fail fail", "ok ok ok", "ok ok ok", "ok ok ok"), view=mixed)
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.RELEASE, ("m1",))


@pytest.mark.parametrize(
    "new, old, blame",
    [
        (["fail fail fail"], ["fail fail fail"], Blame.EVERYONE),
        (["fail fail fail"], ["ok ok ok"], Blame.RELEASE),
        (["fail fail fail", "fail fail fail"], ["fail fail fail", "ok ok ok"], Blame.RELEASE),
        (["fail fail fail", "ok ok ok"], ["fail fail fail", "ok ok ok"], Blame.EVERYONE),
        (["fail fail fail"], ["- - -"], Blame.RELEASE),  # not seen is not alike
    ],
)
def test_what_old_and_new_machines_share_is_not_the_releases_doing(
    new: list[str], old: list[str], blame: Blame
) -> None:
    size = len(new)
    others = [a_tenure(f"m{i}", GOOD) for i in range(size + 1, size + len(old) + 1)]
    found = finding(*fleet(*new, *old), view=a_view(size, others=others))
    assert (found.state, found.blame) == (FIRING, blame)


def test_old_machines_that_sleep_are_no_comparison() -> None:
    view = a_view(1, others=[a_tenure("m2", GOOD, started=False)])
    assert finding(*fleet("fail fail fail", "fail fail fail"), view=view).blame is Blame.RELEASE


# -- hard-down ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scripts, edge, trigger",
    [
        (["fail fail fail"] * 4, "fail fail fail", Trigger.HARD_DOWN),
        (["fail fail fail"] * 4, "ok ok fail", Trigger.HARD_DOWN),
        (["fail fail fail"] * 3 + ["ok ok fail"], "fail fail fail", Trigger.HARD_DOWN),
        (["fail fail fail"] * 4, "ok ok ok", Trigger.ABSOLUTE),  # users are served, whatever the machines say
        (["fail fail fail"] * 3 + ["ok ok ok"], "fail fail fail", Trigger.ABSOLUTE),
        (["fail fail fail"] * 3 + ["- - -"], "fail fail fail", Trigger.ABSOLUTE),
    ],
)
def test_hard_down_is_when_nobody_is_served(scripts: list[str], edge: str, trigger: Trigger) -> None:
    found = finding(*fleet(*scripts), view=a_view(4), edge=edge)
    assert (found.state, found.trigger) == (FIRING, trigger)


def test_hard_down_needs_no_edge_where_none_is_asked() -> None:
    assert finding(readings("fail fail fail"), policy=NO_EDGE).trigger is Trigger.HARD_DOWN


def test_it_is_not_hard_down_while_machines_of_another_release_serve() -> None:
    mixed = a_view(1, others=[a_tenure("m2", GOOD)])
    found = finding(*fleet("fail fail fail", "ok ok ok"), view=mixed, policy=NO_EDGE)
    assert (found.blame, found.trigger) == (Blame.RELEASE, Trigger.ABSOLUTE)


def test_a_young_machine_beside_dead_ones_is_not_known_to_be_dead() -> None:
    view = a_view(cohort=(a_tenure("m1"), a_tenure("m2", since=NOON - 2)), whole_since=LIFE)
    found = finding(readings("fail fail fail"), view=view, edge="fail fail fail")
    assert (found.state, found.trigger) == (FIRING, Trigger.ABSOLUTE)


def test_a_machine_that_was_sick_before_does_not_date_the_release_back() -> None:
    alone = finding(*fleet("fail fail fail fail fail fail", "ok", "ok", "ok"), view=a_view(4))
    assert alone.blame is Blame.MACHINE
    half = finding(*fleet("fail fail fail fail fail fail", "ok fail fail fail", "ok", "ok"), view=a_view(4))
    assert half.firing
    assert half.blame is Blame.RELEASE
    assert half.since == finding(*fleet("ok fail fail fail", "ok fail fail fail", "ok", "ok"), view=a_view(4)).since
