"""The world outside the app, as a guard asks it by itself: control addresses and what the app needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rollguard.core.policy import Dependency, Interlocks, Policy
from rollguard.core.surroundings import Board
from rollguard.engine.surroundings import LookAround
from rollguard.errors import Unavailable
from rollguard.ports import Clock, HttpAnswer

WIRE, OTHER_WIRE, DATABASE = "https://wire.example/", "https://other.example/", "https://database.example/"


class Elsewhere:
    """``ports.Transport``: every address answers, but those that are ``down``."""

    def __init__(self) -> None:
        self.down: set[str] = set()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        if url in self.down:
            raise Unavailable(f"connection refused: {method} {url}")
        return HttpAnswer(200, {}, b"")

    def around(self, board: Board | None = None) -> LookingAround:
        """How lives of a stage look around here, those with one ``board`` as targets of one guard."""
        return LookingAround(self, board)


class LookingAround:
    """What ``Stage.around_of`` wants."""

    def __init__(self, elsewhere: Elsewhere, board: Board | None) -> None:
        self._elsewhere, self._board = elsewhere, board

    def __call__(self, policy: Policy, clock: Clock) -> LookAround:
        return LookAround(policy, self._elsewhere, clock, self._board)


def looking(policy: Policy) -> Policy:
    """The policy with two control addresses and a database that the app needs."""
    limits: Interlocks = replace(
        policy.interlocks,
        control=(WIRE, OTHER_WIRE),
        dependencies=(Dependency(name="database", url=DATABASE),),
        status_feed="",
    )
    return replace(policy, interlocks=limits)
