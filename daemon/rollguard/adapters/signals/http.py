"""Probes by status: does it answer, and well?"""

from __future__ import annotations

from collections.abc import Sequence

from rollguard.adapters.signals.probing import probe_all
from rollguard.core.model import Reading
from rollguard.core.signals import HttpSignal
from rollguard.ports import Clock, Fleet, Transport

BODY_BYTES_MAX = 64 * 1024


class HttpSource:
    """``ports.SignalSource`` of an ``HttpSignal``: 1.0 for a good status in time, else 0.0 with the reason.

    "In time" is for the answer as a user needs it: the whole body, or its first 64 KiB, within the timeout. So a big
    home page is no failure (the rest is not read), and a good status followed by a body that drips or hangs is one.
    """

    def __init__(self, signal: HttpSignal, transport: Transport) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._signal = signal
        self._transport = transport

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One reading per subject."""
        return await probe_all(
            self._signal, self._transport, fleet, clock, BODY_BYTES_MAX, lambda probe: (probe.reading,)
        )
