"""Work on large answers beside the event loop: whoever else is due has its turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

BYTES_FROM = 1 << 17
"""Below this an answer is worked off within some 50 ms, which is no more than a thread's turns cost."""

TURN_BYTES_FROM = 1 << 14
"""Below this an answer costs some 2 ms at most."""

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """The answers of one round, worked off one at a time where they are large, with a turn for others in between.

    Each may hold the loop for a tenth of a second, and an app's machines may all answer in the same moment.
    """

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def take(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` returns or raises."""
        if size < TURN_BYTES_FROM:
            return work(*args, **kwargs)
        async with self._one:
            await asyncio.sleep(0)
            return work(*args, **kwargs)


async def aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` returns or raises; in a thread where the ``size`` of what it works on, in bytes, is large."""
    if size < BYTES_FROM:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
