"""The values that labels may take: few, known beforehand, never an ID."""

from __future__ import annotations

from collections.abc import Collection

from rollguard.core.readiness import NAMES

MODES = ("observe", "page", "enforce")
RULE_STATES = ("clear", "pending", "firing", "blind")
DECISIONS = ("hold", "page", "rollback", "would-page", "would-rollback", "other")
GOAL_OUTCOMES = ("restored", "yielded", "failed", "deadline", "paused", "unproven", "unclear", "other")
CHANGES = (
    "release_create",
    "release_running",
    "update",
    "release_complete",
    "release_failed",
    "restart",
    "delegate",
    "delegate_cancel",
    "other",
)
DRILL_RESULTS = ("ok", "failed", "stopped", "other")
CHANGE_RESULTS = ("intended", "done", "failed")
UPDATE_RESULTS = ("accepted", "healthy", "failed")
PAGE_OUTCOMES = ("sent", "failed", "dropped")
PROBE_OUTCOMES = ("ok", "failed", "gap")
BEAT_OUTCOMES = ("sent", "withheld", "failed")
CONDITIONS = ("Observed", "Healthy", "RollbackReady", "Acting", "Held")
CONDITION_STATUSES = ("True", "False", "Unknown")
PHASES = ("none", "open", "acting", "verifying")
READY_REASONS = NAMES
STANDINGS = ("proven", "unproven", "rejected")


def known(value: str, values: Collection[str]) -> str:
    """The value, or ``other``: what an event says must not be able to grow the number of series."""
    return value if value in values else "other"
