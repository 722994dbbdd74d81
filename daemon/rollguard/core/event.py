"""What every event has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to one target at ``at``."""

    at: float


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the journal. Order is by ``seq``, never by time."""

    seq: int
    event: Event
