"""Hold, page or roll back: a firing rule always ends in an act, or in a page that names what held it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import events as ev
from rollguard.core.case import Case
from rollguard.core.decide import Hold, PageDecision, RollBack, decide
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.model import Mode
from rollguard.core.policy import Action
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    a_case,
    a_finding,
    a_record,
    a_rollback,
    a_rule,
    a_snapshot,
    a_state,
    machines,
)

OBSERVE, PAGE, ENFORCE = Mode.OBSERVE, Mode.PAGE, Mode.ENFORCE
PAUSED = a_state(pause=ev.PauseSet(at=NOON - 60, by="ann", reason="fire drill"))


def fires(name: str, **but: object) -> Finding:
    """A firing rule of this name; ``then`` and ``mode`` are the rule's."""
    of_rule = {key: but.pop(key) for key in ("then", "mode") if key in but}
    return a_finding(a_rule(name=name, **of_rule), **but)  # type: ignore[arg-type]


def blind(name: str, **but: object) -> Finding:
    return fires(name, state=RuleState.BLIND, said="no readings of health: no answer", **but)


def on(*findings: Finding, mode: Mode = ENFORCE, **but: object) -> Hold | PageDecision | RollBack:
    return decide(a_case(findings=findings, **but), mode, NOON)


# -- the mode ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "guard, rule, told",
    [
        (ENFORCE, ENFORCE, None),
        (ENFORCE, PAGE, PAGE),
        (PAGE, ENFORCE, PAGE),
        (PAGE, PAGE, PAGE),
        (ENFORCE, OBSERVE, OBSERVE),
        (OBSERVE, ENFORCE, OBSERVE),
        (PAGE, OBSERVE, OBSERVE),
        (OBSERVE, PAGE, OBSERVE),
        (OBSERVE, OBSERVE, OBSERVE),
    ],
)
def test_the_least_of_all_modes_counts(guard: Mode, rule: Mode, told: Mode | None) -> None:
    """None: it rolls back. OBSERVE: a recorded "would have", and nobody is told."""
    decision = on(fires("down", mode=rule), mode=guard)
    if told is None:
        assert isinstance(decision, RollBack)
        return
    assert isinstance(decision, PageDecision)
    assert (decision.mode, decision.would_roll_back, decision.refusals) == (told, True, ())


@pytest.mark.parametrize("guard", Mode)
@pytest.mark.parametrize("rule", Mode)
def test_a_rule_that_only_pages_never_rolls_back(guard: Mode, rule: Mode) -> None:
    decision = on(fires("slow", then=Action.PAGE, mode=rule), mode=guard)
    assert isinstance(decision, PageDecision)
    assert decision.mode is min(guard, rule, PAGE)
    assert not decision.would_roll_back


def test_a_rule_that_is_only_observed_does_not_silence_one_that_pages() -> None:
    decision = on(fires("tried-out", mode=OBSERVE), fires("slow", then=Action.PAGE))
    assert isinstance(decision, PageDecision)
    assert decision.mode is PAGE
    assert [f.rule.name for f in decision.findings] == ["slow"]


def test_a_rule_that_is_only_observed_does_not_silence_one_that_is_held() -> None:
    """The observed one would act, the stronger one was firing before the release: somebody must hear of it."""
    old = fires("down", trigger=Trigger.HARD_DOWN)
    state = a_state(a_record(GOOD), a_record(born_into=frozenset({"down"})))
    decision = on(fires("tried-out", mode=OBSERVE), old, state=state)
    assert isinstance(decision, PageDecision)
    assert (decision.mode, [r.name for r in decision.refusals]) == (PAGE, ["onset"])


def test_a_rule_cannot_borrow_another_ones_mode_or_another_ones_onset() -> None:
    """The one that may act was there before the release; the one that began after it may only be observed."""
    state = a_state(a_record(GOOD), a_record(born_into=frozenset({"old"})))
    for weaker in (OBSERVE, PAGE):
        decision = on(fires("old"), fires("new", mode=weaker), state=state)
        assert isinstance(decision, PageDecision)
        assert decision.mode is PAGE


def test_a_rule_that_may_only_page_does_not_hold_back_one_that_may_act() -> None:
    assert isinstance(on(fires("new", mode=PAGE), fires("down")), RollBack)


def test_of_two_that_only_the_mode_forbids_the_strongest_is_named() -> None:
    decision = on(fires("down"), fires("dead", trigger=Trigger.HARD_DOWN), mode=PAGE)
    assert isinstance(decision, PageDecision)
    assert (decision.trigger, decision.would_roll_back) == (Trigger.HARD_DOWN, True)


# -- which evidence acts -----------------------------------------------------------------------------------------------


def test_the_act_names_both_releases_and_its_reasons() -> None:
    decision = on(fires("down"))
    assert isinstance(decision, RollBack)
    assert decision.sentence.startswith(
        "rolling back v42 (bad0bad0bad0) to v41 (900d900d900d): down: health failed 3 in a row"
    )
    assert decision.target.digest == GOOD


def test_the_strongest_evidence_acts_and_the_rest_is_kept_on_record() -> None:
    decision = on(fires("slow", then=Action.PAGE), fires("down"), fires("dead", trigger=Trigger.HARD_DOWN))
    assert isinstance(decision, RollBack)
    assert decision.trigger is Trigger.HARD_DOWN
    assert {f.rule.name for f in decision.findings} == {"slow", "down", "dead"}


def test_evidence_that_is_held_does_not_hold_other_evidence() -> None:
    """A second report within a day may not act; that the app is down may."""
    state = a_state(rollbacks=(a_rollback("sha256:07e4", ago=7200, trigger="report"),))
    decision = on(fires("corruption", trigger=Trigger.REPORT), fires("down"), state=state)
    assert isinstance(decision, RollBack)
    assert decision.trigger is Trigger.ABSOLUTE


def test_if_all_evidence_is_held_the_strongest_says_by_what() -> None:
    decision = on(fires("down"), fires("corruption", trigger=Trigger.REPORT), state=PAUSED)
    assert isinstance(decision, PageDecision)
    assert decision.trigger is Trigger.REPORT
    assert decision.sentence == (
        "v42 (bad0bad0bad0) is bad and was not rolled back: paused by ann since 11:59:00Z: fire drill. "
        "corruption: health failed 3 in a row (HTTP 503), limit 3 since 11:59:50Z on 4 of 4 machines"
    )


def test_a_page_says_what_would_have_been_done_where_only_the_mode_forbids_it() -> None:
    decision = on(fires("down"), mode=PAGE)
    assert isinstance(decision, PageDecision)
    assert decision.sentence.startswith("would roll back v42 (bad0bad0bad0) to v41 (900d900d900d), but the mode is")


def test_a_release_is_not_blamed_for_one_machine_or_for_what_all_share() -> None:
    for blame in (Blame.MACHINE, Blame.EVERYONE):
        decision = on(fires("down", blame=blame))
        assert isinstance(decision, PageDecision)
        assert (decision.refusals, decision.would_roll_back) == ((), False)


def test_what_the_law_only_says_is_said_with_the_act() -> None:
    case = replace(a_case(state=PAUSED), overrides=frozenset({"pause"}))
    assert isinstance(decide(case, ENFORCE, NOON), PageDecision), "no automatic act is overridden"


# -- nothing fires -----------------------------------------------------------------------------------------------------


def test_nothing_firing_is_nothing_to_do() -> None:
    assert on() == Hold(sentence="no rule is firing")
    assert on(fires("down", state=RuleState.PENDING), fires("x", state=RuleState.CLEAR)) == on()


def test_a_blind_guard_pages_that_it_is_blind_and_does_nothing_else() -> None:
    decision = on(blind("down"), blind("slow"), fires("x", state=RuleState.PENDING))
    assert isinstance(decision, PageDecision)
    assert decision.sentence == "blind on down and slow: no readings of health: no answer"
    assert (decision.mode, decision.would_roll_back, decision.refusals) == (PAGE, False, ())


def test_blindness_of_a_rule_under_observation_wakes_nobody() -> None:
    decision = on(blind("tried-out", mode=OBSERVE))
    assert isinstance(decision, PageDecision)
    assert decision.mode is OBSERVE
    both = on(blind("tried-out", mode=OBSERVE), blind("down"))
    assert isinstance(both, PageDecision)
    assert ([f.rule.name for f in both.findings], both.mode) == (["down"], PAGE)


def test_a_small_complaint_does_not_hide_that_the_guard_is_blind() -> None:
    decision = on(fires("reported-bug", then=Action.PAGE, trigger=Trigger.REPORT), blind("down"))
    assert isinstance(decision, PageDecision)
    assert decision.sentence.endswith("; blind on down")
    assert [f.rule.name for f in decision.findings] == ["reported-bug", "down"]
    observed = on(fires("bug", then=Action.PAGE), blind("down"), mode=OBSERVE)
    assert isinstance(observed, PageDecision)
    assert [f.rule.name for f in observed.findings] == ["bug"]


# -- promise 5, whatever the situation ---------------------------------------------------------------------------------

FINDINGS = st.builds(
    a_finding,
    st.builds(a_rule, then=st.sampled_from(Action), mode=st.sampled_from(Mode), name=st.sampled_from(["a", "b", "c"])),
    state=st.sampled_from(RuleState),
    blame=st.sampled_from(Blame),
    trigger=st.sampled_from([Trigger.RELATIVE, Trigger.ABSOLUTE, Trigger.HARD_DOWN, Trigger.REPORT]),
)
STATES = st.builds(
    lambda born, rolled, paused: a_state(
        a_record(GOOD),
        a_record(BAD, born_into=frozenset(born)),
        rollbacks=rolled,
        pause=PAUSED.pause if paused else None,
    ),
    st.sets(st.sampled_from(["a", "b", "c"])),
    st.lists(
        st.builds(
            a_rollback,
            st.sampled_from([BAD, "sha256:07e4"]),
            st.sampled_from([GOOD, BAD]),
            ago=st.sampled_from([60.0, 7200.0, 1e6]),
            trigger=st.sampled_from(["report", "absolute rule"]),
        ),
        max_size=4,
    ).map(tuple),
    st.booleans(),
)
CASES = st.builds(
    lambda state, findings, target, **but: a_case(
        state=state, findings=tuple(findings), target=state.record(GOOD) if target else None, **but
    ),
    STATES,
    st.lists(FINDINGS, max_size=4),
    st.sampled_from([True, True, True, False]),
    snapshot=st.sampled_from(
        [a_snapshot(), a_snapshot(), a_snapshot(*machines(GOOD, GOOD)), a_snapshot(at=NOON - 600)]
    ),
    deploy=st.sampled_from([None, None, "bob (a lease on machine m1)"]),
    resolvable=st.sampled_from([True, True, False, None]),
    clock_behind_s=st.sampled_from([0.0, 0.0, 30.0]),
)


@given(CASES, st.sampled_from(Mode))
def test_a_firing_rule_always_ends_in_an_act_or_a_page_that_names_what_held_it(case: Case, mode: Mode) -> None:
    decision = decide(case, mode, NOON)
    firing = [f for f in case.findings if f.firing]
    asking = [f for f in firing if f.rule.then is Action.ROLLBACK and f.blame is Blame.RELEASE]
    loudest = max((min(f.rule.mode, mode) for f in firing), default=OBSERVE)
    match decision:
        case Hold():
            assert not firing
            assert not [f for f in case.findings if f.state is RuleState.BLIND]
        case PageDecision():
            assert decision.findings, "a page is about something"
            if firing:
                assert decision.mode is min(loudest, PAGE), "nobody who may be told is left in the dark"
                assert all(r.sentence in decision.sentence for r in decision.refusals)
            if [f for f in asking if min(f.rule.mode, mode) is loudest]:
                assert decision.refusals or decision.would_roll_back, "it says what held it: an interlock or the mode"
            if decision.would_roll_back:
                assert not decision.refusals
        case RollBack():
            assert [f for f in asking if min(f.rule.mode, mode) is ENFORCE and f.trigger is decision.trigger]
            assert case.state.pause is None
            assert case.deploy is None
            assert case.resolvable
            assert decision.target == case.target
            assert BAD not in {r.candidate for r in case.state.rollbacks}, "never two for one bad digest"


@given(CASES)
def test_an_observing_guard_never_acts_and_never_tells(case: Case) -> None:
    decision = decide(case, OBSERVE, NOON)
    assert isinstance(decision, Hold) or (isinstance(decision, PageDecision) and decision.mode is OBSERVE)
