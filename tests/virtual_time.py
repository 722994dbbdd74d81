"""An event loop whose time jumps: `asyncio.sleep(86400)` returns at once, and a deadlock is an assertion."""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SPINS_MAX = 300_000
"""So often tasks may wake each other at one instant: more is a loop without a pause."""
EPOCH = 1_787_306_400.0  # what wall clocks show when loop time is 0: 2026-08-21 10:00 UTC


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer instead of waiting for it, and refuses to wait for nothing.

    Not for real sockets, threads or other processes: the clock would outrun them.
    """

    def __init__(self, selector: Callable[[VirtualTimeLoop], JumpingSelector] | None = None) -> None:
        self.now_s = 0.0
        super().__init__((selector or JumpingSelector)(self))

    def time(self) -> float:
        return self.now_s


class JumpingSelector(selectors.DefaultSelector):
    """Moves its loop's clock to the next timer when nothing is ready."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self.loop = loop
        self.spins = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        busy = timeout is not None and timeout <= 0  # callbacks wait to be called: nobody outside need be heard yet
        self.spins = self.spins + 1 if busy else 0
        assert self.spins < SPINS_MAX, "somebody works without end, and time stands still"
        ready = [] if busy else self.heard()
        if not ready:
            assert timeout is not None, "stuck: every task is waiting, and no timer will wake one"
            self.loop.now_s = max(self.loop.now_s + timeout, math.nextafter(self.loop.now_s, math.inf))
        return ready

    def heard(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Who outside the loop has something for it."""
        return super().select(0)


def wall_clock() -> float:
    """Epoch seconds of the running virtual loop."""
    return EPOCH + asyncio.get_running_loop().time()


def run(scenario: Coroutine[Any, Any, T], loop: Callable[[], VirtualTimeLoop] = VirtualTimeLoop) -> T:
    """Live through a scenario in virtual time."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(scenario)
