"""A clock for simulations: the running loop's time, from a fixed epoch on."""

from __future__ import annotations

import asyncio

from tests.virtual_time import EPOCH


class LoopClock:
    """``ports.Clock`` that never drifts."""

    def __init__(self, epoch: float = EPOCH) -> None:
        self.epoch = epoch

    def now(self) -> float:
        return self.epoch + asyncio.get_running_loop().time()

    def drift_s(self) -> float:
        return 0.0

    def reanchor(self) -> None:
        """There is nothing to do: this clock is the only one."""
