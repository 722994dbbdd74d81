"""What a scenario is: a release, what is done and waited for, and how that must end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollguard.core.policy import Policy
from rollguard.demo.endings import Ending
from rollguard.localfly.images import Behaviour

if TYPE_CHECKING:
    from rollguard.demo.show import Show

Act = Callable[["Show"], Awaitable[None]]
"""One thing that is done, or waited for. It raises ``lookout.GivenUp`` where going on would show nothing."""

GOOD = Behaviour(latency_s=0.08)
"""How v1 behaves, and every release that is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One show: v1 serves, users come, the guard is on duty; then the ``acts``, one after the other.

    ``release`` is how v2 behaves, ``migration`` what its label says of the database; ``depends``: the app needs a
    database, which the guard is told of. At the end every machine must run ``ends_on``; only ``bad`` may have failed
    users, unless it is ``rough``: then failed requests are told in sums only. ``limit_s`` reads out of the policy how
    soon the guard must write; ``ends_in_s`` bounds all of it.
    """

    name: str
    about: str
    ending: Ending
    release: Behaviour
    acts: tuple[Act, ...]
    ends_in_s: float
    limit_s: Callable[[Policy], float | None] = lambda policy: None
    migration: str = "none"
    depends: bool = False
    ends_on: str = "v1"
    bad: str | None = "v2"
    rough: bool = False

    @property
    def expected(self) -> str:
        """How it must end, in words."""
        return self.ending.words
