"""What the guard knows of the world outside the app: its own wire, what the app needs, the neighbours, the platform."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FAILURES = 2
"""So many looks in a row must fail before an address counts as down: one lost packet is nothing."""
TOLD_S_MAX = 300.0
"""A target that judges says how it is at every tick; one that acts is silent meanwhile, one that died for ever."""
AGAIN_S = 15.0
"""How long before the first sign of trouble an outage may have been over and still be its cause."""
GRACE_S = 15.0
"""So long an act waits for other targets that show first signs of the same, and a page for the one that is to tell."""
REMEMBERED_S = 900.0
"""How long trouble of another target that is over may still be what a rule here sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One address that the guard asks by itself, and how it answered.

    ``failing_since`` is the first of the failures in a row that lasts to ``seen_at``; ``down_until`` the end of the
    newest outage (the last failed look of it), ``down_since`` its beginning.
    """

    name: str
    seen_at: float | None = None
    failures: int = 0
    failing_since: float | None = None
    down_since: float | None = None
    down_until: float | None = None
    detail: str = ""

    @property
    def down(self) -> bool:
        return self.failures >= FAILURES

    def saw(self, at: float, failure: str, asked_at: float | None = None) -> Address:
        """The address after one more look; ``failure`` is empty when it answered.

        A failure counts once the one before it was known when it was asked: looks that overlap are one look.
        """
        if failure and asked_at is not None and self.seen_at is not None and asked_at < self.seen_at:
            return self
        if not failure:
            return Address(name=self.name, seen_at=at, down_since=self.down_since, down_until=self.down_until)
        since = self.failing_since if self.failing_since is not None else at
        down = self.failures + 1 >= FAILURES
        return Address(
            name=self.name,
            seen_at=at,
            failures=self.failures + 1,
            failing_since=since,
            down_since=since if down else self.down_since,
            down_until=at if down else self.down_until,
            detail=failure,
        )

    def was_down_since(self, start: float) -> bool:
        """Whether it is down, or was at any time after ``start``."""
        return self.down or (self.down_until is not None and self.down_until >= start)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another target of this guard in trouble.

    ``firing_since``: a rule fires there that would take its release back, since then; None where there are only first
    signs of it, since ``signs_since``. ``until``: when that ended, None while it lasts. ``told``: people were paged
    there about what the targets have in common.
    """

    name: str
    firing_since: float | None = None
    signs_since: float | None = None
    until: float | None = None
    told: bool = False

    @property
    def lasting(self) -> bool:
        """Whether a rule fires there now."""
        return self.firing_since is not None and self.until is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``control`` and ``dependencies`` are addresses, ``neighbours`` the other targets in trouble, ``incidents`` what
    the platform says of itself.

    ``unheard`` are targets that joined a moment ago and have not said yet how they are; ``known_at`` is when the others
    were told of this target's own trouble.
    """

    control: tuple[Address, ...] = ()
    dependencies: tuple[Address, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    unheard: tuple[str, ...] = ()
    several: bool = False
    """Whether the guard has other targets at all."""
    known_at: float | None = None
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble:
    """What one target tells the others: see ``Neighbour``."""

    since: float | None = None
    signs_since: float | None = None
    told: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    """The newest trouble of a target: known to the others since ``known_at``, told last at ``told_at``."""

    seen: Neighbour
    known_at: float | None
    told_at: float


@dataclass(slots=True)
class Board:
    """Where the targets of one guard see each other's trouble."""

    joined: dict[str, float] = field(default_factory=dict)
    entries: dict[str, _Entry] = field(default_factory=dict)

    def join(self, target: str, now: float) -> None:
        """A target that will tell how it is."""
        self.joined.setdefault(target, now)

    def tell(self, target: str, trouble: Trouble, now: float) -> None:
        """How ``target`` is now. What ended only a moment ago goes on where it begins again."""
        before = self.entries.get(target)
        known = before.seen if before is not None else Neighbour(target)
        since, until, known_at = known.firing_since, known.until, before.known_at if before is not None else None
        if trouble.since is not None:
            new = since is None or (until is not None and now - until > AGAIN_S)
            since = trouble.since if new or since is None else min(since, trouble.since)
            until, known_at = None, now if new else known_at
        elif since is not None and until is None:
            until = now
        told = trouble.told if trouble.since is not None else known.told
        self.entries[target] = _Entry(Neighbour(target, since, trouble.signs_since, until, told), known_at, now)

    def others(self, target: str, now: float) -> tuple[Neighbour, ...]:
        """Every other target that is in trouble, or was a while ago. What one said that tells nothing any more is
        forgotten.
        """
        return tuple(
            entry.seen
            for name, entry in sorted(self.entries.items())
            if name != target and now - entry.told_at <= TOLD_S_MAX and _counts(entry.seen, now)
        )

    @property
    def several(self) -> bool:
        """Whether there is more than one target."""
        return len(self.joined) > 1

    def unheard(self, target: str, now: float) -> tuple[str, ...]:
        """The others that joined within ``GRACE_S`` and have told nothing yet."""
        late = (n for n, at in self.joined.items() if n not in self.entries and now - at <= GRACE_S)
        return tuple(sorted(name for name in late if name != target))

    def known_at(self, target: str) -> float | None:
        """Since when the others know of the trouble that ``target`` is in; None where it is in none."""
        entry = self.entries.get(target)
        return entry.known_at if entry is not None and entry.seen.lasting else None


def _counts(seen: Neighbour, now: float) -> bool:
    """In trouble, with first signs of it, or over it for less than ``REMEMBERED_S``."""
    if seen.firing_since is None or (seen.until is not None and now - seen.until > REMEMBERED_S):
        return seen.signs_since is not None
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question to one address: asked when, answered when; ``failure`` is empty where it answered well."""

    name: str
    asked_at: float
    at: float
    failure: str


def after_looks(known: Mapping[str, Address], names: Sequence[str], looks: Iterable[Look]) -> dict[str, Address]:
    """The addresses of these names after some more looks, the oldest first."""
    seen = {name: known[name] for name in names if name in known}
    for look in looks:
        if look.name in names:
            address = seen.get(look.name, Address(name=look.name))
            seen[look.name] = address.saw(look.at, look.failure, look.asked_at)
    return {name: seen[name] for name in names if name in seen}
