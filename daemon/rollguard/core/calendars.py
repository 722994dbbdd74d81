"""When nobody should change anything, as the team's calendar says it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A time of rest. Either once, from ``begins_at`` to ``ends_at`` (epoch seconds), or every week on ``days``
    (0 is Monday) for ``length_s`` from ``from_s`` after midnight in ``zone``.

    A freeze is about deploys; only where ``holds_rollback`` says so does it hold the guard too.
    """

    name: str
    holds_rollback: bool
    begins_at: float | None = None
    ends_at: float | None = None
    days: frozenset[int] = frozenset()
    from_s: float = 0.0
    length_s: float = DAY_S
    zone: tzinfo = UTC

    def until(self, now: float) -> float | None:
        """When the freeze that stands at ``now`` ends, in epoch seconds; None while none stands."""
        if self.begins_at is not None and self.ends_at is not None:
            return self.ends_at if self.begins_at <= now < self.ends_at else None
        midnight = datetime.fromtimestamp(now, self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(8):  # a freeze of at most a week may have begun on an earlier day
            day = midnight - timedelta(days=back)
            begins = (day + timedelta(seconds=self.from_s)).timestamp()
            if day.weekday() in self.days and begins <= now < begins + self.length_s:
                return begins + self.length_s
        return None


def frozen(freezes: Iterable[Freeze], now: float) -> tuple[Freeze, float] | None:
    """The first freeze that holds rollbacks now, and when it ends; None when none does."""
    for freeze in freezes:
        until = freeze.until(now) if freeze.holds_rollback else None
        if until is not None:
            return freeze, until
    return None
