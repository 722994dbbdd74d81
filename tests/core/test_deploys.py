"""People always win: what is a deploy in progress, and when a goal is over although it was not reached."""

from __future__ import annotations

import pytest

from rollguard.core.deploys import Deploy, Quiet, in_progress
from rollguard.core.model import Lease, Machine, Release, Snapshot
from rollguard.core.plan import must_end
from tests.builders import GOOD, MINUTE, NOON, a_goal, a_machine, a_release, a_snapshot

BOBS = Lease(owner="bob@example.com", description="deploying v43", expires_at=NOON + 13)
OURS = Lease(owner="token", description="rollguard i-1", expires_at=NOON + 13)


def deploy(snapshot: Snapshot, **own: object) -> Deploy | None:
    goal = a_goal(**own) if own else None
    return in_progress(snapshot, goal, Quiet(), NOON)[0]


def rows(*newest_first: Release, **but: object) -> Snapshot:
    return a_snapshot(a_machine(), releases=newest_first, **but)


def running(version: int = 43, age_s: float = 5.0, **but: object) -> Release:
    return a_release(version, "running", created_at=NOON - age_s, **but)


# -- signs of a deploy -------------------------------------------------------------------------------------------------


def test_a_quiet_app_is_not_being_deployed() -> None:
    assert deploy(a_snapshot()) is None
    assert deploy(rows()) is None


def test_a_foreign_lease_is_a_deploy_and_names_its_owner() -> None:
    found = deploy(a_snapshot(leases={"m2": BOBS, "m1": OURS}))
    assert found == Deploy(owner="bob@example.com", sign="a lease on machine m2")


def test_the_guards_own_leases_of_any_life_are_none() -> None:
    assert deploy(a_snapshot(leases={"m1": OURS})) is None


@pytest.mark.parametrize("state, counts", [("created", True), ("started", True), ("stopped", False), ("failed", False)])
def test_a_release_command_at_work_is_a_deploy_one_left_behind_is_not(state: str, counts: bool) -> None:
    helper = a_machine("rc", group="fly_app_release_command", managed=False, state=state)
    assert (deploy(a_snapshot(a_machine(), helper)) is not None) is counts


@pytest.mark.parametrize("status", ["pending", "running"])
@pytest.mark.parametrize("leases", [{}, None])
def test_an_open_row_younger_than_a_minute_is_a_deploy(status: str, leases: dict[str, Lease] | None) -> None:
    found = deploy(rows(a_release(43, status, created_at=NOON - 59), leases=leases))
    assert found == Deploy(owner="ann@example.com", sign=f"release v43 is {status}")


@pytest.mark.parametrize("status", ["complete", "failed", "interrupted", "succeeded", "dead", "cancelled"])
def test_a_closed_row_is_history(status: str) -> None:
    assert deploy(rows(a_release(43, status, created_at=NOON - 5))) is None


def test_the_guards_own_row_is_not_somebody_elses_deploy() -> None:
    assert deploy(rows(running()), row_version=43) is None
    assert deploy(rows(running()), row_version=44) is not None


def test_an_open_row_that_was_overtaken_is_history() -> None:
    assert deploy(rows(a_release(44), running(43))) is None


# -- a dead deploy -----------------------------------------------------------------------------------------------------


def read(offsets: list[float], *snapshots: Snapshot) -> list[bool]:
    """Whether a deploy is in progress at each of these seconds after noon; the last snapshot stays."""
    quiet, found = Quiet(), []
    for index, offset in enumerate(offsets):
        snapshot = snapshots[min(index, len(snapshots) - 1)]
        seen, quiet = in_progress(snapshot, None, quiet, NOON + offset)
        found.append(seen is not None)
    return found


DEAD = rows(running(age_s=5 * MINUTE))
HELD = rows(running(age_s=5 * MINUTE), leases={"m1": BOBS})
UNLOOKED = rows(running(age_s=5 * MINUTE), leases=None)


@pytest.mark.parametrize(
    "offsets, alive",
    [
        ([0, 10, 20], [True, True, False]),
        ([0, 10, 19.9], [True, True, True]),  # three reads, not yet twenty seconds
        ([0, 30], [True, True]),  # thirty seconds, two reads
        ([0, 30, 31], [True, True, False]),
        ([0, 1, 2, 3, 20, 21], [True, True, True, True, False, False]),
    ],
)
def test_an_old_open_row_without_lease_is_dead_after_three_reads_over_twenty_seconds(
    offsets: list[float], alive: list[bool]
) -> None:
    assert read(offsets, DEAD) == alive


def test_a_row_of_exactly_a_minute_is_old() -> None:
    assert read([0, 10, 20], rows(running(age_s=60.0))) == [True, True, False]


def test_a_lease_in_between_starts_the_count_again() -> None:
    assert read([0, 10, 20, 30, 40, 50, 60], DEAD, DEAD, HELD, DEAD) == [True] * 5 + [False] * 2


def test_where_nobody_looked_for_leases_nothing_is_counted() -> None:
    assert read([0, 10, 20, 30], UNLOOKED) == [True] * 4
    assert read([0, 10, 20, 30, 40], DEAD, UNLOOKED, UNLOOKED, DEAD) == [True, True, True, True, False]


def test_another_row_is_counted_by_itself() -> None:
    newer = rows(running(44, age_s=5 * MINUTE), running(43, age_s=9 * MINUTE))
    assert read([0, 10, 20, 30, 40], DEAD, DEAD, newer) == [True, True, True, True, False]


# -- when a goal is over -----------------------------------------------------------------------------------------------


def over(snapshot: Snapshot, known: dict[str, str] | None = None, *, now: float = NOON, **goal: object) -> object:
    return must_end(a_goal(**goal), snapshot, known or {}, now)


def test_a_goal_goes_on_while_nobody_interferes() -> None:
    assert over(a_snapshot(leases={"m1": OURS}), {"m1": "m1-1", "m2": "m2-1"}) is None


def test_a_goal_ends_at_its_deadline() -> None:
    assert over(a_snapshot(), now=NOON + 900) == ("deadline", "not done within 15 m")
    assert over(a_snapshot(), now=NOON + 899.9) is None


@pytest.mark.parametrize("status", ["pending", "running", "complete", "failed"])
def test_a_goal_ends_at_the_first_foreign_release_row_in_any_state(status: str) -> None:
    ended = over(rows(a_release(43, status), a_release(42)))
    assert ended == ("yielded", "release v43 by ann@example.com came in between")


def test_rows_of_before_the_decision_and_the_guards_own_do_not_end_it() -> None:
    assert over(rows(a_release(42), a_release(41))) is None
    assert over(rows(running(43)), row_intended=True, row_id="r43", row_version=43) is None


def test_a_row_after_the_guards_own_ends_it() -> None:
    ended = over(rows(a_release(44), running(43)), row_intended=True, row_id="r43", row_version=43)
    assert ended == ("yielded", "release v44 by ann@example.com came in between")


def test_a_row_whose_creation_got_no_answer_may_be_our_own() -> None:
    """The very digest, pending: even beside the one that is known, since a lost row may appear late."""
    ours = a_release(43, "pending", image_ref=f"registry.example/shop@{GOOD}")
    theirs = a_release(43, "pending")
    assert over(rows(ours), row_intended=True) is None
    assert over(rows(ours)) is not None, "nothing of ours was on its way yet"
    assert over(rows(theirs), row_intended=True) is not None
    assert over(rows(ours), row_intended=True, row_id="r44", row_version=44) is None
    begun = a_release(43, "running", image_ref=f"registry.example/shop@{GOOD}")
    assert over(rows(begun), row_intended=True) is not None, "somebody is at work on it"


def test_a_goal_ends_where_somebody_holds_a_machine() -> None:
    ended = over(a_snapshot(leases={"m2": BOBS}))
    assert ended == ("yielded", "bob@example.com holds machine m2 (deploying v43)")
    nameless = Lease(owner="", description="", expires_at=NOON)
    assert over(a_snapshot(leases={"m2": nameless})) == ("yielded", "somebody holds machine m2 (no description)")


def changed(*fleet: Machine) -> object:
    return over(a_snapshot(*fleet), {"m1": "m1-1", "m2": "m2-5"})


def test_a_goal_ends_where_somebody_changed_a_machine() -> None:
    assert changed(a_machine("m1"), a_machine("m2", instance_id="m2-5")) is None
    assert changed(a_machine("m1"), a_machine("m2", instance_id="m2-6")) == (
        "yielded",
        "machine m2 was changed by somebody else",
    )


def test_machines_that_came_went_or_are_not_managed_end_nothing() -> None:
    assert changed(a_machine("m1"), a_machine("m3")) is None
    assert changed(a_machine("m1"), a_machine("m2", instance_id="m2-6", managed=False)) is None
