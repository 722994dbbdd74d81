"""Never past a database migration that is not known to be compatible."""

from __future__ import annotations

from rollguard.core.case import Case, named
from rollguard.core.lifecycle import DigestRecord


def migration(case: Case, now: float) -> str | None:
    """Every release that going back would undo must be known to leave the database as the target needs it."""
    migration = case.policy.interlocks.migration
    if migration is None:
        return None
    for record in _undone(case):
        value = record.labels.get(migration.label)
        if value is None and migration.probe is not None:
            continue  # one look at the database answers for all that came in between
        if value is None and migration.unknown_blocks:
            return f"whether {named(record)} migrated the database is unknown: its image has no label {migration.label}"
        if value is not None and value not in migration.allow:
            return f"{named(record)} is labelled {migration.label}={value[:40]!r}: going back may break the database"
    if migration.probe is not None and any(migration.label not in r.labels for r in _undone(case)):
        return _by_probe(case, blocks=migration.unknown_blocks)
    if migration.unknown_blocks and case.target is not None and case.state.record(case.target.digest) is None:
        return f"what migrated the database since {named(case.target)} is unknown: this guard never saw it run"
    between = _unseen_between(case) if migration.unknown_blocks else None
    if between is not None:
        return f"whether release v{between} migrated the database is unknown: it came and went while nobody watched"
    return None


def _by_probe(case: Case, *, blocks: bool) -> str | None:
    """Whether the database is still what it was when the target was proven."""
    mine = case.state.schemas.get(case.candidate.digest)
    before = case.state.schemas.get(case.target.digest) if case.target else None
    if mine is None or before is None:
        whose = "this release" if mine is None else "the older one"
        return (
            f"whether the database was migrated is unknown: the app never told its schema under {whose}" * blocks
            or None
        )
    if mine.newest != before.settled:
        return f"the database was migrated: its schema is {mine.newest!r} now and was {before.settled!r}"
    return None


def _unseen_between(case: Case) -> int | None:
    """A release after the target and before the candidate whose image the journal never saw; the newest of them."""
    first = case.target.version if case.target else None
    last = case.candidate.version
    if first is None or last is None:
        return None
    refs = {d.image_ref for d in case.state.digests}
    digests = {d.digest for d in case.state.digests}
    versions = {d.version for d in case.state.digests}
    for row in case.snapshot.releases:
        known = row.version in versions or row.image_ref in refs or row.image_ref.rpartition("@")[2] in digests
        if first < row.version < last and not known:
            return row.version
    return None


def _undone(case: Case) -> tuple[DigestRecord, ...]:
    """The releases that going back would undo: all that came after the target, up to the candidate."""
    digests = case.state.digests
    end = digests.index(case.candidate) + 1 if case.candidate in digests else len(digests)
    start = digests.index(case.target) + 1 if case.target in digests[:end] else end - 1
    return digests[start:end]
