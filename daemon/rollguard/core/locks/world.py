"""What happens around the app: then it may not be the release."""

from __future__ import annotations

from collections.abc import Sequence

from rollguard.core import text
from rollguard.core.case import Case
from rollguard.core.spans import span_s
from rollguard.core.surroundings import AGAIN_S, GRACE_S, Address, Neighbour

LOOKED_S = 6.0
"""What begins everywhere at once is seen by every target that probes every 5 s by then."""


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
    alike = _alike(case, now)
    if not alike:
        return None
    signs = [n.name for n in case.around.neighbours if n not in alike and _shows_signs(n, case, now)]
    also = f", first signs at {text.listing(signs)}" if signs else ""
    return f"other targets breach at the same time: {text.listing([n.name for n in alike])}{also}"


def waits_for_others(case: Case, now: float) -> str | None:
    """An act waits a moment for other targets that show first signs of the same, or cannot have looked yet."""
    if not case.policy.interlocks.others_within_s or not _just_known(case, now):
        return None
    names = [*case.around.unheard, *(n.name for n in case.around.neighbours if _shows_signs(n, case, now))]
    if not names and case.around.several and now - _began(case, now) < LOOKED_S:
        return "waiting a moment: the other targets may not have looked since it began"
    if not names:
        return None
    return f"waiting up to {text.seconds(GRACE_S)} for {text.listing(names)}: does the same begin there?"


def told_by(case: Case, now: float) -> tuple[str, bool]:
    """The target whose page tells of the trouble that it has in common with this one, and whether it has been sent;
    ``""``: none does, and this one has to.

    It is the one that was in trouble first, unless another one has told already. A page of a target that is well again
    was taken back, and speaks for nobody.
    """
    alike = [n for n in _alike(case, now) if n.until is None or now - n.until <= GRACE_S]
    if done := next((n.name for n in alike if n.told), None):
        return done, True
    mine = _began(case, now), case.policy.target.name
    elder = [n for n in alike if n.lasting and (n.firing_since or 0.0, n.name) < mine]
    if not elder or not _just_known(case, now):
        return "", False
    return min(elder, key=lambda n: (n.firing_since or 0.0, n.name)).name, False


def _alike(case: Case, now: float) -> list[Neighbour]:
    """The other targets whose breach began when this one's did, and may still be what is seen here."""
    within_s, start = case.policy.interlocks.others_within_s, _began(case, now)
    return [
        n
        for n in case.around.neighbours
        if within_s
        and n.firing_since is not None
        and abs(n.firing_since - start) <= within_s
        and (n.until is None or n.until >= _evidence_since(case, now))
    ]


def _shows_signs(neighbour: Neighbour, case: Case, now: float) -> bool:
    """Whether something has begun there, at about the same time, that is no breach yet."""
    within_s = case.policy.interlocks.others_within_s
    began_at = neighbour.signs_since
    return not neighbour.lasting and began_at is not None and abs(began_at - _began(case, now)) <= within_s


def _just_known(case: Case, now: float) -> bool:
    """Whether this target's own breach was found only a moment ago."""
    known_at = case.around.known_at
    return known_at is not None and now - known_at <= GRACE_S


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
