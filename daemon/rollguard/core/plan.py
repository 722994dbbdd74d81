"""Which machines go next, under the floor. Recomputed from what the platform says now; no plan is ever stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollguard.core import text
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Lease, Machine, Release, Snapshot
from rollguard.core.policy import Rollback

GUARD_LEASE = "rollguard"
TRANSIENT = frozenset(
    {"creating", "starting", "stopping", "restarting", "suspending", "updating", "replacing", "launch_failed"}
)
CLOCK_S = 2.0
ASLEEP = frozenset({"stopped", "suspended", "created"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Update these machines at once. ``skip_launch``: they are asleep and stay so."""

    machines: tuple[Machine, ...]
    skip_launch: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """Every managed machine that can be reached runs the target."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done this second, and why. ``by_floor``: until another machine gets well, nothing ever can."""

    sentence: str
    by_floor: bool = False


Next = Wave | Complete | Wait


def floor(machines: Sequence[Machine], settings: Rollback) -> int:
    """How many healthy routable machines of one process group must stay.

    F = min(ceil(healthy_floor × N), healthy now, N − 1), N the machines that are not asleep. The last term lets a
    group of two or three move at all, one at a time; a group of one has the gap that the page states beforehand.
    """
    awake = _awake(machines)
    healthy = sum(m.healthy_routable for m in awake)
    return max(0, min(_share(settings.healthy_floor, len(awake)), healthy, len(awake) - 1))


def _awake(machines: Sequence[Machine]) -> list[Machine]:
    """Who serves, or should: who crashed does not sleep."""
    return [m for m in machines if not m.standby and (m.state not in ASLEEP or m.crashed)]


def _share(ratio: float, count: int) -> int:
    """The ratio of a count, rounded up; 7 % of 100 are 7, whatever floating point makes of it."""
    return math.ceil(round(ratio * count, 6))


def next_step(snapshot: Snapshot, goal: Goal, settings: Rollback) -> Next:
    """The next wave: groups with services first, one group at a time; unhealthy machines first; sleepers last."""
    groups: dict[str, list[Machine]] = {}
    for machine in snapshot.managed:
        groups.setdefault(machine.group, []).append(machine)
    order = sorted(groups, key=lambda g: (not any(m.has_services for m in groups[g]), g))
    for name in order:
        step = _next_in_group(groups[name], goal, settings)
        if not isinstance(step, Complete):
            return step
    sleepers = [m for m in snapshot.managed if m.digest != goal.target and m.host_ok]
    ready = tuple(m for m in sleepers if m.state not in TRANSIENT)
    if ready:
        return Wave(machines=ready[: _at_once(len(sleepers), settings)], skip_launch=True)
    return _wait_for(sleepers) if sleepers else Complete()


def _next_in_group(machines: Sequence[Machine], goal: Goal, settings: Rollback) -> Next:
    awake = [m for m in _awake(machines) if m.host_ok]
    changing = [m for m in awake if m.state in TRANSIENT]
    pending = [m for m in awake if m.digest != goal.target and m not in changing]
    if any(m.id in goal.updates for m in changing) or (changing and not pending):
        return _wait_for(changing)
    if not pending:
        return Complete()
    pending.sort(key=lambda m: (m.healthy_routable, m.id))
    wave = pending if _went_first(machines, goal) else pending[: settings.first]
    unhealthy = [m for m in wave if not m.healthy_routable]
    # A machine that changes by itself, as in a crash loop, holds nobody up, but it is in flight.
    room = min(_at_once(len(awake), settings) - len(changing), spare(machines, settings)) - len(unhealthy)
    wave = [*unhealthy, *wave[len(unhealthy) :][: max(0, room)]]
    if wave:
        return Wave(machines=tuple(wave))
    healthy = sum(m.healthy_routable for m in machines)
    return Wait(f"only {healthy} of {len(machines)} machines are healthy: the floor keeps them", by_floor=True)


def _went_first(machines: Sequence[Machine], goal: Goal) -> bool:
    """Whether the rest may follow. Where a proof is due, being well in another group has shown nothing for this one."""
    mine = {m.id for m in machines}
    due = goal.prove and not goal.proof
    return any(u.healthy and (m in mine or not due) for m, u in goal.updates.items())


def _wait_for(changing: Sequence[Machine]) -> Wait:
    return Wait(f"machine {text.listing([m.id for m in changing])} is {changing[0].state}")


def spare(machines: Sequence[Machine], settings: Rollback) -> int:
    """How many healthy routable machines of one process group may be taken down now."""
    return sum(m.healthy_routable for m in _awake(machines)) - floor(machines, settings)


def _at_once(count: int, settings: Rollback) -> int:
    return max(1, _share(settings.max_unavailable, count))


def must_end(goal: Goal, snapshot: Snapshot, known: Mapping[str, str], now: float) -> tuple[str, str] | None:
    """Why the goal is over although not reached, as (outcome, sentence): people always win.

    ``known`` is the instance ID that each machine should have: as first seen, or as the guard's own update left it.
    """
    if now < goal.set_at - CLOCK_S:
        return "failed", "the guard's clock is behind its decision: how old that is cannot be known"
    if now >= goal.deadline_at:
        return "deadline", f"not done within {text.seconds(goal.deadline_at - goal.set_at)}"
    foreign = foreign_release(goal, snapshot.releases)
    if foreign is not None:
        return "yielded", f"release v{foreign.version} by {foreign.user or 'somebody'} came in between"
    for held, lease in sorted((snapshot.leases or {}).items()):
        if not is_own(lease):
            what = lease.description or "no description"
            return "yielded", f"{lease.owner or 'somebody'} holds machine {held} ({what})"
    for machine in snapshot.managed:
        if machine.id in known and machine.instance_id != known[machine.id]:
            return "yielded", f"machine {machine.id} was changed by somebody else"
    return None


def foreign_release(goal: Goal, releases: Sequence[Release]) -> Release | None:
    """A release row that came after the decision and is not the guard's own, newest first."""
    for release in releases:
        if (
            release.version > goal.after_version
            and release.version != goal.row_version
            and not _may_be_own(goal, release)
        ):
            return release
    return None


def unclaimed_rows(goal: Goal, releases: Sequence[Release]) -> tuple[Release, ...]:
    """Rows that the guard may have made without ever being told, newest first.

    A row that took its time to appear may be there beside the one that was made after it.
    """
    return tuple(r for r in releases if r.version != goal.row_version and _may_be_own(goal, r))


def _may_be_own(goal: Goal, release: Release) -> bool:
    """Made since the decision for the very digest, and untouched: other deployers name a tag, and mark theirs running
    before anything else.
    """
    newer = goal.row_intended and release.version > goal.after_version
    return newer and release.status == "pending" and release.image_ref == goal.target_ref


def is_own(lease: Lease) -> bool:
    """Whether a lease is the guard's, of this life or an earlier one."""
    return lease.description.startswith(GUARD_LEASE)
