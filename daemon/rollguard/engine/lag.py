"""How late the guard's own loop runs: what it missed meanwhile is nobody's failure."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Never

PULSE_S = 0.25
JITTER_S = 0.05
"""Less than that is no lateness."""
STILL_S = 5.0
"""Who stood still for so long has to look anew before anything is judged."""
AFRESH_S = 10.0
"""What the first rounds take after the guard stood still."""
PULSES_KEPT = 256


class Lag:
    """A pulse that measures by how much later than asked for it is woken. Times are the loop's own."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._late: deque[tuple[float, float]] = deque(maxlen=PULSES_KEPT)
        self._afresh_until = 0.0

    def now(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def mind_forever(self) -> Never:
        """Measure until cancelled."""
        while True:
            self._due = self.now() + PULSE_S
            await asyncio.sleep(PULSE_S)
            now = self.now()
            if now - self._due > JITTER_S:
                self._late.append((now, now - self._due))
            if now - self._due >= STILL_S:
                self._afresh_until = now + AFRESH_S

    def late_s(self, since: float) -> float:
        """For how long of the time since then the loop did nothing, also where it has only just woken up."""
        now = self.now()
        open_s = now - self._due if self._due is not None else 0.0
        late_s = sum(min(late_s, at - since) for at, late_s in self._late if at > since)
        return late_s + (min(open_s, now - since) if open_s > JITTER_S else 0.0)

    @property
    def afresh_s(self) -> float:
        """For how much longer nothing may be judged, because the guard stood still a moment ago; 0: judge."""
        now = self.now()
        just_woken = self._due is not None and now - self._due >= STILL_S
        return AFRESH_S if just_woken else max(0.0, self._afresh_until - now)
