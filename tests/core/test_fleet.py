"""Whose readings count, and since when: a machine's present life begins when it really began."""

from __future__ import annotations

import pytest

from rollguard.core.fleet import Tenure, newest_running, track, view
from rollguard.core.model import Machine
from tests.builders import BAD, GOOD, LIFE, NOON, OLDER, a_crash, a_machine, a_snapshot, a_tenure

LOOK = 10.0
"""Seconds between two looks."""


def after(before: Machine | None, now: Machine) -> Tenure:
    """The tenure at noon, after a look ten seconds ago showed ``before``."""
    earlier = track({}, a_snapshot(*([before] if before else [])), None, NOON - LOOK)
    if before is None:
        earlier = {}
    return track(earlier, a_snapshot(now), NOON - LOOK, NOON)[now.id]


def updated(**but: object) -> Machine:
    return a_machine(instance_id="m1-2", started_at=NOON - 4, **but)


def test_at_first_sight_a_machine_lives_since_its_start() -> None:
    assert track({}, a_snapshot(a_machine()), None, NOON)["m1"].since == LIFE


def test_a_machine_whose_start_was_never_seen_lives_since_now() -> None:
    assert track({}, a_snapshot(a_machine(started_at=None)), None, NOON)["m1"].since == NOON


def test_a_machine_that_stays_as_it_is_keeps_its_life() -> None:
    tenure = after(a_machine(), a_machine(state="started", well=False))
    assert (tenure.since, tenure.digest_since) == (LIFE, LIFE)


def test_an_update_begins_a_new_life_at_its_own_start() -> None:
    tenure = after(a_machine(digest=GOOD), updated())
    assert (tenure.since, tenure.digest_since) == (NOON - 4, NOON - 4)


def test_an_update_to_the_same_digest_begins_a_new_life_but_the_digest_goes_on() -> None:
    tenure = after(a_machine(), updated())
    assert (tenure.since, tenure.digest_since) == (NOON - 4, LIFE)


def test_a_restart_in_place_begins_a_new_life_but_the_digest_goes_on() -> None:
    """So that crashes of one release are counted over its restarts, and its readings are not."""
    tenure = after(a_machine(), a_machine(started_at=NOON - 3))
    assert (tenure.since, tenure.digest_since) == (NOON - 3, LIFE)


def test_a_machine_that_wakes_up_begins_a_new_life() -> None:
    assert after(a_machine(state="stopped"), a_machine(started_at=NOON - 6)).since == NOON - 6


def test_a_platform_whose_clock_runs_ahead_does_not_put_a_start_into_the_future() -> None:
    assert after(a_machine(digest=GOOD), a_machine(instance_id="m1-2", started_at=NOON + 90)).since == NOON


def test_a_platform_whose_clock_runs_behind_does_not_lend_the_old_releases_readings_to_the_new_one() -> None:
    """The last look showed the old instance ten seconds ago: a start before that is the other clock's mistake."""
    tenure = after(a_machine(digest=GOOD), a_machine(instance_id="m1-2", started_at=NOON - 90))
    assert (tenure.since, tenure.digest_since) == (NOON, NOON)


def test_a_machine_that_nobody_knew_has_nothing_to_lend_and_counts_from_the_last_look() -> None:
    assert after(None, a_machine("m9", started_at=NOON - 90)).since == NOON - LOOK
    assert after(None, a_machine("m9", started_at=NOON - 5)).since == NOON - 5


def test_a_machine_that_goes_to_sleep_serves_no_longer() -> None:
    tenures = track({}, a_snapshot(a_machine(), a_machine("m2", state="stopped")), None, NOON)
    seen = view(tenures, BAD, whole_since=0.0, deploying=False)
    assert [t.machine for t in seen.cohort] == ["m1", "m2"]
    assert [t.machine for t in seen.serving] == ["m1"]


def test_a_machine_that_starts_in_the_instant_of_the_last_look_started_then() -> None:
    assert after(a_machine(digest=GOOD), updated_at(NOON - LOOK)).since == NOON - LOOK


def updated_at(started_at: float) -> Machine:
    return a_machine(instance_id="m1-2", started_at=started_at)


@pytest.mark.parametrize(
    "state, crashed, resting",
    [
        ("stopped", False, True),
        ("suspended", False, True),
        ("stopped", True, False),  # it fell, and was not put to sleep
        ("started", False, False),
        ("starting", False, False),
    ],
)
def test_a_release_is_asleep_when_every_machine_was_put_to_sleep(state: str, crashed: bool, resting: bool) -> None:
    exits = (a_crash(NOON - 60, requested=not crashed),)
    tenures = track({}, a_snapshot(a_machine(state=state, exits=exits), a_machine("m2", state="stopped")), None, NOON)
    assert view(tenures, BAD, whole_since=0.0, deploying=False).asleep is resting


def test_a_release_without_machines_is_not_asleep() -> None:
    assert not view({}, BAD, whole_since=0.0, deploying=False).asleep


def test_machines_of_other_apps_and_those_gone_are_not_tracked() -> None:
    before = {"m9": a_tenure("m9")}
    tenures = track(before, a_snapshot(a_machine(), a_machine("m2", managed=False)), NOON - LOOK, NOON)
    assert set(tenures) == {"m1"}


def test_the_fleet_is_whole_while_nobody_else_is_started() -> None:
    tenures = {t.machine: t for t in (a_tenure("m1"), a_tenure("m2", GOOD, started=False))}
    assert view(tenures, BAD, whole_since=LIFE, deploying=False).whole
    tenures["m2"] = a_tenure("m2", GOOD)
    assert not view(tenures, BAD, whole_since=LIFE, deploying=False).whole


def test_the_edge_speaks_of_the_candidate_since_its_youngest_machine() -> None:
    tenures = {t.machine: t for t in (a_tenure("m1"), a_tenure("m2", since=NOON - 7))}
    assert view(tenures, BAD, whole_since=LIFE, deploying=False).whole_since == NOON - 7
    assert view(tenures, BAD, whole_since=NOON - 2, deploying=False).whole_since == NOON - 2


def test_the_candidate_is_the_running_digest_that_appeared_last() -> None:
    order = (OLDER, GOOD, BAD)
    assert newest_running(a_snapshot(a_machine("m1", GOOD), a_machine("m2", BAD)), order) == BAD
    assert newest_running(a_snapshot(a_machine("m1", GOOD), a_machine("m2", OLDER)), order) == GOOD
    assert newest_running(a_snapshot(a_machine("m1", BAD, managed=False), a_machine("m2", GOOD)), order) == GOOD


def test_there_is_no_candidate_where_nothing_known_runs() -> None:
    assert newest_running(a_snapshot(a_machine("m1", "")), (GOOD, BAD)) is None
    assert newest_running(a_snapshot(a_machine("m1", BAD)), (GOOD,)) is None


def test_a_crash_that_the_last_look_did_not_show_came_after_it_whatever_the_platforms_clock_says() -> None:
    seen = after(a_machine(), a_machine(exits=(a_crash(NOON - 600),)))
    assert [e.at for e in seen.exits] == [NOON - LOOK]
    ahead = after(a_machine(), a_machine(exits=(a_crash(NOON + 600),)))
    assert [e.at for e in ahead.exits] == [NOON]
    punctual = after(a_machine(), a_machine(exits=(a_crash(NOON - 3),)))
    assert [e.at for e in punctual.exits] == [NOON - 3]


def test_a_crash_keeps_the_date_that_it_was_given_when_it_was_first_seen() -> None:
    crashed = a_machine(exits=(a_crash(NOON - 600),))
    first = track({"m1": after(None, a_machine())}, a_snapshot(crashed), NOON - LOOK, NOON)
    later = track(first, a_snapshot(crashed), NOON, NOON + LOOK)
    assert later["m1"].exits == first["m1"].exits != crashed.exits


def test_crashes_of_before_the_first_look_keep_the_platforms_date() -> None:
    (tenure,) = track({}, a_snapshot(a_machine(exits=(a_crash(NOON - 600),))), None, NOON).values()
    assert [e.at for e in tenure.exits] == [NOON - 600]
