"""Which machine runs which digest since when, from the guard's point of view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollguard.core.model import Exit, Machine, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """One machine's present life. Readings count from ``since``; crashes from ``digest_since``.

    ``since`` is the platform's start of the process. Where that is earlier than the last look, at which the machine
    was still another instance or not started, it is the present look: a clock that runs behind must not lend the old
    release's readings to the new one.

    ``exits`` are dated by the guard's clock as far as it saw them come; ``told`` are the same by the platform's.
    """

    machine: str
    instance_id: str
    digest: str
    since: float
    digest_since: float
    started: bool
    started_at: float | None
    exits: tuple[Exit, ...] = ()
    told: tuple[Exit, ...] = ()
    resting: bool = False
    routable: bool = True
    cordoned: bool = False
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The fleet as the judge needs it: the cohort of ``candidate``, the others, and what is going on around them.

    ``whole`` says that every started managed machine runs the candidate, ``whole_since`` since when (only then do
    readings of the edge speak about the candidate alone).
    """

    candidate: str
    cohort: tuple[Tenure, ...]
    others: tuple[Tenure, ...] = ()
    whole: bool = True
    whole_since: float = 0.0
    deploying: bool = False

    @property
    def asleep(self) -> bool:
        """Whether every machine of the cohort rests because nobody needs it now."""
        return bool(self.cohort) and all(t.resting for t in self.cohort)

    @property
    def serving(self) -> tuple[Tenure, ...]:
        """Machines of the cohort that are started: the only ones that are probed."""
        return tuple(t for t in self.cohort if t.started)


def track(
    before: Mapping[str, Tenure], snapshot: Snapshot, last_look_at: float | None, now: float
) -> dict[str, Tenure]:
    """The tenures after a new snapshot. ``last_look_at`` is the snapshot before it (None: there was none)."""
    return {m.id: _tenure(before.get(m.id), m, last_look_at, now) for m in snapshot.managed}


def _tenure(before: Tenure | None, machine: Machine, last_look_at: float | None, now: float) -> Tenure:
    same_life = (
        before is not None
        and before.instance_id == machine.instance_id
        and before.started == machine.started
        and before.started_at == machine.started_at
    )
    since = before.since if before is not None and same_life else _new_life(before, machine, last_look_at, now)
    same_digest = before is not None and before.digest == machine.digest
    return Tenure(
        machine=machine.id,
        instance_id=machine.instance_id,
        digest=machine.digest,
        since=since,
        digest_since=before.digest_since if before is not None and same_digest else since,
        started=machine.started,
        started_at=machine.started_at,
        exits=_dated(before, machine, last_look_at, now),
        told=machine.exits,
        resting=machine.state in {"stopped", "suspended"} and not machine.crashed,
        routable=machine.healthy_routable,
        cordoned=machine.cordoned,
        region=machine.region,
    )


def _new_life(before: Tenure | None, machine: Machine, last_look_at: float | None, now: float) -> float:
    started_at = machine.started_at if machine.started_at is not None else now
    if last_look_at is None or started_at >= last_look_at:
        return min(started_at, now)
    # A start before the last look that still showed the old life: that clock runs behind, only now is certain.
    return now if before is not None else last_look_at


def _dated(before: Tenure | None, machine: Machine, last_look_at: float | None, now: float) -> tuple[Exit, ...]:
    """What the last look did not show came after it, whatever the platform's clock says: else crashes would fall out
    of every window of a guard whose clock runs ahead.
    """
    if before is None or last_look_at is None:
        return machine.exits
    known = dict(zip(before.told, before.exits, strict=True))
    return tuple(known.get(e) or replace(e, at=min(max(e.at, last_look_at), now)) for e in machine.exits)


def view(tenures: Mapping[str, Tenure], candidate: str, *, whole_since: float, deploying: bool) -> View:
    """The fleet with ``candidate`` in the middle."""
    cohort = tuple(t for t in tenures.values() if t.digest == candidate)
    others = tuple(t for t in tenures.values() if t.digest != candidate)
    return View(
        candidate=candidate,
        cohort=cohort,
        others=others,
        whole=not any(t.started for t in others),
        whole_since=max([whole_since, *(t.since for t in cohort if t.started)]),
        deploying=deploying,
    )


def newest_running(snapshot: Snapshot, order: Sequence[str]) -> str | None:
    """The digest to judge: of those on managed machines the one that appeared last. ``order`` is first-seen order."""
    running = {m.digest for m in snapshot.managed if m.digest}
    return next((digest for digest in reversed(order) if digest in running), None)
