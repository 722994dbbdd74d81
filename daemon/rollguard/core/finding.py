"""What one rule says, with its numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from rollguard.core.policy import Rule


class RuleState(StrEnum):
    """States of a rule. Blind is its own answer: neither failing nor well."""

    CLEAR = "clear"
    PENDING = "pending"
    FIRING = "firing"
    BLIND = "blind"


class Trigger(StrEnum):
    """What kind of evidence asks for the act: the columns of the interlock table."""

    RELATIVE = "relative rule"
    ABSOLUTE = "absolute rule"
    HARD_DOWN = "hard-down"
    REPORT = "report"
    APPROVED = "approved"
    MANUAL = "manual"


class Blame(StrEnum):
    """Whom a firing rule points at."""

    RELEASE = "release"
    MACHINE = "machine"
    REGION = "region"
    EVERYONE = "everyone"


class Words(Protocol):
    """What makes a sentence when somebody reads it: while all is well, nobody does. Equal ones make equal sentences."""

    def __str__(self) -> str: ...


BY_PEOPLE = frozenset({Trigger.APPROVED, Trigger.MANUAL})
"""A person decided; what a person set before (a pause, a mode) was known then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's answer at one instant.

    What is ``said`` (read it as ``sentence``) names value, limit and since when; ``since`` is the first reading of the
    present breach. ``machines`` are those that breach. ``value``, ``limit`` and ``baseline`` (what the release is
    compared with) are in base units, None where there is none. ``odds``, where it was compared with a baseline:
    evidence this strong turns up in fewer than 1 of so many releases that are within tolerance. ``side_by_side``:
    machines on the old image, under the same users, have shown that it is the release. ``bound_s``: the values are
    shares of requests slower than that. ``part``: where the rule is split by a label, the value that it is about. As
    long as nothing new is read, judging again says the same up to ``holds_until``.
    """

    rule: Rule
    state: RuleState
    said: Words
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    blame: Blame = Blame.RELEASE
    machines: tuple[str, ...] = ()
    since: float | None = None
    trigger: Trigger = Trigger.ABSOLUTE
    holds_until: float = field(default=-math.inf, compare=False)
    odds: float | None = None
    side_by_side: bool = False
    bound_s: float | None = None
    part: str | None = None

    @property
    def sentence(self) -> str:
        """What the rule says, as people read it."""
        return str(self.said)

    @property
    def firing(self) -> bool:
        return self.state is RuleState.FIRING
