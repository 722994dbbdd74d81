"""The sign of life that somebody else watches: its silence is the alarm when the guard cannot raise one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Never

from rollguard.core.policy import Heartbeat
from rollguard.errors import GuardError
from rollguard.ports import Clock, Transport

TIMEOUT_S = 10.0

OUTCOMES = ("sent", "withheld", "failed")


async def beat_forever(
    settings: Heartbeat,
    transport: Transport,
    clock: Clock,
    well: Callable[[], bool],
    told: Callable[[str], None] = lambda outcome: None,
) -> Never:
    """Ask the URL every ``every_s`` for as long as the guard is ``well``; tell each outcome, one of ``OUTCOMES``.

    A beat that fails is not repeated: the next one is soon, and the watcher allows for a miss.
    """
    while True:
        began_at = clock.now()
        told(await _beat(settings.url, transport) if well() else "withheld")
        await asyncio.sleep(min(settings.every_s, max(1.0, settings.every_s - (clock.now() - began_at))))


async def _beat(url: str, transport: Transport) -> str:
    try:
        answer = await transport.request("GET", url, timeout_s=TIMEOUT_S, max_bytes=1 << 16)
    except GuardError:
        return "failed"
    return "sent" if 200 <= answer.status < 300 else "failed"
