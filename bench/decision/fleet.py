"""What a benchmark of decisions looks at: a fleet, simulated or recorded, that can be given another image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rollguard.core.model import Reading, Snapshot


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of one signal said; ``repeated``: it was asked again at once, because somebody failed."""

    signal: str
    readings: Sequence[Reading]
    repeated: bool = False


class Fleet(Protocol):
    """Seconds count from the beginning of the deploy, which is ``epoch`` on the guard's clock."""

    @property
    def epoch(self) -> float: ...

    def snapshot(self, at: float) -> Snapshot:
        """The machines now."""
        ...

    def install(self, machine: str, digest: str, at: float) -> None:
        """The machine starts on that image."""
        ...

    def next_at(self, at: float, *, doubting: bool) -> float:
        """When something is read next."""
        ...

    def rounds(self, at: float) -> Iterable[Round]:
        """What is read then."""
        ...
