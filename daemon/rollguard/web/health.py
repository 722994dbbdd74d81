"""Whether the guard is well, from its vitals: None, or the sentence that says why not."""

from __future__ import annotations

from rollguard.ports import Vitals

LATE_TICKS = 3.0


def why_unhealthy(vitals: Vitals, now: float, tick_every_s: float) -> str | None:
    """A guard that cannot write or does not tick should be restarted, or looked at; one that acts is busy with it."""
    if vitals.journal_error:
        return f"the journal cannot be written: {vitals.journal_error}"
    last = vitals.started_at if vitals.last_tick_at is None else vitals.last_tick_at
    if not vitals.acting and now - last > LATE_TICKS * tick_every_s:
        return f"no tick for {now - last:.0f} s, where one is due every {tick_every_s:g} s"
    return None


def why_unready(vitals: Vitals) -> str | None:
    """A guard is on duty once it has a policy and a journal, which it starts with, and has seen the platform."""
    if vitals.journal_error:
        return f"the journal cannot be written: {vitals.journal_error}"
    if vitals.last_snapshot_at is None:
        return "the platform has not been seen yet"
    return None
