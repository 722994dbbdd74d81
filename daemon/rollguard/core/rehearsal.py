"""What a drill may be: which machine it takes, what holds it, and the next move of one that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollguard.core import messages, text
from rollguard.core.case import Case, Refusal, named
from rollguard.core.executors import Machines
from rollguard.core.finding import RuleState
from rollguard.core.model import Machine, Mode, Snapshot
from rollguard.core.plan import ASLEEP, TRANSIENT, Complete, Next, Wait, Wave, is_own, spare
from rollguard.core.policy import Policy, Rollback

CALMLY = frozenset(
    {"hold", "control", "dependency", "other targets", "platform incident", "freeze", "clock", "learning"}
)
"""Interlocks that only warn whoever must go back. A rehearsal can wait until they are over."""
STAGING = ("staging", "stage", "test", "dev", "demo", "preview", "sandbox", "review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A drill as a person asks for it. ``machine`` None: the guard chooses; ``whole``: all of them."""

    version: int | None = None
    machine: str | None = None
    whole: bool = False
    accept_gap: bool = False
    overrides: tuple[str, ...] = ()


def chosen(snapshot: Snapshot, wish: Wish) -> tuple[tuple[Machine, ...], str]:
    """The machines to rehearse with, or none and why.

    One: the last healthy one in the planner's order, in the first group with services.
    """
    if wish.whole:
        return snapshot.managed, ""
    if wish.machine is not None:
        found = next((m for m in snapshot.managed if m.id == wish.machine), None)
        if found is None:
            return (), f"there is no managed machine {text.one_line(wish.machine, 40)}"
        return ((found,), "") if found.healthy_routable else ((), f"machine {found.id} is not healthy")
    groups = {m.group for m in snapshot.managed}
    first = min(
        groups, key=lambda g: (not any(m.has_services for m in snapshot.managed if m.group == g), g), default=""
    )
    healthy = [m for m in snapshot.managed if m.group == first and m.healthy_routable and not m.standby]
    last = max(healthy, key=lambda m: m.id, default=None)
    return ((last,), "") if last is not None else ((), "no machine is healthy")


def holds(case: Case, wish: Wish, machines: Sequence[Machine], mode: Mode, *, way_back: bool | None) -> list[Refusal]:
    """What holds a drill besides the interlocks. ``way_back``: whether the image that serves can still be had."""
    found = [
        ("mode", "the mode is observe: nothing is written to the platform" if mode is Mode.OBSERVE else ""),
        ("executor", _executor(case.policy)),
        ("incident", _incident(case)),
        ("rules", _rules(case)),
        ("deploy in progress", _held(case.snapshot)),
        ("mixed", _mixed(case)),
        ("release not proven", _unproven(case)),
        ("way back", "" if way_back else f"the image of {named(case.candidate)}, the way back, cannot be had"),
        ("floor", _floor(case, machines)),
        ("gap", "" if wish.accept_gap else gap(case.snapshot, machines)),
    ]
    return [Refusal(name, why) for name, why in found if why]


def _executor(policy: Policy) -> str:
    executor = policy.rollback.executor
    if isinstance(executor, Machines):
        return ""
    return f"{executor.name} is who rolls back: a drill by the guard's own hands would prove nothing of that"


def _incident(case: Case) -> str:
    incident = case.state.incident
    return f"incident {incident.id} is not over: {incident.sentence}" if incident else ""


def _rules(case: Case) -> str:
    busy = [f for f in case.findings if f.state in {RuleState.FIRING, RuleState.PENDING}]
    return "; ".join(f"{f.rule.name} is {f.state}: {f.sentence}" for f in busy[:3])


def _held(snapshot: Snapshot) -> str:
    for machine, lease in sorted((snapshot.leases or {}).items()):
        if not is_own(lease):
            return f"{lease.owner or 'somebody'} holds machine {machine}"
    return ""


def _mixed(case: Case) -> str:
    alike = all(m.digest == case.candidate.digest for m in case.snapshot.managed)
    return "" if alike else f"machines run different images: {messages.mix(case.snapshot)}"


def _unproven(case: Case) -> str:
    if case.candidate.proven_at is not None:
        return ""
    return f"{named(case.candidate)} is not proven yet: a drill would disturb its watch, and it is the way back"


def _floor(case: Case, machines: Sequence[Machine]) -> str:
    gone = [m.id for m in machines if not m.host_ok]
    if gone:
        return f"machine {text.listing(gone)} cannot be reached"
    for group in sorted({m.group for m in machines}):
        peers = [m for m in case.snapshot.managed if m.group == group]
        if any(m.healthy_routable for m in peers) and not spare(peers, case.policy.rollback):
            healthy = sum(m.healthy_routable for m in peers)
            return f"the floor keeps every machine of group {group}: {healthy} of {len(peers)} are healthy"
    return ""


def gap(snapshot: Snapshot, machines: Sequence[Machine]) -> str:
    """The gap of groups that have only one machine to rehearse with; empty when there is none."""
    groups = sorted({m.group for m in machines if m.started})
    awake = {g: [m for m in snapshot.managed if m.group == g and m.started and not m.standby] for g in groups}
    lonely = [g for g, members in awake.items() if len(members) == 1]
    return f"group {text.listing(lonely)} has one machine: it is down while it changes, twice" if lonely else ""


def typed(policy: Policy, mode: Mode, wish: Wish) -> str:
    """What a person must type to begin: the app's name before all of production is moved twice."""
    staging = any(word in policy.target.app.lower().replace("_", "-").split("-") for word in STAGING)
    return policy.target.app if wish.whole and mode is Mode.ENFORCE and not staging else "yes"


def steps(case: Case, machines: Sequence[Machine], wish: Wish) -> tuple[str, ...]:
    """The drill in words."""
    assert case.target is not None
    stable = text.seconds(case.policy.rollback.stability_s)
    there, back = named(case.target), named(case.candidate)
    if wish.whole:
        return (
            f"all {len(machines)} machines to {there}, one after the other under the floor, with a release row",
            f"and back to {back} the same way, with a release row of its own",
            f"each way every machine is watched until its checks have passed for {stable}, and timed",
        )
    name = f"machine {machines[0].id} (group {machines[0].group})"
    return (
        f"{name} to {there}, under a lease; watched until its checks have passed for {stable}, and timed",
        f"{name} back to {back}, the same image and configuration as now, watched and timed the same way",
        "no release row: the release that serves stays the one that is listed",
    )


def next_move(snapshot: Snapshot, machines: Sequence[str], target: str, settings: Rollback) -> Next:
    """The next move of a drill with single machines, one way: who is not on ``target`` yet goes there."""
    for machine in (m for m in snapshot.managed if m.id in machines):
        if machine.state in TRANSIENT:
            return Wait(f"machine {machine.id} is {machine.state}")
        if machine.digest == target:
            continue
        peers = [m for m in snapshot.managed if m.group == machine.group]
        if machine.healthy_routable and not spare(peers, settings):
            return Wait(f"the floor keeps machine {machine.id} where it is", by_floor=True)
        asleep = machine.state in ASLEEP and not machine.crashed
        return Wave(machines=(machine,), skip_launch=asleep)
    return Complete()


def put_back(policy: Policy, machine: str, image: str) -> str:
    """The command that puts one machine on an image by hand."""
    return f"flyctl machine update {machine} --app {policy.target.app} --image {image} --yes"
