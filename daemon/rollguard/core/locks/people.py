"""What people set: the hand brake, a hotfix on its way, the release floor, the calendar."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.calendars import frozen
from rollguard.core.case import Case, named


def pause(case: Case, now: float) -> str | None:
    """The hand brake."""
    pause = case.state.pause
    return f"paused by {pause.by} since {text.clock(pause.at)}: {pause.reason}" if pause else None


def hold(case: Case, now: float) -> str | None:
    """A person is at it: a hotfix is on its way."""
    hold = case.state.hold
    if hold is None or now >= hold.until:
        return None
    return f"held by {hold.by} for another {text.seconds(hold.until - now)}: {hold.reason}"


def release_floor(case: Case, now: float) -> str | None:
    """What is older than the floor has a hole that somebody closed."""
    floor, target = case.state.floor, case.target
    if floor is None or floor.version is None or target is None:
        return None
    if target.version is not None and target.version >= floor.version:
        return None
    return f"{named(target)} lies below the release floor v{floor.version}, set by {floor.by}: {floor.reason}"


def freeze(case: Case, now: float) -> str | None:
    """Only where the calendar says that rollbacks are held too."""
    standing = frozen(case.policy.interlocks.freeze, now)
    if standing is None:
        return None
    calendar, until = standing
    return f"the freeze {calendar.name!r} holds rollbacks for another {text.seconds(until - now)}"
