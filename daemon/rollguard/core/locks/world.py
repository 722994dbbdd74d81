"""What happens around the app: then it may not be the release."""

from __future__ import annotations

from collections.abc import Sequence

from rollguard.core import text
from rollguard.core.case import Case
from rollguard.core.spans import span_s
from rollguard.core.surroundings import AGAIN_S, Address


def clock(case: Case, now: float) -> str | None:
    """A clock behind the journal dates nothing: until it has passed, nothing is acted on."""
    if case.clock_behind_s <= 0:
        return None
    return f"the clock is {text.seconds(case.clock_behind_s)} behind the journal's newest entry"


def control(case: Case, now: float) -> str | None:
    """A guard that reaches nothing at all has lost its own wire."""
    known = case.around.control
    if not known or not all(a.was_down_since(_evidence_since(case, now)) for a in known):
        return None
    ends = [now if a.down else a.down_until for a in known]
    if max(a.down_since or 0.0 for a in known) > min(end or 0.0 for end in ends):
        return None  # one after the other: some answer came at every time
    return f"the guard itself is cut off: no control address answers ({_newest(known)})"


def dependency(case: Case, now: float) -> str | None:
    """What the app needs was away while the evidence was gathered: any release would fail so."""
    down = [a for a in case.around.dependencies if a.was_down_since(_evidence_since(case, now))]
    if not down:
        return None
    names = text.listing([a.name for a in down])
    since = text.clock(min(a.down_since for a in down if a.down_since is not None))
    still = "is" if any(a.down for a in down) else "was"
    return f"not the release: the dependency {names} {still} down since {since} ({_newest(down)})"


def others(case: Case, now: float) -> str | None:
    """Two apps do not get bad releases in the same minute; what they share does."""
    within_s, start = case.policy.interlocks.others_within_s, _began(case, now)
    alike = [n for n in case.around.neighbours if abs(n.firing_since - start) <= within_s]
    if not within_s or not alike:
        return None
    return f"other targets breach at the same time: {text.listing([n.name for n in alike])}"


def platform_incident(case: Case, now: float) -> str | None:
    """The platform says itself that something is wrong."""
    known = case.around.incidents
    return f"the platform reports: {text.listing(known, most=3)}" if known else None


def _began(case: Case, now: float) -> float:
    """When the oldest of the acting rules began to be breached."""
    return min((f.since for f in case.findings if f.firing and f.since is not None), default=now)


def _evidence_since(case: Case, now: float) -> float:
    """From when on an outage may have made what the acting rules saw. Older ones are out of their windows."""
    spans = [span_s(f.rule.condition, case.policy) for f in case.findings if f.firing]
    return now - max(spans, default=0.0) - AGAIN_S


def _newest(addresses: Sequence[Address]) -> str:
    return next((a.detail for a in addresses if a.detail), "it answers again")
