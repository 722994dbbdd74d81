"""What the pages need from elsewhere: whether a dependency answers, asked seldom and never for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from rollguard.localfly.http1 import BadMessageError, Request, fetch

FRESH_S = 0.2
ANSWER_S_MAX = 1.0

Ask = Callable[[str], Awaitable[bool]]


async def answers(url: str) -> bool:
    """Whether a GET is answered below 500 in a second."""
    parts = urlsplit(url)
    request = Request("GET", parts.path or "/", [("host", parts.netloc)])
    try:
        return (await fetch(parts.hostname or "", parts.port or 80, request, ANSWER_S_MAX)).status < 500
    except (OSError, TimeoutError, BadMessageError):
        return False


class Need:
    """One process's view of a dependency: at most one question in 0.2 s, and never two at once."""

    def __init__(self, ask: Ask = answers, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._url = ""
        self._asked_at = 0.0
        self._answer: asyncio.Future[bool] | None = None

    async def met(self, url: str) -> bool:
        """Whether the dependency answers, or did a moment ago."""
        now = self._clock()
        known = self._answer
        if known is None or url != self._url or (known.done() and now - self._asked_at >= FRESH_S):
            self._url, self._asked_at = url, now
            known = self._answer = asyncio.ensure_future(self._ask(url))
        return await asyncio.shield(known)  # who gives up must not take the others' answer away
