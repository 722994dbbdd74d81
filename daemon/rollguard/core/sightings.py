"""What is new about the machines and the digests that they run, as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollguard.core.events import DigestSeen, Event, FullyDeployed, Proven
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.lifecycle import DigestRecord, TargetState
from rollguard.core.model import Machine, Snapshot
from rollguard.core.policy import Interlocks

CLEAN = frozenset({RuleState.CLEAR, RuleState.PENDING})


def sightings(state: TargetState, snapshot: Snapshot, born_into: tuple[str, ...], now: float) -> list[Event]:
    """Digests that are there for the first time, and the one that by now runs on every managed machine.

    ``born_into`` are the rules that fired before the last look: no new digest is to blame for those.
    """
    events: list[Event] = []
    new: dict[str, Machine] = {}
    for machine in sorted(snapshot.managed, key=lambda m: (m.release_version or 0, m.id)):
        if machine.digest and state.record(machine.digest) is None:
            new.setdefault(machine.digest, machine)
    for digest, machine in new.items():
        events.append(
            DigestSeen(
                at=now,
                digest=digest,
                image_ref=machine.image_ref,
                version=machine.release_version,
                labels=dict(machine.labels),
                born_into=born_into,
                first_sight=not state.digests,
                by_guard=machine.incident is not None,
            )
        )
    running = {m.digest for m in snapshot.managed}
    if len(running) == 1:
        digest = running.pop()
        record = state.record(digest)
        if digest and (record is None or record.full_at is None or state.serving != digest):
            version = max((m.release_version or 0 for m in snapshot.managed), default=0)
            events.append(FullyDeployed(at=now, digest=digest, version=version or None))
    return events


def older_than(firing: Mapping[str, float | None], last_look_at: float | None) -> tuple[str, ...]:
    """What fires, and began before the last look: later, the release may have been there, only not seen yet."""
    return tuple(
        name for name, since in firing.items() if last_look_at is None or since is None or since <= last_look_at
    )


def firing_since(findings: Sequence[Finding]) -> dict[str, float | None]:
    """The rules that fire, since when; what one sick machine does says nothing of a release that comes next."""
    return {f.rule.name: f.since for f in findings if f.firing and f.blame is not Blame.MACHINE}


def proven(record: DigestRecord, clean_since: float, limits: Interlocks, now: float) -> Proven | None:
    """That a digest has proved itself: it ran everywhere and was clean for long enough; None: not now."""
    since = max(clean_since, record.full_at or now)
    if record.proven_at is not None or now - since < limits.proven_after_s:
        return None
    return Proven(at=now, digest=record.digest, image_ref=record.image_ref, version=record.version, how="observed")


def is_clean(record: DigestRecord, snapshot: Snapshot, findings: Sequence[Finding], *, deploying: bool) -> bool:
    """Whether the digest runs everywhere, nobody deploys, and no rule fires or is blind."""
    whole = all(m.digest == record.digest for m in snapshot.managed) and not deploying
    return whole and all(f.state in CLEAN for f in findings)
