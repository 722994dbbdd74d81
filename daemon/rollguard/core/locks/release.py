"""What the release itself says against going back from it, or to the one before."""

from __future__ import annotations

from rollguard.core import drift, text
from rollguard.core.case import Case, named


def release_age(case: Case, now: float) -> str | None:
    """What ran well for so long did not break by itself."""
    age_s = now - (case.candidate.full_at or case.candidate.first_seen_at)
    limit_s = case.policy.interlocks.release_age_s
    if age_s <= limit_s:
        return None
    return f"the release is {text.seconds(age_s)} old, over {text.seconds(limit_s)}: it was not the release"


def onset(case: Case, now: float) -> str | None:
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


def not_proven(case: Case, now: float) -> str | None:
    """Only what somebody saw run clean is worth going back to."""
    if case.target is None:
        return f"no proven release to go back to: {case.no_target}"
    if case.target.proven_at is None:
        return f"{named(case.target)} was never proven: nobody saw it run clean"
    return None


def learning(case: Case, now: float) -> str | None:
    """What ran before the guard came may have been bad all along: it is watched before anything is its fault."""
    seen, watch_s = case.candidate, case.policy.interlocks.proven_after_s
    if not seen.first_sight or seen.proven_at is not None or now - seen.first_seen_at >= watch_s:
        return None
    rest_s = watch_s - (now - seen.first_seen_at)
    return f"{named(seen)} was there before the guard: it is only watched for another {text.seconds(rest_s)}"


def quarantine(case: Case, now: float) -> str | None:
    """Never twice for one digest."""
    past = [r for r in case.state.rollbacks if r.candidate == case.candidate.digest]
    if not past:
        return None
    return (
        f"this digest ({text.short(case.candidate.digest)}) was already rolled back at {text.clock(past[-1].at)}; "
        "it was shipped again, and your pipeline will ship it once more"
    )


def config_only(case: Case, now: float) -> str | None:
    """A release that kept its image changed configuration or secrets; an image cannot undo that."""
    mine = [m for m in case.snapshot.managed if m.digest == case.candidate.digest and m.incident is None]
    version = max((m.release_version for m in mine if m.release_version is not None), default=None)
    first = case.candidate.full_version or case.candidate.version  # a second try at a half-done deploy is no news
    if version is None or first is None or version <= first or case.candidate.full_at is None:
        return None
    same = f"release v{version} has the same image as v{first}"
    return f"{same}: it changed configuration or secrets only, which an image cannot undo{_changed(case)}"


def _changed(case: Case) -> str:
    """Which keys are not as they were before the release, where that is known."""
    since = case.drifts.since_before
    if since is None:
        return ""
    return (
        f"; config since then: {drift.said(since)}"
        if since
        else "; no key of the config changed: secrets, or a restart"
    )


def config_drift(case: Case, now: float) -> str | None:
    """What the old image will find that is not as it was: going back restores no configuration."""
    since = case.drifts.since_proven
    if case.target is None or not since:
        return None
    proven = f"config since {named(case.target)} was proven"
    return f"{proven}: {drift.said(since)}; the rollback changes the image only"


def restored(case: Case, now: float) -> str | None:
    """Going further back than once is a proposal for a person: the image that was restored is left alone."""
    last = case.state.rollbacks[-1] if case.state.rollbacks else None
    if last is None or last.target != case.candidate.digest:
        return None
    return f"{named(case.candidate)} is what the guard went back to: going further back is for a person to decide"


def watch_over(case: Case, now: float) -> str | None:
    """Later than this the app itself has moved on, and its predecessor is no measure any more."""
    age_s = now - (case.candidate.full_at or case.candidate.first_seen_at)
    limit_s = case.policy.interlocks.watch_s
    if age_s <= limit_s:
        return None
    return f"compared with its predecessor for {text.seconds(age_s)}, at most {text.seconds(limit_s)} count"
