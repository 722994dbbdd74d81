"""What a promise is: something that may never be, checked at every event, every write, and once in a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollguard.core import events as ev
from rollguard.core.policy import Policy
from tests.simulation.soak.books import Books
from tests.simulation.soak.drawn import Drawn
from tests.simulation.soak.truth import Truth, Write, now

RACE_S = 2.0
"""What happens so shortly before an act cannot be known to who acts: one tick, one read."""
AFRESH_S = 45.0
"""Nobody acts on an older look than that, however slow the platform answers."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: by its name, at a second of the story, and how."""

    promise: str
    at: float
    sentence: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.sentence} (at {self.at:.1f} s)"


@dataclass(slots=True)
class Scene:
    """What every promise looks at."""

    drawn: Drawn
    policy: Policy
    truth: Truth
    books: Books
    broken: list[Violation]
    skewed: Callable[[], bool]
    """Whether the guard's clock and the platform's tell different times."""
    checks: int = 0
    sees_since: float | None = None
    """Since when a guard lives, sees the platform and can write."""


class Promise:
    """One of them. ``event`` and ``write`` are told what became durable, and what the platform carried out."""

    name = ""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.truth, self.books = scene, scene.truth, scene.books

    def holds(self, true: object, sentence: str) -> None:
        """Count a check, and note it where it fails."""
        self.scene.checks += 1
        if not true:
            self.scene.broken.append(Violation(self.name, now(), sentence))

    def event(self, event: ev.Event) -> None: ...

    def write(self, write: Write) -> None: ...

    def look(self) -> None:
        """Once in a while, whatever happens."""
