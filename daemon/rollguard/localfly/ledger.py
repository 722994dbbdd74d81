"""The platform's own record of an app: who wrote what, who broke the floor, what happened."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from rollguard.localfly.floor import Violation

EVENTS_MAX = 200
VIOLATIONS_MAX = 1000
HOLDS = frozenset({"lease", "lease_release"})
"""Kinds of writes that change nothing: somebody holds a machine, and may only have asked whether that is possible."""


class Ledger:
    """Counts by owner and kind. Bounded, except for the number of owners, which is that of the tokens."""

    def __init__(self, owners: list[str]) -> None:
        self.writes: dict[str, Counter[str]] = {owner: Counter() for owner in owners}
        self.first_write_at: dict[str, float | None] = dict.fromkeys(owners)
        self.violations: deque[Violation] = deque(maxlen=VIOLATIONS_MAX)
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_MAX)  # newest first

    def wrote(self, owner: str, kind: str, now: float, machine: str = "", detail: str = "") -> None:
        """Count a write that was carried out. A machine that is only held is no first write."""
        self.writes.setdefault(owner, Counter())[kind] += 1
        if kind not in HOLDS and self.first_write_at.get(owner) is None:
            self.first_write_at[owner] = now
        self.note(now, kind, owner, machine, detail)

    def refused(self, owner: str, kind: str, now: float, machine: str, why: str) -> None:
        """Count a write that was not carried out; it is no first write."""
        self.writes.setdefault(owner, Counter())["refused"] += 1
        self.note(now, f"{kind} refused", owner, machine, why)

    def note(self, now: float, kind: str, owner: str, machine: str = "", detail: str = "") -> None:
        """Keep a line for people who ask what happened."""
        self.events.appendleft({"at": now, "kind": kind, "owner": owner, "machine": machine, "detail": detail})
