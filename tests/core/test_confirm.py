"""What repeated probes prove, whom they ask, and for how long: pure values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest

from rollguard.core.confirm import FOR_S_MAX, MACHINES_MAX, Doubts, again, asks_again, chosen, given_up, patience_s
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.judge import judge
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Compared, Failing, Probes, Quorum
from rollguard.core.ratios import own_of
from rollguard.core.signals import JourneySignal, Scope, Step
from rollguard.core.trials import pair_of
from tests.builders import (
    BOTH,
    GOOD,
    HEALTH,
    LIFE,
    NOON,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    evidence,
    readings,
    windows,
)

CLEAR, PENDING, FIRING = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING
THREE_IN_A_ROW = Failing(signal="health", k=3)


def repeated(script: str, *, subject: str = "m1", until: float = NOON, detail: str = "HTTP 500") -> list[Reading]:
    """Answers to what is asked every second; the last one now."""
    rows = readings(script, every=1.0, subject=subject, until=until, key=again("health"))
    return [replace(r, detail=detail) if r.value == 0.0 else r for r in rows]


def usual(script: str, *, subject: str = "m1", detail: str = "HTTP 500", until: float = NOON) -> list[Reading]:
    """Answers to what is asked every 5 s; the last one now."""
    rows = readings(script, subject=subject, until=until)
    return [replace(r, detail=detail) if r.value == 0.0 else r for r in rows]


def everybody(script: str, size: int = 2, *, detail: str = "HTTP 500", before: str = "ok fail") -> list[list[Reading]]:
    """All machines and the edge: well, then a failed usual probe, then what is asked again says ``script``."""
    began = NOON - len(script.split())
    subjects = (*(f"m{n}" for n in range(1, size + 1)), EDGE)
    firsts = [usual(before, subject=s, detail=detail, until=began) for s in subjects]
    return firsts + [repeated(script, subject=s, detail=detail) for s in subjects]


def finding(*rows: Iterable[Reading], k: int = 3, size: int = 2, **but: object) -> Finding:
    but.setdefault("view", a_view(size))
    return judge(a_rule(Failing(signal="health", k=k)), evidence(*rows, **but), NOON)


# -- nobody is served --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script, fires",
    [
        ("fail", False),
        ("fail fail fail", False),  # a blip of three seconds
        ("fail fail fail fail", True),  # four seconds, five probes of everybody
        ("fail fail ok fail", False),
        ("fail fail fail ok", False),
        ("fail fail - fail", True),  # a gap is nobody's answer, and leaves no more than two seconds open
        ("fail - - fail", False),
    ],
)
def test_four_seconds_of_nothing_but_failures_are_hard_down_and_less_is_a_blip(script: str, fires: bool) -> None:
    found = finding(*everybody(script))
    assert (found.state, found.trigger) == ((FIRING, Trigger.HARD_DOWN) if fires else (found.state, Trigger.ABSOLUTE))
    assert fires or found.state in {PENDING, CLEAR}


def test_the_finding_says_for_how_long_who_and_how_and_is_dated_by_the_first_failure() -> None:
    found = finding(*everybody("fail fail fail fail"))
    assert found.sentence == "health fails for 4 s without a break (HTTP 500) on 2 of 2 machines and the edge"
    assert (found.blame, found.machines, found.since, found.value) == (Blame.RELEASE, ("m1", "m2"), NOON - 4, 5.0)


def test_one_machine_or_an_edge_that_answers_is_enough_not_to_hurry() -> None:
    *others, edge = everybody("fail fail fail fail")
    assert finding(*others, repeated("ok ok ok ok", subject=EDGE)).state is PENDING
    rows = [row for row in everybody("fail fail fail fail") if row[0].subject != "m2"]
    well = [usual("ok ok", subject="m2"), repeated("ok ok ok ok", subject="m2")]
    assert finding(*rows, *well).state is PENDING
    assert edge[0].subject == EDGE


def test_failures_close_together_are_no_row_of_the_usual_pace() -> None:
    """Three in a row are three usual probes: ten repeated ones on one machine of two are still one failure."""
    rows = [usual("ok fail", subject="m1"), repeated("fail " * 9 + "fail"), usual("ok ok", subject="m2")]
    found = finding(*rows, usual("ok ok", subject=EDGE))
    assert (found.state, found.value) == (PENDING, 1.0)


def test_old_machines_that_still_run_take_away_the_hurry() -> None:
    """Beside them there is somebody left who serves; and a comparison side by side."""
    view = a_view(1, others=[a_tenure("m2", GOOD)])
    assert finding(*everybody("fail fail fail fail"), view=view).trigger is Trigger.ABSOLUTE


@pytest.mark.parametrize("k, script, fires", [(2, 3, False), (2, 4, True), (5, 7, False), (5, 8, True), (9, 15, False)])
def test_a_more_patient_rule_is_waited_for_in_proportion(k: int, script: int, fires: bool) -> None:
    found = finding(*everybody(" ".join(["fail"] * script)), k=k)
    assert (found.trigger is Trigger.HARD_DOWN) is fires


def test_probes_of_the_usual_pace_alone_prove_no_second_in_between() -> None:
    rows = [usual("ok fail fail", subject=s) for s in ("m1", "m2", EDGE)]
    assert finding(*rows).state is PENDING


def hanging(subject: str, *asked: float) -> list[Reading]:
    """Probes asked so many seconds ago that were given up after four."""
    rows = [
        Reading("health", subject, NOON - ago + 4, value=0.0, detail="timeout after 4s", since=NOON - ago)
        for ago in asked
    ]
    return [Reading("health", subject, NOON - 20, value=1.0, detail="HTTP 200"), *rows]


def test_what_hangs_is_dated_by_when_it_was_asked() -> None:
    """Two questions a second apart that both were lost: that may have been one second."""
    assert finding(*(hanging(s, 5, 4) for s in ("m1", "m2", EDGE))).state is PENDING
    assert finding(*(hanging(s, 8, 4) for s in ("m1", "m2", EDGE))).trigger is Trigger.HARD_DOWN


@pytest.mark.parametrize("looked_at, fires", [(NOON - 4.1, False), (NOON - 3.9, True)])
def test_nobody_is_blamed_before_it_was_looked_who_runs_what(looked_at: float, fires: bool) -> None:
    """All at once, it is likely to be a release that came just now."""
    found = finding(*everybody("fail fail fail fail"), looked_at=looked_at)
    assert (found.trigger is Trigger.HARD_DOWN) is fires


# -- who is starting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "detail, fires",
    [("HTTP 500", True), ("HTTP 502", False), ("HTTP 503", False), ("HTTP 504", False), ("connection refused", False)],
)
def test_a_machine_that_was_never_well_may_still_be_starting_unless_the_app_itself_answers(
    detail: str, fires: bool
) -> None:
    rows = everybody("fail fail fail fail fail fail fail", detail=detail, before="fail")
    assert (finding(*rows).trigger is Trigger.HARD_DOWN) is fires


@pytest.mark.parametrize("detail", ["HTTP 502", "connection refused"])
def test_who_was_well_before_is_not_starting(detail: str) -> None:
    assert finding(*everybody("fail fail fail fail", detail=detail)).trigger is Trigger.HARD_DOWN


def test_what_was_well_in_a_former_life_was_another_process() -> None:
    young = [a_tenure(f"m{n}", since=NOON - 7) for n in (1, 2)]
    rows = everybody("fail fail fail fail", detail="HTTP 502")
    assert finding(*rows, view=a_view(cohort=tuple(young), whole_since=NOON - 7)).trigger is Trigger.ABSOLUTE


# -- large fleets ------------------------------------------------------------------------------------------------------


def test_of_a_large_fleet_every_digest_gives_as_many_always_the_same() -> None:
    new = [a_tenure(f"n{n:03}") for n in range(100)]
    old = [a_tenure(f"o{n:03}", GOOD) for n in range(50)]
    found = chosen([*old, *new])
    assert len(found) == MACHINES_MAX
    assert sum(m.startswith("n") for m in found) == MACHINES_MAX / 2
    assert found == chosen([*reversed(new), *old])
    assert found[:2] == ("n000", "n004")


def test_a_few_machines_of_one_digest_leave_their_room_to_the_other() -> None:
    found = chosen([*(a_tenure(f"n{n:03}") for n in range(100)), a_tenure("o1", GOOD)])
    assert (len(found), "o1" in found) == (MACHINES_MAX, True)


def test_a_small_fleet_is_asked_whole_but_for_those_asleep() -> None:
    assert chosen([a_tenure("m2"), a_tenure("m1", GOOD), a_tenure("m3", started=False)]) == ("m1", "m2")
    assert chosen([]) == ()


@pytest.mark.parametrize("last, fires", [("fail", True), ("ok", False)])
def test_who_is_not_asked_again_counts_by_the_newest_usual_probe(last: str, fires: bool) -> None:
    size = MACHINES_MAX + 10
    lives = [a_tenure(f"m{n:03}") for n in range(size)]
    asked = set(chosen(lives))
    rows = [usual("ok fail", subject=t.machine, until=NOON - 4) for t in lives if t.machine in asked]
    rows += [repeated("fail fail fail fail", subject=m) for m in asked]
    rows += [usual(f"ok {last}", subject=t.machine, until=NOON - 4) for t in lives if t.machine not in asked]
    rows += [usual("ok fail", subject=EDGE, until=NOON - 4), repeated("fail fail fail fail", subject=EDGE)]
    found = finding(*rows, view=a_view(cohort=tuple(lives)))
    assert (found.trigger is Trigger.HARD_DOWN) is fires


# -- when to ask again -------------------------------------------------------------------------------------------------


def test_one_is_asked_again_until_all_are_well() -> None:
    doubts = Doubts()
    assert doubts.took({"m1"}, NOON)
    assert doubts.took({"m2"}, NOON + 1)
    assert not doubts.took(set(), NOON + 2)
    assert doubts.took({"m1"}, NOON + 3)


def test_who_fails_for_a_minute_is_no_news_until_it_was_well_and_anybody_else_is() -> None:
    doubts = Doubts()
    seconds = [doubts.took({"m1"}, NOON + n) for n in range(200)]
    assert (seconds.count(True), seconds.index(False)) == (FOR_S_MAX, FOR_S_MAX)
    assert doubts.took({"m1", "m2"}, NOON + 200), "somebody else"
    assert not doubts.took({"m1"}, NOON + 201)
    assert not doubts.took(set(), NOON + 202)
    assert doubts.took({"m1"}, NOON + 203)


def test_a_clock_that_was_put_back_makes_no_minute_longer() -> None:
    doubts = Doubts()
    assert doubts.took({"m1"}, NOON)
    asked = [doubts.took({"m1"}, NOON - 1000 + n) for n in range(100)]
    assert asked.count(True) == FOR_S_MAX


JOURNEY = JourneySignal(
    name="paths", every_s=30.0, scopes=BOTH, timeout_s=10.0, steps=(Step(name="a", url="https://x"),)
)


@pytest.mark.parametrize(
    "condition, name, asks",
    [
        (THREE_IN_A_ROW, "health", True),
        (Compared(of=Probes(signal="health")), "health", True),
        (THREE_IN_A_ROW, "numbers", False),  # no rule is about its failures
        (THREE_IN_A_ROW, "traffic", False),
        (THREE_IN_A_ROW, "nobody", False),
        (Failing(signal="numbers", k=2), "numbers", True),
        (Failing(signal="paths", k=2), "paths", False),  # several requests, and they may write
    ],
)
def test_what_a_rule_is_about_is_asked_again(condition: Failing | Compared, name: str, asks: bool) -> None:
    policy = a_policy(a_rule(condition))
    assert asks_again(replace(policy, signals=(*policy.signals, JOURNEY)), name) is asks


def test_what_is_asked_every_second_anyway_is_not_asked_again() -> None:
    policy = a_policy()
    quick = replace(policy, signals=(replace(HEALTH, every_s=1.0), *policy.signals[1:]))
    assert not asks_again(quick, "health")


# -- nothing else is upset ---------------------------------------------------------------------------------------------


def test_repeated_probes_are_the_guards_own_requests_like_any_other() -> None:
    store = windows(usual("fail fail fail"), repeated("fail fail ok fail"))
    spans = {"m1": [(NOON - 12, NOON)]}
    assert own_of(a_policy(), "traffic.requests", a_view(1), store, spans) == {"m1": (7.0, 6.0)}


def test_the_first_machines_proof_is_made_of_usual_probes_alone() -> None:
    """Seconds cling together: more of them are no more evidence."""
    view = a_view(1, others=[a_tenure("m2", GOOD)])
    usual_ones = [usual("fail " * 7 + "fail", subject="m1"), usual("ok " * 7 + "ok", subject="m2")]
    more = [repeated("fail " * 30 + "fail", subject="m1"), repeated("ok " * 30 + "ok", subject="m2")]
    one, other = (
        pair_of(a_rule(THREE_IN_A_ROW), evidence(*rows, view=view), ("m2",), LIFE, NOON)
        for rows in (usual_ones, [*usual_ones, *more])
    )
    assert one is not None
    assert one == other


def test_a_rule_that_asks_the_edge_alone_is_confirmed_by_the_edge_alone() -> None:
    of_edge = replace(HEALTH, scopes=frozenset({Scope.EDGE}))
    policy = a_policy()
    policy = replace(policy, signals=(of_edge, *policy.signals[1:]))
    rows = [usual("ok fail", subject=EDGE, until=NOON - 4), repeated("fail fail fail fail", subject=EDGE)]
    rule = a_rule(THREE_IN_A_ROW, quorum=Quorum(machines=1.0))
    found = judge(rule, evidence(*rows, view=a_view(2), policy=policy), NOON)
    assert (found.trigger, found.machines) == (Trigger.HARD_DOWN, ())
    assert found.sentence == "health fails for 4 s without a break (HTTP 500) on the edge"


# -- for how long to wait where nobody answers -------------------------------------------------------------------------


def took(*seconds: float, subject: str = "m1") -> list[Reading]:
    """Good answers, each so long after it was asked for."""
    rows = usual(" ".join(["ok"] * len(seconds)), subject=subject)
    return [replace(r, since=r.at - s) for r, s in zip(rows, seconds, strict=True)]


@pytest.mark.parametrize(
    ("seconds", "patience"),
    [
        ([0.05] * 10, 0.5),  # the least
        ([0.3] * 10, 0.9),
        ([3.0, 3.0] + [0.3] * 8, 0.9),  # two slow ones are no habit
        ([3.0, 3.0, 3.0] + [0.3] * 7, 9.0),  # three are
        ([3.0] * 30 + [0.3] * 10, 0.9),  # of late
        ([0.3], 0.9),
    ],
)
def test_who_is_asked_again_is_given_a_few_times_its_usual_answer(seconds: list[float], patience: float) -> None:
    assert patience_s(windows(took(*seconds)), "health", {"m1": LIFE}) == pytest.approx(patience)


def test_the_slowest_subject_sets_the_pace_and_who_was_never_well_is_given_all_the_time_there_is() -> None:
    known = windows(took(0.05, 0.05), took(0.4, 0.4, subject="m2"), usual("fail fail", subject="m3"))
    assert patience_s(known, "health", {"m1": LIFE, "m2": LIFE}) == pytest.approx(1.2)
    assert patience_s(known, "health", {"m1": LIFE, "m2": LIFE, "m3": LIFE}) == math.inf
    assert patience_s(known, "health", {"m1": LIFE, "m4": LIFE}) == math.inf
    assert patience_s(known, "health", {"m1": NOON, "m2": LIFE}) == math.inf  # it was another life that was well


def test_only_silence_for_as_long_as_was_waited_is_given_up() -> None:
    silent = replace(readings("fail")[0], since=NOON - 0.5, detail="timeout after 0.5s")
    assert given_up(silent, 0.5)
    assert not given_up(silent, 4.0)
    assert not given_up(replace(silent, since=NOON - 0.01, detail="connection refused"), 0.5)
    assert not given_up(replace(silent, detail="HTTP 503"), 0.5)
    assert not given_up(replace(silent, value=1.0, detail=""), 0.5)
    assert not given_up(silent, math.inf)
