"""Every ending of a scenario can be reached, and every check of it can fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rollguard.demo import endings
from rollguard.demo.endings import Ending
from rollguard.demo.figures import measure
from rollguard.demo.referee import rule
from rollguard.demo.scenarios import SCENARIOS
from rollguard.demo.seen import Seen
from tests.demo.runs import (
    ANN,
    CI,
    CUT,
    EVENTS,
    FAILED_ON_NEW,
    GUARD,
    MENDED,
    NEW,
    OLD,
    RESOLVED,
    RUNS,
    THEIRS,
    event,
    machines,
    page,
    row,
    slow,
    view,
    visit,
)

TOUCHED = {"first_write_at": {GUARD: 101.0}, "writes": {GUARD: {"stop": 1}}, "releases": [row(2, CI)]}
BREACH = {"at": 114.0, "owner": GUARD, "machine": "m1", "remaining": 0, "floor": 1}
SPOILT: dict[str, Callable[[Seen], Seen]] = {
    "somebody waited in vain": lambda seen: replace(seen, late=("the rollback: not within 90 s",)),
    "under the floor": lambda seen: replace(seen, view={**seen.view, "floor_violations": [BREACH]}),
    "too slow a machine": lambda seen: replace(seen, visits=[*seen.visits, visit(100.0, {"error": "shed"})]),
    "on another image": lambda seen: replace(seen, view={**seen.view, "machines": machines("sha256:else")}),
    "written to, early and strangely": lambda seen: replace(seen, view={**seen.view, **TOUCHED}),
    "a machine written to twice": lambda seen: replace(
        seen, events=[*seen.events, event(140.0, "update", GUARD, "m1")]
    ),
    "never written to": lambda seen: replace(seen, view={**seen.view, "first_write_at": {}}),
    "a user was cut off": lambda seen: replace(seen, visits=[*seen.visits, visit(125.0, CUT)]),
    "an error page of v2": lambda seen: replace(seen, visits=[*seen.visits, visit(111.5, FAILED_ON_NEW)]),
    "nobody met v2": lambda seen: replace(seen, visits=[visit(121.0)]),
    "nobody paged": lambda seen: replace(seen, pages=[]),
    "paged about something else": lambda seen: replace(seen, pages=[page("rolling back"), page("", key="i2")]),
    "resolved": lambda seen: replace(seen, pages=[*seen.pages, RESOLVED]),
    "not proven": lambda seen: replace(seen, proven=False),
    "proof was asked for": lambda seen: replace(seen, judged_first=True),
    "deployed everywhere": lambda seen: replace(seen, events=EVENTS),
    "the person's deploy failed": lambda seen: replace(seen, view={**seen.view, "releases": [row(4, ANN, "failed")]}),
    "nobody came in between": lambda seen: replace(seen, person="nobody@example.com"),
    "nobody approved": lambda seen: replace(seen, yes_at=None),
}


def complaints(ending: Ending, seen: Seen) -> set[int]:
    """The places of the checks that have something against the run."""
    figures = measure(seen)
    return {at for at, check in enumerate((*ending.proof, *ending.checks)) if list(check(seen, figures))}


def test_every_scenario_s_ending_has_a_run_here() -> None:
    assert {scenario.ending for scenario in SCENARIOS.values()} == set(RUNS)


@pytest.mark.parametrize("ending", RUNS, ids=lambda ending: ending.words)
def test_a_run_that_ends_as_it_must_is_well(ending: Ending) -> None:
    ruling = rule(RUNS[ending], ending)
    assert (ruling.outcome, ruling.failures, ruling.ok) == (ending.words, (), True)


@pytest.mark.parametrize("ending", RUNS, ids=lambda ending: ending.words)
def test_every_check_of_an_ending_fails_for_some_run(ending: Ending) -> None:
    """A check that cannot fail is worse than none: it looks like a proof."""
    failed = {at for spoil in SPOILT.values() for at in complaints(ending, spoil(RUNS[ending]))}
    checks = (*ending.proof, *ending.checks)
    assert not [checks[at].__qualname__ for at in range(len(checks)) if at not in failed]


def against(ending: Ending, spoilt: Seen) -> str:
    ruling = rule(spoilt, ending)
    assert not ruling.ok
    return "; ".join(ruling.failures)


def test_a_guard_that_touches_what_it_must_leave_to_people_does_not_end_as_held() -> None:
    for ending in (endings.MIGRATED, endings.NOT_THE_RELEASE, endings.ONE_SICK):
        rolled_back = replace(RUNS[ending], view=view(), events=EVENTS)
        assert "wrote to the platform" in against(ending, rolled_back)
        assert rule(rolled_back, ending).outcome == "every machine on v1; the guard wrote to machines 2 times"


def test_a_page_without_the_reason_is_not_the_page() -> None:
    migrated = replace(RUNS[endings.MIGRATED], pages=[page("v2 is bad")])
    assert "no page says 'is labelled rollguard.migration='" in against(endings.MIGRATED, migrated)
    sick = replace(RUNS[endings.ONE_SICK], sick="m1")
    assert "no page says 'machine m1, not the release'" in against(endings.ONE_SICK, sick)


def test_what_must_be_left_to_people_stays_open() -> None:
    closed = replace(RUNS[endings.MIGRATED], pages=[*RUNS[endings.MIGRATED].pages, RESOLVED])
    assert "was resolved" in against(endings.MIGRATED, closed)


def test_a_release_that_fails_users_was_not_rolled_back_by_comparison_alone() -> None:
    failing = slow(1.8, "slower-by-half")
    failing = replace(failing, visits=[*failing.visits, visit(111.0, FAILED_ON_NEW)])
    assert "more than slowness was at work" in against(endings.BY_COMPARISON, failing)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_users_must_have_waited_as_much_longer_as_the_scenario_says(factor: float) -> None:
    told = f"users waited {factor:.2f} times as long"
    assert told in against(endings.BY_COMPARISON, slow(factor, "slower-by-half"))


def test_a_write_before_the_yes_is_no_consent() -> None:
    early = replace(RUNS[endings.APPROVED], yes_at=115.0)
    assert "the guard wrote 3.0 s before it was approved" in against(endings.APPROVED, early)


def test_proof_by_the_first_machine_spoils_a_rollback_that_needs_none() -> None:
    proved = replace(RUNS[endings.NO_PROOF], judged_first=True)
    assert "had to do better than its peers" in against(endings.NO_PROOF, proved)


@pytest.mark.parametrize("hurt", [visit(116.0, {**CUT, "machine": "m1"}), visit(121.0, {**CUT, "machine": None})])
def test_machines_that_are_back_fail_nobody(hurt: object) -> None:
    run = RUNS[endings.NO_PROOF]
    cut = replace(run, visits=[*run.visits, hurt])  # type: ignore[list-item]
    assert "1 requests failed on restored machines" in against(endings.NO_PROOF, cut)


def test_machines_that_the_deploy_never_reached_are_left_alone() -> None:
    touched = replace(RUNS[endings.ALL_PROVEN], events=[*RUNS[endings.ALL_PROVEN].events, EVENTS[-1]])
    assert "updated machine m2 1 times, not never" in against(endings.ALL_PROVEN, touched)


def test_a_deploy_that_got_everywhere_did_not_die_half_way() -> None:
    assert "the deploy got to 2 of 2 machines" in against(endings.ALL_PROVEN, replace(RUNS[endings.ROLLED_BACK]))


def test_a_guard_that_never_said_that_it_was_blind_was_not() -> None:
    run = RUNS[endings.BLIND]
    for pages in ([page("pages-fail")], [page("blind on errors-blatant", at=111.5)]):
        assert "before the second fault" in against(endings.BLIND, replace(run, pages=pages))


def test_rolling_forward_again_is_no_way_to_end() -> None:
    forward = replace(RUNS[endings.NOT_BETTER], view=view({"machines": machines(NEW)}))
    assert "does not run the good image" in against(endings.NOT_BETTER, forward)


def test_the_older_release_may_fail_users_where_it_is_no_better_but_nobody_may_be_cut_off() -> None:
    run = RUNS[endings.NOT_BETTER]
    assert rule(replace(run, visits=[*run.visits, visit(119.0, {"status": 500, "image": OLD})]), endings.NOT_BETTER).ok
    cut = replace(run, visits=[*run.visits, visit(119.0, CUT)])
    assert "1 × 502 made by the proxy (reset)" in against(endings.NOT_BETTER, cut)


def test_a_guard_that_goes_on_after_a_person_began_did_not_yield() -> None:
    run = RUNS[endings.YIELDED]
    more = [event(115.0, "update", GUARD, "m2"), event(115.5, "update", GUARD, "m1")]
    assert "wrote to 2 machines after a person had begun" in against(
        endings.YIELDED, replace(run, events=[*run.events, *more])
    )


def test_a_machine_is_never_written_to_over_a_person_s_release() -> None:
    run = RUNS[endings.YIELDED]
    over = [*EVENTS[:-1], *THEIRS, event(118.0, "update", GUARD, "m1")]
    assert "machine m1 was written to over a person's release" in against(endings.YIELDED, replace(run, events=over))


def test_a_rollback_that_was_over_had_nothing_to_yield() -> None:
    run = RUNS[endings.YIELDED]
    assert "not in the middle of a rollback" in against(endings.YIELDED, replace(run, events=[*EVENTS, *THEIRS]))


def test_one_machine_that_a_person_s_deploy_left_asleep_is_excused_and_two_are_not() -> None:
    run, (m1, m2) = RUNS[endings.YIELDED], machines(MENDED, routable=False)
    asleep, awake = {**m1, "state": "stopped"}, {**m2, "routable": True}
    assert rule(replace(run, view={**run.view, "machines": [asleep, awake]}), endings.YIELDED).ok
    both = replace(run, view={**run.view, "machines": [asleep, {**m2, "state": "stopped"}]})
    assert "does not serve" in against(endings.YIELDED, both)
    assert "does not serve" in against(endings.YIELDED, replace(run, view={**run.view, "machines": [m1, awake]}))
