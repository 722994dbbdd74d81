"""Reasons not to act although a rule fires. Each is a function from the case to a sentence, or nothing.

``TABLE`` says which of them holds which kind of trigger. ``PRECONDITIONS`` hold every trigger, always: nothing at
all bypasses them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from rollguard.core import text
from rollguard.core.finding import Finding, Trigger
from rollguard.core.lifecycle import DigestRecord, TargetState
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy

DAY_S = 86400.0


class Effect(StrEnum):
    """What a standing interlock does to a trigger."""

    HOLDS = "H"
    HOLDS_UNLESS_OVERRIDDEN = "H*"
    SAID = "W"
    NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a decision may look at. ``target`` None: there is nowhere to go back to; ``no_target`` says why.

    ``resolvable`` is what the platform said of the target's image (None: not asked yet). ``deploy`` names a deploy
    in progress. ``clock_behind_s``: how far wall time lies before the journal's newest entry.
    """

    policy: Policy
    state: TargetState
    snapshot: Snapshot
    candidate: DigestRecord
    target: DigestRecord | None
    no_target: str = ""
    findings: tuple[Finding, ...] = ()
    resolvable: bool | None = True
    deploy: str | None = None
    clock_behind_s: float = 0.0
    overrides: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A standing interlock: its name and its sentence."""

    name: str
    sentence: str


Check = Callable[[Case, float], str | None]


def named(record: DigestRecord) -> str:
    """How people call a digest: its release's number and the start of the digest."""
    version = f"v{record.version}" if record.version is not None else "an unnumbered release"
    return f"{version} ({text.short(record.digest)})"


def _pause(case: Case, now: float) -> str | None:
    pause = case.state.pause
    return f"paused by {pause.by} since {text.clock(pause.at)}: {pause.reason}" if pause else None


def _hold(case: Case, now: float) -> str | None:
    hold = case.state.hold
    if hold is None or now >= hold.until:
        return None
    return f"held by {hold.by} for another {text.seconds(hold.until - now)}: {hold.reason}"


def _release_age(case: Case, now: float) -> str | None:
    age_s = now - (case.candidate.full_at or case.candidate.first_seen_at)
    limit_s = case.policy.interlocks.release_age_s
    if age_s <= limit_s:
        return None
    return f"the release is {text.seconds(age_s)} old, over {text.seconds(limit_s)}: it was not the release"


def _onset(case: Case, now: float) -> str | None:
    """Blame needs a beginning after the release: what fired when it appeared cannot be its doing, until it was proven:
    then that was over.
    """
    if not case.policy.interlocks.onset_after_release or case.candidate.proven_at is not None:
        return None
    acting = [f for f in case.findings if f.firing]
    old = [f.rule.name for f in acting if f.rule.name in case.candidate.born_into]
    if acting and len(old) == len(acting):
        return f"{text.listing(old)} fired already before the release came"
    return None


def _not_proven(case: Case, now: float) -> str | None:
    if case.target is None:
        return f"no proven release to go back to: {case.no_target}"
    if case.target.proven_at is None:
        return f"{named(case.target)} was never proven: nobody saw it run clean"
    return None


def _learning(case: Case, now: float) -> str | None:
    """What ran before the guard came may have been bad all along: it is watched before anything is its fault."""
    seen, watch_s = case.candidate, case.policy.interlocks.proven_after_s
    if not seen.first_sight or seen.proven_at is not None or now - seen.first_seen_at >= watch_s:
        return None
    rest_s = watch_s - (now - seen.first_seen_at)
    return f"{named(seen)} was there before the guard: it is only watched for another {text.seconds(rest_s)}"


def _quarantine(case: Case, now: float) -> str | None:
    past = [r for r in case.state.rollbacks if r.candidate == case.candidate.digest]
    if not past:
        return None
    return (
        f"this digest ({text.short(case.candidate.digest)}) was already rolled back at {text.clock(past[-1].at)}; "
        "it was shipped again, and your pipeline will ship it once more"
    )


def _migration(case: Case, now: float) -> str | None:
    migration = case.policy.interlocks.migration
    if migration is None:
        return None
    for record in _undone(case):
        value = record.labels.get(migration.label)
        if value is None and migration.unknown_blocks:
            return f"whether {named(record)} migrated the database is unknown: its image has no label {migration.label}"
        if value is not None and value not in migration.allow:
            return f"{named(record)} is labelled {migration.label}={value[:40]!r}: going back may break the database"
    if migration.unknown_blocks and case.target is not None and case.state.record(case.target.digest) is None:
        return f"what migrated the database since {named(case.target)} is unknown: this guard never saw it run"
    between = _unseen_between(case) if migration.unknown_blocks else None
    if between is not None:
        return f"whether release v{between} migrated the database is unknown: it came and went while nobody watched"
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


def _cooldown(case: Case, now: float) -> str | None:
    """From the last intent on; an app found with the guard's own marks on it was rolled back by an earlier journal."""
    found = [d.first_seen_at for d in case.state.digests if d.first_sight and d.by_guard]
    last = max([*(r.at for r in case.state.rollbacks), *found], default=None)
    if last is None or now - last >= case.policy.interlocks.cooldown_s:
        return None
    rest_s = case.policy.interlocks.cooldown_s - (now - last)
    return (
        f"the last rollback was {text.seconds(max(0.0, now - last))} ago; cooldown for another {text.seconds(rest_s)}"
    )


def _budget(case: Case, now: float) -> str | None:
    limits, rollbacks = case.policy.interlocks, case.state.rollbacks
    mine = sum(r.candidate == case.candidate.digest for r in rollbacks)
    if mine >= limits.per_release:
        return f"this release was rolled back {mine} times, the most allowed"
    today = sum(now - r.at < DAY_S for r in rollbacks)
    if today >= limits.per_day:
        return f"{today} rollbacks within 24 h, the most allowed"
    return None


def _report_budget(case: Case, now: float) -> str | None:
    """Whoever can report could otherwise take the app back and back again."""
    today = [r for r in case.state.rollbacks if r.trigger == Trigger.REPORT and now - r.at < DAY_S]
    return "one rollback by a report within 24 h is the most allowed" if today else None


def _config_only(case: Case, now: float) -> str | None:
    """A release that kept its image changed configuration or secrets; an image cannot undo that."""
    mine = [m for m in case.snapshot.managed if m.digest == case.candidate.digest and m.incident is None]
    version = max((m.release_version for m in mine if m.release_version is not None), default=None)
    first = case.candidate.full_version or case.candidate.version  # a second try at a half-done deploy is no news
    if version is None or first is None or version <= first or case.candidate.full_at is None:
        return None
    same = f"release v{version} has the same image as v{first}"
    return f"{same}: it changed configuration or secrets only, which an image cannot undo"


def _clock(case: Case, now: float) -> str | None:
    if case.clock_behind_s <= 0:
        return None
    return f"the clock is {text.seconds(case.clock_behind_s)} behind the journal's newest entry"


def _restored(case: Case, now: float) -> str | None:
    """Going further back than once is a proposal for a person: the image that was restored is left alone."""
    last = case.state.rollbacks[-1] if case.state.rollbacks else None
    if last is None or last.target != case.candidate.digest:
        return None
    return f"{named(case.candidate)} is what the guard went back to: going further back is for a person to decide"


@dataclass(frozen=True, slots=True)
class Interlock:
    """A row of the table: what stands, and what that does to each trigger (in the order of ``COLUMNS``)."""

    name: str
    check: Check
    effects: str

    def effect(self, trigger: Trigger) -> Effect:
        """The cell of this row under ``trigger``."""
        return Effect(self.effects.split()[COLUMNS.index(trigger)])


COLUMNS = (
    Trigger.RELATIVE,
    Trigger.ABSOLUTE,
    Trigger.HARD_DOWN,
    Trigger.REPORT,
    Trigger.APPROVED,
    Trigger.MANUAL,
)

TABLE = (
    #         name                 check         relative absolute hard-down report approved manual
    Interlock("pause", _pause, "H  H  H  H  H* H*"),
    Interlock("hold", _hold, "H  H  H  H  W  W"),
    Interlock("release age", _release_age, "H  H  H  -  W  W"),
    Interlock("onset", _onset, "H  H  H  -  W  W"),
    Interlock("target not proven", _not_proven, "H  H  H  H  H* H*"),
    Interlock("learning", _learning, "H  H  H  H  W  W"),
    Interlock("quarantine", _quarantine, "H  H  H  H  W  W"),
    Interlock("migration", _migration, "H  H  H  H  H* H*"),
    Interlock("cooldown", _cooldown, "H  H  H  H  -  -"),
    Interlock("budget", _budget, "H  H  H  H  -  -"),
    Interlock("report budget", _report_budget, "-  -  -  H  -  -"),
    Interlock("config-only release", _config_only, "H  H  H  H  W  W"),
    Interlock("clock", _clock, "H  H  H  H  W  W"),
    Interlock("restored release", _restored, "H  H  H  H  W  W"),
)


def _deploying(case: Case, now: float) -> str | None:
    """It is bad while somebody deploys: the guard waits for the end of it, however long that takes."""
    return f"a deploy is under way: waiting for {case.deploy} to end or be cancelled" if case.deploy else None


def _there_already(case: Case, now: float) -> str | None:
    if case.target is None:
        return None
    managed = case.snapshot.managed
    same = managed and all(m.digest == case.target.digest for m in managed)
    return "every managed machine already runs the target" if same else None


def _no_image(case: Case, now: float) -> str | None:
    if case.target is None or case.resolvable:
        return None
    why = "is gone from the registry" if case.resolvable is False else "could not be looked up"
    return f"the target's image {case.target.image_ref} {why}"


def _nowhere(case: Case, now: float) -> str | None:
    """Overriding "target not proven" lets a person choose; it cannot conjure up a release."""
    return "no release was named to go back to" if case.target is None and case.overrides else None


def _no_rows(case: Case, now: float) -> str | None:
    """Without the list nobody could tell a person's next release from the ones before."""
    deployed = any(m.release_version is not None for m in case.snapshot.managed)
    return (
        "the list of releases is empty, though the machines are of one"
        if deployed and not case.snapshot.releases
        else None
    )


def _unseen(case: Case, now: float) -> str | None:
    age_s = now - case.snapshot.at
    if age_s <= 3 * case.policy.platform_every_s + 10.0:
        return None
    return f"the platform has not answered for {text.seconds(age_s)}"


PRECONDITIONS: tuple[tuple[str, Check], ...] = (
    ("deploy in progress", _deploying),
    ("target already there", _there_already),
    ("target image", _no_image),
    ("nowhere to go", _nowhere),
    ("platform not seen", _unseen),
    ("releases not seen", _no_rows),
)


def standing(case: Case, trigger: Trigger, now: float) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """What holds an act with this trigger, and what must be said though it does not hold it."""
    refusals = [Refusal(name, why) for name, check in PRECONDITIONS if (why := check(case, now))]
    warnings: list[Refusal] = []
    for lock in TABLE:
        effect = lock.effect(trigger)
        why = lock.check(case, now) if effect is not Effect.NONE else None
        if why is None:
            continue
        if effect is Effect.SAID or (effect is Effect.HOLDS_UNLESS_OVERRIDDEN and lock.name in case.overrides):
            warnings.append(Refusal(lock.name, why))
        else:
            refusals.append(Refusal(lock.name, why))
    return tuple(refusals), tuple(warnings)


def overridable(name: str, trigger: Trigger) -> bool:
    """Whether a person may override this interlock by name for this trigger."""
    return any(lock.name == name and lock.effect(trigger) is Effect.HOLDS_UNLESS_OVERRIDDEN for lock in TABLE)
