"""The referee believes the platform and the users, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rollguard.demo.endings import FAST, LEFT_ALONE, ONCE, ROLLED_BACK, Ending
from rollguard.demo.referee import rule
from rollguard.demo.seen import Seen
from tests.demo.runs import (
    CI,
    DEPLOYED_AT,
    EVENTS,
    FAILED_ON_NEW,
    GUARD,
    LEFT,
    NEW,
    OLD,
    PAGES,
    WELL,
    event,
    machines,
    row,
    view,
    visit,
)


def failures(seen: Seen, ending: Ending = ROLLED_BACK) -> str:
    ruling = rule(seen, ending)
    assert not ruling.ok
    return "; ".join(ruling.failures)


@pytest.mark.parametrize("ending", [ROLLED_BACK, FAST, ONCE], ids=lambda ending: ending.words)
def test_a_rollback_that_went_well_is_well(ending: Ending) -> None:
    ruling = rule(WELL, ending)
    assert (ruling.outcome, ruling.failures, ruling.ok) == (ending.words, (), True)


def test_a_good_release_that_was_left_alone_and_proven_is_well() -> None:
    ruling = rule(LEFT, LEFT_ALONE)
    assert (ruling.outcome, ruling.failures, ruling.ok) == (LEFT_ALONE.words, (), True)


def test_reactions_count_from_the_end_of_the_deploy_where_users_were_hurt_before_it() -> None:
    figures = rule(WELL, ROLLED_BACK).figures
    assert figures.to_first_bad_response == 5.0
    assert figures.to_decision == 1.5
    assert figures.to_first_write == 2.0
    assert figures.to_recovered == 10.0


def test_reactions_count_from_the_first_bad_response_where_it_came_after_the_deploy() -> None:
    late = replace(WELL, visits=[visit(110.5, {**FAILED_ON_NEW, "latency_s": 0.5})])
    assert rule(late, ROLLED_BACK).figures.to_first_write == 1.0


def test_recovered_waits_for_the_last_user_who_got_a_bad_answer() -> None:
    assert (
        rule(replace(WELL, visits=[*WELL.visits, visit(123.0, FAILED_ON_NEW)]), ROLLED_BACK).figures.to_recovered
        == 13.0
    )


def test_figures_that_do_not_exist_are_none() -> None:
    figures = rule(LEFT, LEFT_ALONE).figures
    assert figures.to_first_bad_response is figures.to_decision is figures.to_first_write is None
    assert rule(replace(WELL, whole_at=None), ROLLED_BACK).figures.to_recovered is None


def test_the_guard_s_own_word_makes_nothing_right() -> None:
    """It says that it decided, and even that v1 is proven; the machines still run the bad image."""
    lying = replace(WELL, view=view({"machines": machines(NEW)}), proven=True, decided_at=110.1)
    assert rule(lying, ROLLED_BACK).outcome == "every machine on v2; the guard wrote to machines 2 times"
    assert "does not run the good image" in failures(lying)


def test_no_verdict_hangs_on_when_the_guard_says_it_decided() -> None:
    assert rule(replace(WELL, decided_at=None), ROLLED_BACK).ok
    assert rule(replace(WELL, decided_at=9999.0), ROLLED_BACK).ok


def test_a_machine_that_does_not_serve_is_not_restored() -> None:
    assert "does not serve" in failures(replace(WELL, view=view({"machines": machines(OLD, routable=False)})))


def test_a_mix_is_named() -> None:
    mix = replace(WELL, view=view({"machines": [machines(OLD)[0], machines(NEW)[1]]}))
    assert rule(mix, ROLLED_BACK).outcome == "a mix: 1 on v1, 1 on v2; the guard wrote to machines 2 times"
    assert not rule(mix, ROLLED_BACK).ok


def test_a_slow_first_write_is_too_late_even_where_the_decision_was_in_time() -> None:
    late = replace(WELL, limit_s=1.9, decided_at=DEPLOYED_AT)
    assert rule(late, FAST).outcome == "every machine on v1; the guard wrote to machines 2 times"
    assert "the first write came after 2.0 s, limit 1.9 s" in failures(late, FAST)


def test_writing_before_the_deploy_is_over_is_wrong() -> None:
    early = view({"first_write_at": {GUARD: DEPLOYED_AT - 3.0}})
    assert "3.0 s before the deploy was over" in failures(replace(WELL, view=early))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row(2, CI)], "0 release rows"),
        ([row(4, GUARD), row(3, GUARD)], "2 release rows"),
        ([row(3, GUARD, "running")], "release v3 is running"),
        ([row(3, GUARD, "failed")], "release v3 is failed"),
    ],
)
def test_the_guard_makes_one_release_row_and_closes_it(rows: list[dict[str, Any]], sentence: str) -> None:
    seen = replace(WELL, view=view({"releases": rows}))
    assert sentence in failures(seen, ONCE)
    assert rule(seen, ONCE).outcome != ONCE.words


def test_a_machine_updated_twice_is_not_finished_exactly_once() -> None:
    twice = replace(WELL, events=[*EVENTS, event(119.0, "update", GUARD, "m2")])
    assert rule(twice, ONCE).outcome == "every machine on v1; the guard wrote to machines 3 times"
    assert "updated machine m2 2 times" in failures(twice, ONCE)


def test_an_update_that_was_refused_did_not_happen() -> None:
    assert rule(replace(WELL, events=[*EVENTS, event(119.0, "update refused", GUARD, "m2")]), ROLLED_BACK).ok


def test_a_write_that_no_rollback_needs_is_wrong() -> None:
    assert "{'stop': 1}" in failures(replace(WELL, view=view({"writes": {GUARD: {"update": 2, "stop": 1}}})))


def test_a_breach_of_the_floor_is_wrong_and_only_the_guard_s_counts() -> None:
    breach = {"at": 114.0, "owner": GUARD, "machine": "m1", "remaining": 0, "floor": 1}
    assert "machine m1 left 0 healthy, under 1" in failures(replace(WELL, view=view({"floor_violations": [breach]})))
    assert rule(replace(WELL, view=view({"floor_violations": [{**breach, "owner": CI}]})), ROLLED_BACK).ok


@pytest.mark.parametrize(
    ("failed", "cause"),
    [
        ({"status": None, "image": None, "machine": None, "error": "connection"}, "1 × connection error"),
        ({"status": 502, "image": None, "error": "proxy:reset"}, "1 × 502 made by the proxy (reset)"),
        ({"status": 503, "image": None, "error": "proxy:no-route"}, "1 × 503 made by the proxy (no-route)"),
        ({"status": None, "image": None, "error": "timeout"}, "1 × no answer in time"),
        ({"status": 500, "image": OLD}, "1 × 500 in a body served by another image"),
        ({"status": 500, "image": None}, "1 × 500 in a body served by another image"),
    ],
)
def test_from_the_first_write_on_only_the_bad_image_may_fail_a_user(failed: Mapping[str, Any], cause: str) -> None:
    after = failures(replace(WELL, visits=[*WELL.visits, visit(115.0, failed)]))
    assert cause in after
    assert "+3.0 s after the first write, GET /" in after
    assert rule(replace(WELL, visits=[*WELL.visits, visit(111.0, failed)]), ROLLED_BACK).ok, (
        "before it, it was not the guard"
    )


def test_a_request_that_began_before_the_first_write_and_was_cut_after_it_counts() -> None:
    cut = visit(111.9, {"status": 502, "image": None, "latency_s": 0.4, "error": "proxy:reset"})
    assert "1 requests failed after the first write" in failures(replace(WELL, visits=[*WELL.visits, cut]))


def test_a_4xx_is_no_failure_of_the_release() -> None:
    assert rule(replace(WELL, visits=[*WELL.visits, visit(115.0, {"status": 404})]), ROLLED_BACK).ok


def test_a_run_in_which_no_user_met_the_bad_image_shows_nothing() -> None:
    assert "this run shows nothing" in failures(replace(WELL, visits=[visit(105.0)]))


def test_users_who_could_not_be_played_spoil_the_numbers() -> None:
    shed = visit(101.0, {"status": None, "image": None, "error": "shed"})
    assert "could not be played" in failures(replace(WELL, visits=[*WELL.visits, shed]))


def test_one_incident_is_opened_and_closed() -> None:
    assert "0 incidents" in failures(replace(WELL, pages=[]))
    assert "still open" in failures(replace(WELL, pages=PAGES[:1]))
    other = {"dedup_key": "i2", "event_action": "trigger"}
    assert "2 incidents" in failures(replace(WELL, pages=[*PAGES, other]))


def test_a_wait_that_was_given_up_is_a_failure() -> None:
    assert "the rollback: not within 90 s" in failures(replace(WELL, late=("the rollback: not within 90 s",)))


def test_a_good_release_must_not_be_touched() -> None:
    held = replace(LEFT, view={**LEFT.view, "writes": {GUARD: {"lease": 1, "lease_release": 1}}})
    assert rule(held, LEFT_ALONE).outcome == "left alone, and proven", "it only asked whether it may hold a machine"
    touched = replace(LEFT, view={**LEFT.view, "writes": {GUARD: {"lease": 1, "update": 1}}})
    assert rule(touched, LEFT_ALONE).outcome == "every machine on v2; the guard wrote to no machine"
    assert "wrote to the platform" in failures(touched, LEFT_ALONE)


def test_a_good_release_must_be_proven_by_the_guard() -> None:
    assert "the guard has not proven the release" in failures(replace(LEFT, proven=False), LEFT_ALONE)


def test_nobody_is_woken_for_a_good_release() -> None:
    assert "woken 2 times" in failures(replace(LEFT, pages=PAGES), LEFT_ALONE)


def test_no_user_may_fail_while_a_good_release_comes() -> None:
    hurt = visit(101.0, {"status": 502, "image": None, "error": "proxy:reset"})
    assert "failed during the run" in failures(replace(LEFT, visits=[hurt]), LEFT_ALONE)
