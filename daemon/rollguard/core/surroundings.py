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
    """Another target of this guard, and since when a rule fires there that would take its release back."""

    name: str
    firing_since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """``control`` and ``dependencies`` are addresses, ``neighbours`` the other targets in trouble, ``incidents`` what
    the platform says of itself.
    """

    control: tuple[Address, ...] = ()
    dependencies: tuple[Address, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    incidents: tuple[str, ...] = ()


@dataclass(slots=True)
class Board:
    """Where the targets of one guard see each other's trouble: target → since when, and told when."""

    firing: dict[str, tuple[float, float]] = field(default_factory=dict)

    def tell(self, target: str, since: float | None, now: float) -> None:
        """``target`` is in trouble since then; None: it is not."""
        if since is None:
            self.firing.pop(target, None)
        else:
            self.firing[target] = since, now

    def others(self, target: str, now: float) -> tuple[Neighbour, ...]:
        """Every other target that is in trouble now. What one said that tells nothing any more is forgotten."""
        return tuple(
            Neighbour(name, since)
            for name, (since, told_at) in sorted(self.firing.items())
            if name != target and now - told_at <= TOLD_S_MAX
        )


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
