"""What a round of readings is worth that was made while the guard itself was late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollguard.core.model import GapKind, Reading
from rollguard.core.signals import JourneySignal, ProbeSignal, Signal

SHARE = 0.25
"""A guard that did nothing for such a part of a probe's time may have missed the answer."""
LATE_S_MIN = 0.5


def excused(readings: Sequence[Reading], signal: Signal | None, late_s: float) -> list[Reading]:
    """The same readings, those that the guard's own lateness may have made turned into gaps: probes that nobody
    answered, and how long the steps of a journey took.

    What an app did answer, be it an error, stays what it is.
    """
    if not isinstance(signal, ProbeSignal) or late_s < max(LATE_S_MIN, SHARE * signal.timeout_s):
        return list(readings)
    why = f"the guard itself stood still for {late_s:.1f}s"
    return [_gap(r, why) if r.unanswered or _is_time(r, signal) else r for r in readings]


def _is_time(reading: Reading, signal: Signal) -> bool:
    """Whether this is how long something took by the guard's own clock."""
    return isinstance(signal, JourneySignal) and reading.key != signal.name and reading.value is not None


def _gap(reading: Reading, why: str) -> Reading:
    return replace(reading, value=None, gap=GapKind.LATE, detail=why)
