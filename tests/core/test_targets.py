"""Where a rollback goes: the newest proven digest that is older than and other than the one being judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core.events import Reported
from rollguard.core.lifecycle import DigestRecord, TargetState
from rollguard.core.policy import Action, Interlocks
from rollguard.core.policy import Reported as ByReport
from rollguard.core.targets import by_version, choose, reported
from tests.builders import (
    BAD,
    DAY,
    GOOD,
    HOUR,
    MINUTE,
    NOON,
    OLDER,
    a_policy,
    a_record,
    a_rollback,
    a_rule,
    a_state,
)

V38 = "sha256:" + "0038" * 16


def target(state: TargetState, candidate: str = BAD, **limits: float) -> str | None:
    record, why = choose(state, candidate, Interlocks(**limits), NOON)  # type: ignore[arg-type]
    assert (record is None) is bool(why), "a target, or the reason why there is none"
    return record.digest if record else None


def why_not(state: TargetState, candidate: str = BAD, **limits: float) -> str:
    return choose(state, candidate, Interlocks(**limits), NOON)[1]  # type: ignore[arg-type]


def unproven(digest: str, **but: object) -> DigestRecord:
    return a_record(digest, proven_at=None, **but)


def half_finished(digest: str) -> DigestRecord:
    """It never ran on every machine."""
    return unproven(digest, full_at=None)


def test_the_newest_proven_one_before_the_candidate() -> None:
    assert target(a_state()) == GOOD
    assert target(a_state(), GOOD) == OLDER


def test_a_release_that_proved_itself_can_go_bad_at_minute_20_and_is_rolled_back_to_its_predecessor() -> None:
    proven = a_record(BAD, proven_at=NOON - 9 * MINUTE)
    assert target(a_state(a_record(OLDER), a_record(GOOD), proven)) == GOOD


def test_never_forward_also_where_the_newer_one_is_proven() -> None:
    """Somebody went back to v41 by hand: v42, proven or not, is no place to go to."""
    state = a_state(a_record(OLDER), a_record(GOOD), a_record(BAD, proven_at=NOON))
    assert target(state, GOOD) == OLDER
    assert target(a_state(a_record(GOOD), a_record(BAD, proven_at=NOON)), GOOD) is None


def test_the_first_release_has_nowhere_to_go() -> None:
    assert why_not(a_state(a_record(BAD))) == "this guard has not yet seen an older release run clean"


def test_a_predecessor_that_was_never_proven_ends_the_search_where_one_step_is_allowed() -> None:
    state = a_state(a_record(OLDER), unproven(GOOD), a_record(BAD))
    assert why_not(state) == "none within 1 release back"
    assert target(state, furthest_releases=2) == OLDER
    assert why_not(a_state(unproven(GOOD), a_record(BAD))) == "the older one was never proven"


@pytest.mark.parametrize("releases, found", [(1, None), (2, None), (3, V38)])
def test_no_further_back_than_policy_allows(releases: int, found: str | None) -> None:
    oldest = a_record(V38, version=38, first_seen_at=NOON - 3 * DAY, proven_at=NOON - 2 * DAY)
    state = a_state(oldest, unproven(OLDER), unproven(GOOD), a_record(BAD))
    assert target(state, furthest_releases=releases) == found


def test_a_deploy_that_never_got_to_every_machine_does_not_count_as_a_step() -> None:
    state = a_state(a_record(OLDER), half_finished(GOOD), a_record(BAD))
    assert target(state) == OLDER


def test_a_digest_that_was_rolled_back_is_no_target_and_no_step() -> None:
    state = a_state(rollbacks=(a_rollback(GOOD, OLDER, ago=2 * HOUR),))
    assert target(state) == OLDER
    alone = a_state(a_record(GOOD), a_record(BAD), rollbacks=(a_rollback(GOOD, OLDER, ago=2 * HOUR),))
    assert target(alone) is None


def test_a_target_must_not_have_stopped_serving_too_long_ago() -> None:
    """v41 served until v42 appeared: eight days ago is too long, whatever its own age."""
    late = a_record(BAD, first_seen_at=NOON - 8 * DAY)
    assert why_not(a_state(a_record(GOOD), late)) == "v41 (900d900d900d) stopped serving 8 d ago"
    ancient = a_record(GOOD, first_seen_at=NOON - 400 * DAY, proven_at=NOON - 399 * DAY)
    assert target(a_state(ancient, a_record(BAD))) == GOOD
    on_time = a_record(BAD, first_seen_at=NOON - 7 * DAY)
    assert target(a_state(a_record(GOOD), on_time)) == GOOD


def test_age_counts_from_the_release_that_took_over_not_from_one_that_was_rolled_back() -> None:
    """v40 was gone back to when v41 failed, and served until v42 came twenty minutes ago."""
    bad_once = a_record(GOOD, first_seen_at=NOON - 9 * DAY, proven_at=None)
    older = a_record(OLDER, first_seen_at=NOON - 20 * DAY)
    state = a_state(older, bad_once, a_record(BAD), rollbacks=(a_rollback(GOOD, OLDER, ago=9 * DAY),))
    assert target(state) == OLDER


def test_a_release_that_a_person_vouched_for_is_proven() -> None:
    adopted = a_record(GOOD, full_at=None, proven_how="adopted")
    assert target(a_state(adopted, a_record(BAD))) == GOOD


def test_a_release_is_found_by_its_number_the_latest_of_that_number() -> None:
    assert by_version(a_state(), 41) == a_record(GOOD)
    assert by_version(a_state(), 7) is None
    twice = a_state(a_record(OLDER, version=41), a_record(GOOD))
    assert by_version(twice, 41) == a_record(GOOD)


def test_a_release_that_was_reported_for_corruption_is_nowhere_to_go_back_to() -> None:
    report = Reported(at=NOON - HOUR, kind="data-corruption", digest=GOOD, version=41, by="dana", reason="rows gone")
    state = a_state(reports=(report,))
    page_only = replace(a_policy(), rules=(a_rule(ByReport(kinds=("data-corruption",)), then=Action.PAGE),))
    serious = replace(page_only, rules=(a_rule(ByReport(kinds=("data-corruption",))),))
    assert reported(state, page_only) == frozenset()
    assert reported(state, serious) == {GOOD}
    assert choose(state, BAD, Interlocks(), NOON, frozenset({GOOD}))[0] is None
    further = choose(state, BAD, Interlocks(furthest_releases=2), NOON, frozenset({GOOD}))[0]
    assert further is not None
    assert further.digest == OLDER


def test_a_release_that_people_went_back_from_is_neither_a_step_nor_a_target() -> None:
    """v40, v41, v40 again, v42: what v42 replaced is v40, proven or not as v41 may be."""
    older, left = a_record(OLDER, served_at=NOON - HOUR), a_record(GOOD, served_at=NOON - 2 * HOUR)
    assert target(a_state(older, left, a_record(BAD))) == OLDER
    assert target(a_state(older, replace(left, proven_at=None), a_record(BAD))) == OLDER
    assert target(a_state(replace(older, served_at=NOON - 3 * HOUR), left, a_record(BAD))) == GOOD
