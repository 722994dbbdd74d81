"""How often is enough: rollbacks are counted from their intent, over rolling time and over restarts."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.case import Case
from rollguard.core.finding import Trigger

DAY_S = 86400.0


def cooldown(case: Case, now: float) -> str | None:
    """From the last intent on; an app found with the guard's own marks on it was rolled back by an earlier journal."""
    found = [d.first_seen_at for d in case.state.digests if d.first_sight and d.by_guard]
    last = max([*(r.at for r in case.state.rollbacks), *found], default=None)
    if last is None or now - last >= case.policy.interlocks.cooldown_s:
        return None
    rest_s = case.policy.interlocks.cooldown_s - (now - last)
    return (
        f"the last rollback was {text.seconds(max(0.0, now - last))} ago; cooldown for another {text.seconds(rest_s)}"
    )


def budget(case: Case, now: float) -> str | None:
    """Once for a release, and not more often than that in a day."""
    limits, rollbacks = case.policy.interlocks, case.state.rollbacks
    mine = sum(r.candidate == case.candidate.digest for r in rollbacks)
    if mine >= limits.per_release:
        return f"this release was rolled back {mine} times, the most allowed"
    today = sum(now - r.at < DAY_S for r in rollbacks)
    if today >= limits.per_day:
        return f"{today} rollbacks within 24 h, the most allowed"
    return None


def report_budget(case: Case, now: float) -> str | None:
    """Whoever can report could otherwise take the app back and back again."""
    today = [r for r in case.state.rollbacks if r.trigger == Trigger.REPORT and now - r.at < DAY_S]
    return "one rollback by a report within 24 h is the most allowed" if today else None
