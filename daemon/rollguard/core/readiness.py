"""Could a rollback happen now? Asked all the time, so that the answer is known before it is needed.

Each check says ok, not, or unknown, which is an answer of its own: neither the one nor the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rollguard.core import text

NAMES = ("target", "image", "tag", "config", "rights", "hosts", "capacity", "leases", "executor")
"""Of all checks, and so of all reasons."""
TOLD_ONLY = frozenset({"tag", "config"})
"""A rollback happens without these; they are shown, and nobody is paged for them."""
WORDS_MAX = 300


class State(StrEnum):
    """What a check says."""

    OK = "ok"
    NOT = "not"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a rollback needs: how it stands, and in which words. ``name`` is the reason where it is not."""

    name: str
    state: State
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Every check at ``at``. While somebody is ``deploying`` nothing of it is held against the app."""

    at: float
    checks: tuple[Check, ...] = field(default_factory=lambda: tuple(_unknown(n, "not asked yet") for n in NAMES))
    deploying: bool = False

    @property
    def failing(self) -> tuple[Check, ...]:
        """What keeps a rollback from happening."""
        return tuple(c for c in self.checks if c.state is State.NOT and c.name not in TOLD_ONLY)

    @property
    def state(self) -> State:
        """Of all that a rollback needs together."""
        if self.failing:
            return State.NOT
        unknown = any(c.state is State.UNKNOWN and c.name not in TOLD_ONLY for c in self.checks)
        return State.UNKNOWN if unknown else State.OK

    @property
    def idle(self) -> bool:
        """Nobody would go back from what runs: it is too old for that, or there never was anything else."""
        return self.of("target").state is State.UNKNOWN

    def of(self, name: str) -> Check:
        """The check of that name."""
        return next(c for c in self.checks if c.name == name)


def _unknown(name: str, why: str) -> Check:
    return Check(name=name, state=State.UNKNOWN, sentence=why)


def unseen(at: float, why: str) -> Readiness:
    """Nothing is known."""
    return Readiness(at=at, checks=tuple(_unknown(name, text.one_line(why, WORDS_MAX)) for name in NAMES))


# -- since when --------------------------------------------------------------------------------------------------------


def follow(since: Mapping[str, float], seen: Readiness, now: float) -> dict[str, float]:
    """Since when each check has said no, by name. Only an ok ends that: what is unknown now was not mended; but where
    nobody would go back to anything, nothing is missing.

    While somebody deploys the time does not run.
    """
    failing = {c.name for c in seen.failing}
    well = {c.name for c in seen.checks if c.state is State.OK} | ({"target", "image"} if seen.idle else set())
    return {
        name: now if seen.deploying or name not in since else since[name]
        for name in NAMES
        if name in failing or (name in since and name not in well)
    }


def overdue(since: Mapping[str, float], patience_s: float, now: float) -> tuple[str, ...]:
    """The checks that have said no for too long."""
    return tuple(name for name, at in since.items() if now - at >= patience_s)


def sentence(seen: Readiness, names: Sequence[str]) -> str:
    """Why a rollback could not happen: the first reason in full, the others by name. One that says no comes first."""
    first, *others = sorted(names, key=lambda name: seen.of(name).state is not State.NOT)
    rest = f" (also: {text.listing(others)})" if others else ""
    return f"no rollback could happen now: {seen.of(first).sentence}{rest}"
