"""Time that cannot jump."""

from __future__ import annotations

import time
from collections.abc import Callable


class SystemClock:
    """``ports.Clock``: the wall time at the start plus the monotonic time since."""

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset_s = wall() - steady()

    def now(self) -> float:
        """Seconds since the epoch, steady."""
        return self._steady() + self._offset_s

    def drift_s(self) -> float:
        """How far the wall clock has moved away since the anchor; positive when it runs ahead."""
        return self._wall() - self.now()

    def reanchor(self) -> None:
        """Take the wall clock's word from now on."""
        self._offset_s = self._wall() - self._steady()
