"""Looking around: the guard's own wire, what the app needs, what the platform says of itself.

All of it is asked by the guard itself, never through the app; and once more right before an act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Never

from rollguard.core import jsontext, text
from rollguard.core.policy import Policy
from rollguard.core.surroundings import Address, Board, Look, Surroundings, Trouble, after_looks
from rollguard.errors import GuardError
from rollguard.ports import Clock, Transport

FEED_EVERY_S = 60.0
FEED_TIMEOUT_S = 5.0
CONTROL_TIMEOUT_S = 3.0
AGAIN_S = 1.0
"""Between two looks right before an act, where the first one failed."""
SURE_S = 3.0
"""Longer than that no act waits for a look around."""
STOOD_STILL_S = 0.5
"""A question that is out for so much longer than its time limit waited for the guard, not for an answer."""
BODY_BYTES_MAX = 1 << 16
FEED_BYTES_MAX = 1 << 20
INCIDENTS_MAX = 5
NAME_CHARS_MAX = 120


@dataclass(frozen=True, slots=True)
class Asked:
    """An address, and what counts as an answer: any at all, or only one that says it is well."""

    name: str
    url: str
    timeout_s: float
    must_be_well: bool


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
        self._board.join(policy.target.name, clock.now())

    def obey(self, policy: Policy) -> None:
        """Look at what another policy names from now on; what was seen of the rest is forgotten."""
        limits, self._policy = policy.interlocks, policy
        self._control = {name: a for name, a in self._control.items() if name in limits.control}
        named = {d.name for d in limits.dependencies}
        self._dependencies = {name: a for name, a in self._dependencies.items() if name in named}

    @property
    def now(self) -> Surroundings:
        """As last seen."""
        at, mine = self._clock.now(), self._policy.target.name
        return Surroundings(
            control=tuple(self._control.values()),
            dependencies=tuple(self._dependencies.values()),
            neighbours=self._board.others(mine, at),
            unheard=self._board.unheard(mine, at),
            several=self._board.several,
            known_at=self._board.known_at(mine),
            incidents=self._incidents,
        )

    def tell_neighbours(self, trouble: Trouble) -> None:
        """Whether a rule fires here that would take the release back, or shows first signs of it."""
        self._board.tell(self._policy.target.name, trouble, self._clock.now())

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
        """Look right now, and once more a moment later where there is no good answer by then; all in ``SURE_S``.

        An act may be waiting: one control address that answers is enough, and nobody waits for the others.
        """
        control, needed = self._addresses()
        looks = await asyncio.gather(self._one_of(control), *(self._twice(address) for address in needed))
        self._take([look for some in looks for look in some])

    async def look(self) -> None:
        """Ask every control address and every dependency once, all at the same time."""
        control, needed = self._addresses()
        looks = await asyncio.gather(*(self._ask(address, address.timeout_s) for address in (*control, *needed)))
        self._take([look for look in looks if look is not None])

    def _addresses(self) -> tuple[list[Asked], list[Asked]]:
        limits = self._policy.interlocks
        return (
            [Asked(url, url, CONTROL_TIMEOUT_S, must_be_well=False) for url in limits.control],
            [Asked(d.name, d.url, d.timeout_s, must_be_well=True) for d in limits.dependencies],
        )

    def _take(self, looks: Sequence[Look]) -> None:
        """Under the policy of now: what it named when they were asked may be gone."""
        limits = self._policy.interlocks
        self._control = after_looks(self._control, limits.control, looks)
        self._dependencies = after_looks(self._dependencies, [d.name for d in limits.dependencies], looks)

    async def _one_of(self, addresses: Sequence[Asked]) -> list[Look]:
        """All of them asked twice, until the first good answer."""
        tasks, looks = [asyncio.create_task(self._twice(address)) for address in addresses], list[Look]()
        try:
            for task in asyncio.as_completed(tasks):
                looks += await task
                if looks and not looks[-1].failure:
                    break
        finally:
            await _end(tasks)
        return looks

    async def _twice(self, address: Asked) -> list[Look]:
        """Both looks, or only the good one."""
        pause_s = min(AGAIN_S, self._policy.interlocks.look_every_s / 2)

        async def again() -> Look | None:
            await asyncio.sleep(pause_s)
            return await self._ask(address, SURE_S - pause_s)

        tasks, looks = [asyncio.create_task(self._ask(address, SURE_S)), asyncio.create_task(again())], list[Look]()
        try:
            for task in asyncio.as_completed(tasks):
                look = await task
                if look is not None and not look.failure:
                    return [look]
                looks += [look] if look is not None else []
        finally:
            await _end(tasks)
        # Each was asked on its own, a moment apart: two looks, though they may end together.
        return [replace(look, asked_at=look.at) for look in sorted(looks, key=lambda look: look.at)]

    async def _ask(self, address: Asked, at_most_s: float) -> Look | None:
        """One look. Any answer at all shows that the wire works.

        None: the question never left the guard, or the guard stood still itself while it waited for the answer.
        """
        asked_at, timeout_s = self._clock.now(), min(address.timeout_s, at_most_s)
        try:
            answer = await self._transport.request("GET", address.url, timeout_s=timeout_s, max_bytes=BODY_BYTES_MAX)
        except GuardError as error:
            stood_still = self._clock.now() - asked_at > timeout_s + STOOD_STILL_S
            if not getattr(error, "sent", True) or stood_still:
                return None
            failure = "" if _too_large(error) else text.one_line(str(error), NAME_CHARS_MAX)
        else:
            failure = f"HTTP {answer.status}" if address.must_be_well and answer.status >= 500 else ""
        return Look(name=address.name, asked_at=asked_at, at=self._clock.now(), failure=failure)

    async def _read_feed(self) -> None:
        """What the platform says is wrong with it. A feed that cannot be read says nothing."""
        url = self._policy.interlocks.status_feed
        if not url:
            self._incidents = ()
            return
        try:
            answer = await self._transport.request("GET", url, timeout_s=FEED_TIMEOUT_S, max_bytes=FEED_BYTES_MAX)
            self._incidents = incidents(jsontext.parse(answer.body)) if answer.status == 200 else ()
        except (GuardError, ValueError, RecursionError):
            self._incidents = ()


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
