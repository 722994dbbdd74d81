"""What a rollback needs, one check after the other; see ``readiness``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rollguard.core import messages, text
from rollguard.core.case import Case, named
from rollguard.core.drift import Config
from rollguard.core.locks import never
from rollguard.core.model import Lease, Machine, Snapshot
from rollguard.core.plan import ASLEEP, is_own, spare
from rollguard.core.readiness import NAMES, WORDS_MAX, Check, Readiness, State


@dataclass(frozen=True, slots=True)
class Found:
    """What the platform said of an image: its digest, None where it is gone. ``refused``: it would not say, and why."""

    digest: str | None
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked lately. None: not asked yet, or nobody could say.

    ``image`` is the target's by its digest, ``tag`` by the name it was deployed under. ``config`` is what the target
    was proven with. ``rights`` as ``ports.Platform.rights`` tells them; ``leases`` by machine. ``executor``: why who
    rolls back could take no order; empty where that is not so.
    """

    image: Found | None = None
    tag: Found | None = None
    config: Config | None = None
    rights: Mapping[str, str] | None = None
    leases: Mapping[str, Lease] | None = None
    executor: str | None = None


def assess(case: Case, asked: Asked, now: float) -> Readiness:
    """Every check, of what is known now."""
    return Readiness(
        at=now,
        checks=tuple(_bounded(name, *check(case, asked, now)) for name, check in _CHECKS.items()),
        deploying=is_deploying(case, asked.leases),
    )


def is_deploying(case: Case, leases: Mapping[str, Lease] | None) -> bool:
    """Whether somebody makes a release; a machine that somebody just holds is no deploy, and may be forgotten."""
    if case.deploy is None:
        return False
    held = any(not is_own(lease) for lease in {**(case.snapshot.leases or {}), **(leases or {})}.values())
    return not held or any(row.in_progress for row in case.snapshot.releases[:1])


# -- the checks --------------------------------------------------------------------------------------------------------

_Says = tuple[State, str]


def _target(case: Case, asked: Asked, now: float) -> _Says:
    """A guard that is learning, or a release that nobody would go back from any more, is no reason for alarm."""
    if case.target is not None:
        return State.OK, f"would go back to {named(case.target)}"
    if not _had_one(case):
        return State.UNKNOWN, f"learning: {case.no_target}"
    age_s = now - (case.candidate.full_at or case.candidate.first_seen_at)
    if age_s > case.policy.interlocks.release_age_s:
        return State.UNKNOWN, f"{case.no_target}; the release is {text.seconds(age_s)} old, and not gone back from"
    adopt = f"rollguard adopt {case.policy.target.name} VERSION, for one that you know ran well"
    return State.NOT, f"no release to go back to: {case.no_target}. {adopt}"


def _had_one(case: Case) -> bool:
    """Whether an older release was ever proven: without one nothing was lost, and time will bring it."""
    bad, older = {r.candidate for r in case.state.rollbacks}, case.state.digests
    if case.candidate in older:
        older = older[: older.index(case.candidate)]
    return any(d.proven_at is not None and d.digest not in bad for d in older)


def _image(case: Case, asked: Asked, now: float) -> _Says:
    if case.target is None:
        return State.UNKNOWN, "there is no release to go back to"
    ref = messages.by_digest(case.target.image_ref, case.target.digest)
    if asked.image is None:
        return State.UNKNOWN, f"nobody could say whether {ref} is there"
    if asked.image.refused:
        return State.NOT, f"{ref} could not be looked up: {asked.image.refused}"
    if asked.image.digest == case.target.digest:
        return State.OK, f"{ref} is in the registry"
    other = "is gone from the registry" if asked.image.digest is None else "means another image by now"
    build = "Build that commit again and deploy it, or adopt an older release"
    return State.NOT, f"{ref} {other}. {build}"


def _tag(case: Case, asked: Asked, now: float) -> _Says:
    """Only said: the guard goes back by the digest."""
    if case.target is None or asked.tag is None:
        return State.UNKNOWN, "nobody could say" if case.target else "there is no release to go back to"
    ref = case.target.image_ref
    if asked.tag.digest == case.target.digest:
        return State.OK, f"{ref} is the image that it was"
    was = "is gone" if asked.tag.digest is None else "was moved to another image"
    return State.NOT, f"{ref} {was}; the guard goes by the digest"


def _config(case: Case, asked: Asked, now: float) -> _Says:
    """Only said: going back changes the image and nothing else."""
    if case.target is None:
        return State.UNKNOWN, "there is no release to go back to"
    if asked.config is None:
        return State.NOT, f"what {named(case.target)} was configured with when it was proven is not known"
    also = f"; machines of group {text.listing(asked.config.mixed)} differed" if asked.config.mixed else ""
    return State.OK, f"what it was proven with is known{also}"


def _rights(case: Case, asked: Asked, now: float) -> _Says:
    if asked.rights is None:
        return State.UNKNOWN, "nobody could say what the token may do"
    missing = [why for why in asked.rights.values() if why]
    if missing:
        return State.NOT, f"{'; '.join(missing)}. Make another token: flyctl tokens create deploy"
    tried = "" if "lease" in asked.rights else "; holding a machine was not tried"
    return State.OK, f"the token is allowed {text.listing(list(asked.rights))}{tried}"


def _hosts(case: Case, asked: Asked, now: float) -> _Says:
    if why := never.unseen(case, now):
        return State.UNKNOWN, why
    lost = [m.id for m in case.snapshot.managed if not m.host_ok]
    if lost:
        left = "it would be left as it is. flyctl machine list; a machine without a volume can be destroyed"
        return State.NOT, f"the host of machine {text.listing(lost)} cannot be reached: {left}"
    return State.OK, f"the hosts of all {len(case.snapshot.managed)} machines can be reached"


def _capacity(case: Case, asked: Asked, now: float) -> _Says:
    if why := never.unseen(case, now):
        return State.UNKNOWN, why
    stuck = _stuck(case)
    if stuck:
        return State.NOT, f"the floor keeps every machine of group {text.listing(stuck)}: too few are healthy"
    return State.OK, messages.gap_notice(case.snapshot) or "the floor lets machines go one after the other"


def _stuck(case: Case) -> list[str]:
    """The groups in which no machine could be taken back: none is unhealthy, and no healthy one can be spared."""
    groups: dict[str, list[Machine]] = {}
    for machine in case.snapshot.managed:
        groups.setdefault(machine.group, []).append(machine)
    settings = case.policy.rollback
    return [name for name, machines in sorted(groups.items()) if _serves(machines) and spare(machines, settings) < 1]


def _serves(machines: Sequence[Machine]) -> bool:
    """Whether all who are awake are healthy: those that are not go first, whatever the floor says."""
    awake = [m for m in machines if not m.standby and m.host_ok and (m.state not in ASLEEP or m.crashed)]
    return bool(awake) and all(m.healthy_routable for m in awake)


def _leases(case: Case, asked: Asked, now: float) -> _Says:
    if asked.leases is None:
        return State.UNKNOWN, "nobody could say who holds the machines"
    foreign = {m: lease for m, lease in sorted(asked.leases.items()) if not is_own(lease)}
    if not foreign:
        return State.OK, "nobody else holds a machine"
    owner = next(iter(foreign.values())).owner or "somebody"
    if is_deploying(case, asked.leases):
        return State.UNKNOWN, f"{owner} deploys"
    clear = f"flyctl machine leases clear {next(iter(foreign))} --app {case.policy.target.app}"
    return State.NOT, f"{owner} holds machine {text.listing(list(foreign))}, and does not deploy. {clear}"


def _executor(case: Case, asked: Asked, now: float) -> _Says:
    name = case.policy.rollback.executor.name
    if asked.executor is None:
        return State.UNKNOWN, f"nobody could say whether {name} would take an order"
    return (State.NOT, f"{name}: {asked.executor}") if asked.executor else (State.OK, f"{name} would take an order")


_CHECKS: Mapping[str, Callable[[Case, Asked, float], _Says]] = {
    "target": _target,
    "image": _image,
    "tag": _tag,
    "config": _config,
    "rights": _rights,
    "hosts": _hosts,
    "capacity": _capacity,
    "leases": _leases,
    "executor": _executor,
}
assert tuple(_CHECKS) == NAMES


def _bounded(name: str, state: State, sentence: str) -> Check:
    return Check(name=name, state=state, sentence=text.one_line(sentence, WORDS_MAX))


def in_turn(snapshot: Snapshot, count: int, start: int) -> tuple[str, ...]:
    """``count`` of the machines that can be asked who holds them, from the ``start``-th on, all in turn."""
    ids = snapshot.reachable
    if len(ids) <= count:
        return ids
    return tuple(ids[(start + place) % len(ids)] for place in range(count))
