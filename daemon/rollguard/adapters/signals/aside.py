"""Work on large answers beside the event loop: whoever else is due has its turn meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

BYTES_FROM = 1 << 17
"""Below this an answer is worked off within some 50 ms, which is no more than a thread's turns cost."""

P = ParamSpec("P")
T = TypeVar("T")


async def aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What ``work`` returns or raises; in a thread where the ``size`` of what it works on, in bytes, is large."""
    if size < BYTES_FROM:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
