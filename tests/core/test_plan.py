"""Waves under the floor: never fewer healthy machines than F, unhealthy ones first, and always an end."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.lifecycle import Goal, Update
from rollguard.core.model import Machine, Snapshot
from rollguard.core.plan import ASLEEP, TRANSIENT, Complete, Next, Wait, Wave, floor, next_step, spare
from rollguard.core.policy import Rollback
from tests.builders import BAD, GOOD, NOON, a_crash, a_goal, a_machine, a_snapshot

SETTINGS = Rollback()
STARTED_AT_ALL = {"m0": Update(before="m0-1", after="m0-2", healthy=True)}
"""The first wave is over."""


def a_group(well: int, sick: int = 0, name: str = "app", **but: object) -> list[Machine]:
    """So many machines of a group on the candidate: w1, w2, … are well, s1, s2, … are not."""
    prefix = "" if name == "app" else f"{name}-"
    healthy = [a_machine(f"{prefix}w{i}", group=name, **but) for i in range(1, well + 1)]
    return healthy + [a_machine(f"{prefix}s{i}", group=name, well=False, **but) for i in range(1, sick + 1)]


def after(fleet: list[Machine], goal: Goal | None = None, settings: Rollback = SETTINGS) -> Next:
    return next_step(a_snapshot(*fleet), goal or a_goal(updates=STARTED_AT_ALL), settings)


def wave(fleet: list[Machine], goal: Goal | None = None, settings: Rollback = SETTINGS) -> list[str]:
    step = after(fleet, goal, settings)
    assert isinstance(step, Wave), step
    return [m.id for m in step.machines]


FIRST = a_goal()


# -- the floor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "well, sick, keeps",
    [
        (1, 0, 0),  # a group of one has a gap, and the page says so beforehand
        (2, 0, 1),
        (3, 0, 2),  # ceil(75 % of 3) is 3: one less, so that it can move at all
        (4, 0, 3),
        (5, 0, 4),
        (8, 0, 6),
        (10, 0, 8),
        (3, 1, 3),
        (2, 2, 2),  # no more than are healthy now
        (1, 3, 1),
        (0, 4, 0),
        (0, 1, 0),
        (0, 0, 0),
    ],
)
def test_the_floor_is_the_share_of_the_group_at_most_all_but_one_and_at_most_the_healthy(
    well: int, sick: int, keeps: int
) -> None:
    group = a_group(well, sick)
    assert floor(group, SETTINGS) == keeps
    assert spare(group, SETTINGS) == well - keeps


def test_a_share_is_not_rounded_up_by_floating_point() -> None:
    """0.07 × 100 is a little more than 7 there."""
    assert floor(a_group(100), replace(SETTINGS, healthy_floor=0.07)) == 7
    assert len(wave(a_group(100), settings=replace(SETTINGS, healthy_floor=0.0, max_unavailable=0.07))) == 7


@pytest.mark.parametrize("state", sorted(ASLEEP))
def test_machines_that_sleep_count_for_nothing(state: str) -> None:
    sleepers = [a_machine(f"z{i}", state=state) for i in range(6)]
    assert floor([*a_group(2), *sleepers], SETTINGS) == 1


@pytest.mark.parametrize("state", ["stopped", "started"])
def test_a_standby_is_no_part_of_the_group_asleep_or_awake(state: str) -> None:
    """An awake standby must not lend its health to take down one machine more."""
    group = [*a_group(4), a_machine("b1", standby=True, state=state)]
    assert (floor(group, SETTINGS), spare(group, SETTINGS)) == (3, 1)


CRASHED = {"state": "stopped", "exits": (a_crash(NOON - 60),)}


def test_who_crashed_and_was_given_up_does_not_sleep() -> None:
    """Else a fleet that crashed to a standstill would be restored in its sleep, and the app stay down."""
    assert floor([*a_group(3), a_machine("c1", **CRASHED)], SETTINGS) == 3
    assert wave([*a_group(3), a_machine("c1", **CRASHED)]) == ["c1"]
    fleet = [a_machine(f"c{i}", **CRASHED) for i in range(1, 5)]
    assert after(fleet) == Wave(machines=tuple(fleet), skip_launch=False)


def test_who_was_stopped_on_purpose_sleeps_whatever_happened_before() -> None:
    stopped = a_machine("z1", state="stopped", exits=(a_crash(NOON - 60), a_crash(NOON - 30, requested=True)))
    assert after([a_machine("m1", GOOD), stopped]) == Wave(machines=(stopped,), skip_launch=True)


# -- one wave ----------------------------------------------------------------------------------------------------------


def test_the_first_machine_goes_alone_an_unhealthy_one_if_there_is_one() -> None:
    assert wave(a_group(8), FIRST) == ["w1"]
    assert wave(a_group(6, 2), FIRST) == ["s1"]


def test_the_rest_waits_until_one_machine_is_well_on_the_target() -> None:
    begun = a_goal(updates={"w1": Update(before="w1-1", after="w1-2")})
    restored = a_machine("w1", GOOD, instance_id="w1-2")
    rest = a_group(8)[1:]
    assert len(wave([restored, *rest], begun)) == 1
    assert len(wave([restored, *rest])) == 2


def test_as_many_go_first_as_the_policy_says_but_no_more_healthy_ones_than_may_be_in_flight() -> None:
    three_first = replace(SETTINGS, first=3)
    assert wave(a_group(2, 4), FIRST, three_first) == ["s1", "s2", "s3"]
    assert wave(a_group(20), FIRST, three_first) == ["w1", "w10", "w11"]
    low_floor = replace(three_first, healthy_floor=0.1)
    assert wave(a_group(4), FIRST, low_floor) == ["w1"], "25 % of four"


def test_then_all_unhealthy_ones_go_and_healthy_ones_only_as_far_as_there_is_room() -> None:
    assert wave(a_group(4, 4)) == ["s1", "s2", "s3", "s4"]
    assert wave(a_group(9, 1), settings=replace(SETTINGS, healthy_floor=0.5)) == ["s1", "w1", "w2"]
    assert wave(a_group(16)) == ["w1", "w10", "w11", "w12"]


def test_a_cordoned_machine_serves_nobody_and_goes_with_the_unhealthy() -> None:
    assert wave([*a_group(3), a_machine("c1", cordoned=True)]) == ["c1"]


def test_healthy_machines_wait_while_the_floor_needs_them() -> None:
    restored_but_sick = a_machine("r1", GOOD, well=False)
    step = after([*a_group(3), restored_but_sick])
    assert step == Wait("only 3 of 4 machines are healthy: the floor keeps them", by_floor=True)


def test_a_machine_that_cannot_be_reached_is_left_for_the_end() -> None:
    """Its host is down; the rest of the group must not wait for it, nor lower the floor because of it."""
    lost = a_machine("x1", host_ok=False)
    assert wave([*a_group(7), lost]) == ["w1"]
    assert after([a_machine("m1", GOOD), lost]) == Complete()


def test_what_is_not_managed_is_never_touched() -> None:
    assert after([a_machine("m1", GOOD), a_machine("other", managed=False)]) == Complete()


# -- machines in transition --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(TRANSIENT))
def test_nothing_else_begins_while_a_machine_of_ours_is_changing(state: str) -> None:
    goal = a_goal(updates={"m1": Update(before="m1-1")})
    step = after([a_machine("m1", state=state), *a_group(7, 1)], goal)
    assert step == Wait(f"machine m1 is {state}")


def test_machines_that_keep_restarting_by_themselves_hold_nobody_up() -> None:
    """A crash loop: there is always one that is just starting; the next one goes all the same."""
    looping = [a_machine("m1", state="starting"), a_machine("m2", state="restarting"), a_machine("m3", well=False)]
    assert wave(looping, FIRST) == ["m3"]
    assert after(looping[:2], FIRST) == Wait("machine m1 and m2 is starting")


def test_machines_that_restart_by_themselves_are_in_flight_and_not_healthy() -> None:
    restarting = [a_machine("m1", GOOD, state="restarting")]
    low_floor = replace(SETTINGS, healthy_floor=0.1)
    assert wave([*a_group(7), *restarting], settings=low_floor) == ["w1"], "25 % of eight are two, one of them is m1"
    assert isinstance(after([*a_group(3), *restarting], settings=low_floor), Wait)


# -- order -------------------------------------------------------------------------------------------------------------


def test_groups_with_services_go_before_workers_and_one_group_after_the_other() -> None:
    workers = a_group(2, name="a-worker", has_services=False)
    web = a_group(4, name="web")
    assert wave([*workers, *web]) == ["web-w1"]
    done = [replace(m, digest=GOOD) for m in web]
    assert wave([*workers, *done]) == ["a-worker-w1"]
    half = [replace(web[0], digest=GOOD, checks=()), *web[1:]]
    assert isinstance(after([*workers, *half]), Wait), "no worker moves while the web group is stuck"


def test_a_proof_that_is_due_waits_for_the_first_machine_of_its_own_group() -> None:
    """A lone machine of the first group is well, and has no peers: it has shown nothing for the other group."""
    quick = replace(SETTINGS, max_unavailable=1.0, healthy_floor=0.25)
    admin, web = a_machine("m0", group="admin", digest=GOOD), a_group(4, name="web")
    due = a_goal(updates=STARTED_AT_ALL, prove=True)
    assert wave([admin, *web], due, quick) == ["web-w1"]
    assert len(wave([admin, *web], replace(due, proof="better"), quick)) == 3
    assert len(wave([admin, *web], replace(due, prove=False), quick)) == 3


def test_sleepers_and_standbys_come_last_and_are_not_woken() -> None:
    standby = a_machine("b1", standby=True, state="stopped", exits=(a_crash(NOON - 60),))
    sleepers = [standby, a_machine("z1", state="stopped"), a_machine("z2", state="suspended")]
    awake = [a_machine("m1", GOOD)]
    assert wave([*sleepers, *a_group(1), *awake]) == ["w1"]
    assert after([*awake, *sleepers]) == Wave(machines=(standby,), skip_launch=True)


def test_an_app_that_is_all_asleep_is_restored_in_its_sleep() -> None:
    fleet = [a_machine(f"z{i}", state="stopped") for i in range(8)]
    step = after(fleet, FIRST)
    assert isinstance(step, Wave)
    assert (len(step.machines), step.skip_launch) == (2, True)


def test_a_sleeper_in_transition_is_waited_for() -> None:
    sleeper = a_machine("z1", state="replacing")
    assert after([a_machine("m1", GOOD), sleeper]) == Wait("machine z1 is replacing")


# -- whole rollbacks, by brute force -----------------------------------------------------------------------------------


def is_awake(machine: Machine) -> bool:
    """Stopped machines count for nothing, unless they were not stopped but fell."""
    fell = bool(machine.exits) and not machine.exits[0].requested
    down = machine.state == "suspended" or (machine.state == "stopped" and not fell)
    return not machine.standby and not down


def allowed(group: list[Machine], settings: Rollback) -> tuple[int, int]:
    """F, and how many may be in flight, by the words of the law (and the cap of ``plan.floor``)."""
    awake = [m for m in group if is_awake(m)]
    healthy = sum(m.healthy_routable for m in awake)
    needed = min(math.ceil(round(settings.healthy_floor * len(awake), 6)), healthy, max(0, len(awake) - 1))
    sick = sum(not m.healthy_routable and m.digest == BAD for m in awake)
    in_flight = max(min(max(1, math.ceil(round(settings.max_unavailable * len(awake), 6))), healthy - needed), sick)
    return needed, in_flight


def check_wave(step: Wave, snapshot: Snapshot, goal: Goal, settings: Rollback) -> None:
    """One wave against the law."""
    fleet = snapshot.managed
    assert step.machines, "a wave moves somebody"
    assert all(m.digest != GOOD for m in step.machines), "nobody is updated twice"
    assert len({m.id for m in step.machines}) == len(step.machines)
    assert len({m.group for m in step.machines}) == 1 or step.skip_launch
    if step.skip_launch:
        assert not any(is_awake(m) for m in step.machines), "only who is down anyway is left down"
        assert all(m.digest == GOOD for m in fleet if is_awake(m)), "last"
        return
    group = [m for m in fleet if m.group == step.machines[0].group]
    keeps, in_flight = allowed(group, settings)
    healthy_left = sum(m.healthy_routable for m in group if m not in step.machines and is_awake(m))
    assert healthy_left >= keeps
    assert len(step.machines) <= in_flight
    if not goal.updates:
        assert len(step.machines) <= settings.first
    elif any(m.healthy_routable for m in step.machines):
        sick = [m for m in group if m.digest == BAD and not m.healthy_routable and is_awake(m)]
        assert all(m in step.machines for m in sick), "unhealthy ones first"
    if not group[0].has_services:
        serving = [m for m in fleet if m.has_services and is_awake(m)]
        assert all(m.digest == GOOD for m in serving), "groups with services first"


def restore(fleet: list[Machine], settings: Rollback) -> list[list[str]]:
    """Apply every wave with success until it is complete, checking each; return the waves."""
    now = {m.id: m for m in fleet}
    goal, waves = a_goal(), []
    for _ in range(3 * len(fleet) + 3):
        snapshot = a_snapshot(*now.values())
        step = next_step(snapshot, goal, settings)
        if isinstance(step, Complete):
            assert all(m.digest == GOOD for m in now.values())
            return waves
        assert isinstance(step, Wave), step
        check_wave(step, snapshot, goal, settings)
        waves.append([m.id for m in step.machines])
        for m in step.machines:
            state = m.state if step.skip_launch else "started"
            now[m.id] = replace(m, digest=GOOD, state=state, checks=a_machine().checks, cordoned=False)
            goal = replace(goal, updates={**goal.updates, m.id: Update(before="old", after="new", healthy=True)})
    raise AssertionError(f"no end after {len(waves)} waves")


MIXES = [(size, sick) for size in range(1, 11) for sick in range(size + 1)]
POLICIES = [
    Rollback(healthy_floor=share, max_unavailable=at_once, first=first)
    for share, at_once, first in itertools.product((0.0, 0.5, 0.75, 1.0), (0.25, 0.5, 1.0), (1, 2))
]


@pytest.mark.parametrize("size, sick", MIXES)
def test_every_group_in_every_mix_gets_back_under_the_floor(size: int, sick: int) -> None:
    for settings in POLICIES:
        waves = restore(a_group(size - sick, sick), settings)
        assert sum(len(w) for w in waves) == size
        assert len(waves[0]) <= settings.first, "the first wave goes alone"


ANY_MACHINE = st.fixed_dictionaries(
    {
        "digest": st.sampled_from([BAD, BAD, GOOD]),
        "state": st.sampled_from(["started", "started", "started", "stopped", "suspended", "failed"]),
        "well": st.booleans(),
        "cordoned": st.sampled_from([False, False, True]),
        "standby": st.sampled_from([False, False, False, True]),
        "exits": st.sampled_from([(), (a_crash(NOON - 60),), (a_crash(NOON - 60, requested=True),)]),
        "group": st.sampled_from(["app", "app", "jobs"]),
    }
)


@given(st.lists(ANY_MACHINE, min_size=1, max_size=10), st.sampled_from(POLICIES))
def test_every_fleet_gets_back_under_the_floor_whatever_it_is_made_of(
    described: list[dict[str, object]], settings: Rollback
) -> None:
    """Sleepers, standbys, cordoned, crashed and failed machines, two groups, some well on the target already."""
    fleet = [
        a_machine(f"m{i}", has_services=d["group"] == "app", **d)  # type: ignore[arg-type]
        for i, d in enumerate(described)
    ]
    well = {"cordoned": False, "checks": a_machine().checks, "state": "started"}
    restore([replace(m, **well) if m.digest == GOOD and is_awake(m) else m for m in fleet], settings)  # type: ignore[arg-type]
