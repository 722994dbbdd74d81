"""Asking an app the same question everywhere: each machine by name, and the edge as users meet it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from rollguard.adapters.http import USER_AGENT, Saturated, TooLarge, excerpt
from rollguard.adapters.signals.aside import Turns
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import HttpSignal, JsonSignal, Scope
from rollguard.errors import GuardError
from rollguard.ports import Clock, Fleet, HttpAnswer, Transport

INSTANCE_HEADER = "fly-force-instance-id"
"""Fly's proxy sends a request with this header to that machine and to no other."""

HEADERS = {"User-Agent": USER_AGENT, "Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came of asking one subject. ``answer`` is None without one, cut off where ``too_large``.

    ``reading`` is 1.0 when the status was a good one, 0.0 when it was not or nothing came; a gap when the guard
    itself had no connection left to ask with.
    """

    reading: Reading
    answer: HttpAnswer | None = None
    too_large: bool = False

    @property
    def ok(self) -> bool:
        return self.reading.value == 1.0


async def probe_all(
    signal: HttpSignal | JsonSignal,
    transport: Transport,
    fleet: Fleet,
    clock: Clock,
    max_bytes: int,
    told: Callable[[Probe], Sequence[Reading]],
) -> list[Reading]:
    """What each probe tells, of the subjects of the signal's scopes; all are asked at once, in the signal's timeout or
    the fleet's.

    An answer is worked off as soon as it is there, and is not kept: hundreds of machines may have large ones.
    """
    turns = Turns()

    timeout_s = min(signal.timeout_s, fleet.within_s)

    async def ask(subject: str) -> Sequence[Reading]:
        probe = await _probe(signal, transport, subject, clock, max_bytes, timeout_s)
        return await turns.take(len(probe.answer.body) if probe.answer else 0, told, probe)

    rounds = await asyncio.gather(*(ask(subject) for subject in subjects(signal.scopes, fleet)))
    return [reading for readings in rounds for reading in readings]


def subjects(scopes: Set[Scope], fleet: Fleet) -> tuple[str, ...]:
    """Whom to ask: each started machine, the edge, or both."""
    machines = fleet.started if Scope.MACHINE in scopes else ()
    return (*machines, EDGE) if Scope.EDGE in scopes else machines


async def _probe(
    signal: HttpSignal | JsonSignal, transport: Transport, subject: str, clock: Clock, max_bytes: int, timeout_s: float
) -> Probe:
    headers = HEADERS if subject == EDGE else HEADERS | {INSTANCE_HEADER: subject}
    answer, too_large, value, gap = None, False, 0.0, None
    asked_at = clock.now()
    try:
        answer = await transport.request("GET", signal.url, headers=headers, timeout_s=timeout_s, max_bytes=max_bytes)
    except TooLarge as error:
        answer, too_large = error.answer, True
    except Saturated as error:
        detail, gap = cause(error), GapKind.NO_ANSWER
    except GuardError as error:
        detail = cause(error)
    if answer is not None:
        detail = f"HTTP {answer.status}"
        value = 1.0 if answer.status in signal.ok_status else 0.0
    reading = Reading(
        key=signal.name,
        subject=subject,
        at=clock.now(),
        value=value if gap is None else None,
        gap=gap,
        detail=detail,
        since=asked_at,
    )
    return Probe(reading=reading, answer=answer, too_large=too_large)


def cause(error: Exception) -> str:
    """The first part of a transport's message (``timeout after 4s``), without the request that follows it."""
    return excerpt(str(error).partition(": ")[0], 120)
