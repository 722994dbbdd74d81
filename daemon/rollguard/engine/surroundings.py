"""Looking around: the guard's own wire, what the app needs, what the platform says of itself.

All of it is asked by the guard itself, never through the app; and once more right before an act.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Never

from rollguard.core import text
from rollguard.core.policy import Policy
from rollguard.core.surroundings import Address, Board, Surroundings, after_look
from rollguard.errors import GuardError
from rollguard.ports import Clock, Transport

FEED_EVERY_S = 60.0
FEED_TIMEOUT_S = 5.0
CONTROL_TIMEOUT_S = 3.0
AGAIN_S = 1.0
"""Between two looks right before an act, where the first one failed."""
BODY_BYTES_MAX = 1 << 16
FEED_BYTES_MAX = 1 << 20
INCIDENTS_MAX = 5
NAME_CHARS_MAX = 120


class LookAround:
    """What one target knows of the world around it. ``board`` is shared by all targets of the guard."""

    def __init__(self, policy: Policy, transport: Transport, clock: Clock, board: Board | None = None) -> None:
        self._transport = transport
        self._clock = clock
        self._policy = policy
        self._board = Board() if board is None else board
        self._control: dict[str, Address] = {}
        self._dependencies: dict[str, Address] = {}
        self._incidents: tuple[str, ...] = ()
        self._feed_at: float | None = None

    def obey(self, policy: Policy) -> None:
        """Look at what another policy names from now on; what was seen of the rest is forgotten."""
        limits, self._policy = policy.interlocks, policy
        self._control = {name: a for name, a in self._control.items() if name in limits.control}
        named = {d.name for d in limits.dependencies}
        self._dependencies = {name: a for name, a in self._dependencies.items() if name in named}

    @property
    def now(self) -> Surroundings:
        """As last seen."""
        return Surroundings(
            control=tuple(self._control.values()),
            dependencies=tuple(self._dependencies.values()),
            neighbours=self._board.others(self._policy.target.name),
            incidents=self._incidents,
        )

    def tell_neighbours(self, firing_since: float | None) -> None:
        """Since when a rule fires here that would take the release back; None: none does."""
        self._board.tell(self._policy.target.name, firing_since)

    async def look_forever(self) -> Never:
        """Ask every address at the policy's pace, the platform's list of incidents once a minute."""
        while True:
            began = self._clock.now()
            await self.look()
            if self._feed_at is None or began - self._feed_at >= FEED_EVERY_S:
                self._feed_at = began
                await self._read_feed()
            every_s = self._policy.interlocks.look_every_s
            await asyncio.sleep(min(every_s, max(0.05, began + every_s - self._clock.now())))

    async def make_sure(self) -> None:
        """Look right now; and where something failed that was well before, once more a moment later."""
        await self.look()
        if self.now.failing:
            await asyncio.sleep(min(AGAIN_S, self._policy.interlocks.look_every_s / 2))
            await self.look()

    async def look(self) -> None:
        """Ask every control address and every dependency once, all at the same time."""
        limits = self._policy.interlocks
        control = [(url, url, CONTROL_TIMEOUT_S, False) for url in limits.control]
        needed = [(d.name, d.url, d.timeout_s, True) for d in limits.dependencies]
        answers = await asyncio.gather(*(self._ask(*address) for address in (*control, *needed)))
        at = self._clock.now()
        self._control = after_look(self._control, answers[: len(control)], at)
        self._dependencies = after_look(self._dependencies, answers[len(control) :], at)

    async def _ask(self, name: str, url: str, timeout_s: float, must_be_well: bool) -> tuple[str, str]:
        """The name, and why it failed (empty: it did not). Any answer at all shows that the wire works."""
        try:
            answer = await self._transport.request("GET", url, timeout_s=timeout_s, max_bytes=BODY_BYTES_MAX)
        except GuardError as error:
            return name, "" if _too_large(error) else text.one_line(str(error), NAME_CHARS_MAX)
        return name, f"HTTP {answer.status}" if must_be_well and answer.status >= 500 else ""

    async def _read_feed(self) -> None:
        """What the platform says is wrong with it. A feed that cannot be read says nothing."""
        url = self._policy.interlocks.status_feed
        if not url:
            self._incidents = ()
            return
        try:
            answer = await self._transport.request("GET", url, timeout_s=FEED_TIMEOUT_S, max_bytes=FEED_BYTES_MAX)
            self._incidents = incidents(json.loads(answer.body)) if answer.status == 200 else ()
        except (GuardError, ValueError, RecursionError):
            self._incidents = ()


def incidents(document: Any) -> tuple[str, ...]:
    """The names of the incidents that are not over, in ``{"incidents": [{"name", "status", "resolved_at"}]}``."""
    listed = document.get("incidents") if isinstance(document, Mapping) else None
    open_ones = (
        [one for one in listed if isinstance(one, Mapping) and _is_open(one)] if isinstance(listed, list) else []
    )
    names = (str(one.get("name") or "an incident without a name") for one in open_ones[:INCIDENTS_MAX])
    return tuple(text.one_line(name, NAME_CHARS_MAX) for name in names)


def _is_open(incident: Mapping[str, Any]) -> bool:
    return not incident.get("resolved_at") and incident.get("status") != "resolved"


def _too_large(error: GuardError) -> bool:
    """A body that was cut off is an answer."""
    return getattr(error, "answer", None) is not None
