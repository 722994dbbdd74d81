"""Everything that a decision may look at, and what an interlock says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from rollguard.core import text
from rollguard.core.drift import Drifts
from rollguard.core.finding import Finding
from rollguard.core.first_plan import Plan
from rollguard.core.lifecycle import DigestRecord, TargetState
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy
from rollguard.core.surroundings import Surroundings


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
    in progress. ``clock_behind_s``: how far wall time lies before the journal's newest entry. ``around`` is what
    the guard knows of the world outside the app, ``drifts`` what changed in the app's configuration. ``plan`` is what a
    first machine could show (None: nothing asks for one).
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
    around: Surroundings = field(default_factory=Surroundings)
    overrides: frozenset[str] = frozenset()
    drifts: Drifts = field(default_factory=Drifts)
    plan: Plan | None = None


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
