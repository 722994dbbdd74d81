"""Is somebody else writing to the app right now?"""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.core.lifecycle import Goal
from rollguard.core.model import Snapshot
from rollguard.core.plan import is_own

YOUNG_ROW_S = 60.0
DEAD_AFTER_READS = 3
DEAD_AFTER_S = 20.0
RELEASE_COMMAND_GROUP = "fly_app_release_command"
AT_REST = frozenset({"stopped", "failed", "destroying", "destroyed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """How long an open release row has had neither lease nor release command: reads, and since when."""

    version: int = 0
    reads: int = 0
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A deploy in progress: by whom, and the sign by which it is known."""

    owner: str
    sign: str


def in_progress(snapshot: Snapshot, own: Goal | None, quiet: Quiet, now: float) -> tuple[Deploy | None, Quiet]:
    """The deploy in progress, if any, and the count of quiet reads so far.

    Signs: a foreign lease, a release command at work (a machine left behind is none), a row pending or running for
    less than 60 s. An older open row with neither is a dead deploy after 3 reads over 20 s; until then it counts as
    alive.
    """
    for machine, lease in sorted((snapshot.leases or {}).items()):
        if not is_own(lease):
            return Deploy(owner=lease.owner or "somebody", sign=f"a lease on machine {machine}"), Quiet()
    if any(m.group == RELEASE_COMMAND_GROUP and m.state not in AT_REST for m in snapshot.machines):
        return Deploy(owner="somebody", sign="a release command is running"), Quiet()
    own_version = own.row_version if own else None
    row = next((r for r in snapshot.releases if r.in_progress and r.version != own_version), None)
    if row is None or row.version < snapshot.newest_version:
        return None, Quiet()
    deploy = Deploy(owner=row.user or "somebody", sign=f"release v{row.version} is {row.status}")
    if now - row.created_at < YOUNG_ROW_S:
        return deploy, Quiet()
    if snapshot.leases is None:
        return deploy, quiet
    quiet = Quiet(
        version=row.version,
        reads=quiet.reads + 1 if quiet.version == row.version else 1,
        since=quiet.since if quiet.version == row.version else now,
    )
    dead = quiet.reads >= DEAD_AFTER_READS and now - quiet.since >= DEAD_AFTER_S
    return (None if dead else deploy), quiet
