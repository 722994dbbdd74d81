"""Reports over HTTP on the targets of this process: each counts once, and there are only so many."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from rollguard.adapters.secrets import read_secret
from rollguard.app.target import Target
from rollguard.core import text
from rollguard.core.events import Reported
from rollguard.core.lifecycle import REPORTS_MAX
from rollguard.core.signing import TOLERANCE_S
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.web.report_forms import Report
from rollguard.web.reports import TooMany

MOST, WITHIN_S = 30, 600.0


class ReportDesk:
    """``web.reports.Reception``. Of earlier reports it knows what the journal says, so that it outlives a restart."""

    def __init__(self, targets: Mapping[str, Target], environ: Mapping[str, str]) -> None:
        self._targets, self._environ = targets, environ
        self._in_turn = {name: asyncio.Lock() for name in targets}

    def secret(self, target: str) -> str | None:
        """See ``Reception``. Raises ``Unavailable``: a person can mend it."""
        known = self._targets.get(target)
        reports = known.guard.policy.reports if known is not None else None
        if reports is None:
            return None
        try:
            return read_secret(reports.token, self._environ)
        except Refused as missing:
            raise Unavailable(str(missing)) from missing

    def now(self, target: str) -> float:
        """See ``Reception``."""
        return self._targets[target].clock.now()

    async def take(self, target: str, report: Report) -> str:
        """See ``Reception``. One after the other: of two that are the same, the second finds the first."""
        known = self._targets[target]
        async with self._in_turn[target]:
            if known.guard.policy.reports is None:
                raise Refused("reports are not taken any more: the policy has changed")
            earlier = known.guard.record.state.reports
            must_be_new(report, earlier)
            must_not_be_too_many(earlier, known.clock.now())
            return await known.acts.report(
                report.by, report.reason, report.kind, report.version, report_id=report.id, digest=report.digest
            )


def must_be_new(report: Report, earlier: Sequence[Reported]) -> None:
    """Raises ``Conflict`` for a report that was taken before, or may have been.

    Only the newest ``REPORTS_MAX`` are remembered. One that was signed so long ago that it may be among those which
    are forgotten is not taken; that takes as many within minutes.
    """
    if any(one.id == report.id for one in earlier):
        raise Conflict("a report of this ID was taken before")
    if report.sent_at is None or len(earlier) < REPORTS_MAX:
        return
    if report.sent_at <= earlier[0].at + TOLERANCE_S:
        raise Conflict("too many reports came since this one was signed to know it from a repeat: sign it anew")


def must_not_be_too_many(earlier: Sequence[Reported], now: float) -> None:
    """Raises ``TooMany`` where the target took ``MOST`` reports over HTTP within the last ``WITHIN_S``."""
    lately = [one.at for one in earlier if one.id and now - one.at < WITHIN_S]
    if len(lately) >= MOST:
        wait_s = lately[-MOST] + WITHIN_S - now
        sentence = f"{MOST} reports within {text.seconds(WITHIN_S)} are the most that a target takes"
        raise TooMany(sentence, retry_after_s=wait_s)
