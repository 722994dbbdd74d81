"""How incidents end, and what is told to people outside of them."""

from __future__ import annotations

from collections.abc import Sequence

from rollguard.core import events as ev
from rollguard.core import messages, order
from rollguard.core.case import named
from rollguard.core.finding import Finding
from rollguard.core.incident_record import bundle_path
from rollguard.core.lifecycle import Incident
from rollguard.core.model import Snapshot
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Policy
from rollguard.core.postmortem import follow_ups
from rollguard.core.verify import Verdict
from rollguard.engine.record import Record


class Endings:
    """Closes incidents, each with its last words. One per target."""

    def __init__(self, policy: Policy, record: Record) -> None:
        self.policy = policy
        self._record = record

    async def verified(
        self, incident: Incident, verdict: Verdict, snapshot: Snapshot, now: float, findings: Sequence[Finding] = ()
    ) -> None:
        """How the restored release does. ``findings`` are the rules as they stand, for the numbers."""
        goal = incident.goal
        target = self._record.state.record(goal.target) if goal else None
        name = named(target) if target else "the target"
        said = {
            "restored": (f"restored: all machines are on {name} again, {verdict.sentence}", Severity.INFO, True),
            "cannot tell": (f"restored on {name}, unverified: {verdict.sentence}", Severity.WARNING, False),
            "not better": (
                f"not the release: {name} does no better: {verdict.sentence}. The guard leaves it as it is",
                Severity.CRITICAL,
                False,
            ),
        }
        summary, severity, resolve = said[verdict.result]
        page = messages.page(
            self.policy,
            incident.id,
            summary,
            now,
            about=verdict.result,
            severity=severity,
            resolve=resolve,
            findings=[f for f in findings if f.firing],
            target=target,
            snapshot=snapshot,
            more=[
                *order.said((e.event for e in self._record.recent), incident.id),
                *([] if resolve else [("support bundle", bundle_path(self.policy, incident.opened_at))]),
            ],
        )
        events: list[ev.Event] = [
            ev.Verified(at=now, incident=incident.id, result=verdict.result, sentence=verdict.sentence)
        ]
        if resolve:
            events.append(ev.IncidentClosed(at=now, incident=incident.id, outcome=verdict.result, sentence=summary))
        due = follow_ups(self.policy, incident, tuple(self._record.recent), events, now)
        await self._record.add(*events, pages=[page, *due])

    async def restarting(self, incident: Incident, summary: str, snapshot: Snapshot, now: float) -> None:
        """Machines are restarted in the middle of an incident, or were."""
        page = self.page(incident.id, summary, snapshot, now, about="restart", severity=Severity.WARNING)
        await self._record.add(pages=[page])

    async def overtaken(self, incident: Incident, snapshot: Snapshot, now: float) -> None:
        """Somebody shipped something else while the restored release was still being verified."""
        summary = "another release came before the restored one was verified"
        page = self.page(incident.id, summary, snapshot, now, about="cannot tell", severity=Severity.WARNING)
        events: list[ev.Event] = [
            ev.Verified(at=now, incident=incident.id, result="cannot tell", sentence=summary),
            ev.IncidentClosed(at=now, incident=incident.id, outcome="handed over", sentence=summary),
        ]
        due = follow_ups(self.policy, incident, tuple(self._record.recent), events, now)
        await self._record.add(*events, pages=[page, *due])

    async def superseded(self, incident: Incident, now: float) -> None:
        """A newer release than the one this incident is about: whatever comes now is another incident.

        An alert in which the guard acted and handed over stays open: somebody has to look.
        """
        sentence = "a newer release came"
        closed = ev.IncidentClosed(at=now, incident=incident.id, outcome="handed over", sentence=sentence)
        page = self.page(incident.id, sentence, None, now, about="superseded", severity=Severity.INFO, resolve=True)
        alert_is_ours_to_end = incident.goal is None and incident.said
        await self._record.add(closed, pages=[page] if alert_is_ours_to_end else [])

    async def recovered(self, incident: Incident, snapshot: Snapshot, now: float) -> None:
        """Nothing has fired for a while. Where the guard had acted and could not call it restored, the alert stays
        open all the same: somebody has to look.
        """
        summary = f"recovered: {incident.sentence}"
        page = self.page(incident.id, summary, snapshot, now, about="recovered", severity=Severity.INFO, resolve=True)
        closed = ev.IncidentClosed(at=now, incident=incident.id, outcome="recovered", sentence=summary)
        alert_is_ours_to_end = incident.goal is None and incident.said
        await self._record.add(closed, pages=[page] if alert_is_ours_to_end else [])

    async def notice(self, summary: str, about: str, now: float, *, resolve: bool = False) -> None:
        """Tell people something that belongs to no incident."""
        page = self.page(about, summary, None, now, about=about, severity=Severity.WARNING, resolve=resolve)
        await self._record.add(pages=[page])

    def page(
        self,
        incident: str,
        summary: str,
        snapshot: Snapshot | None,
        now: float,
        *,
        about: str,
        severity: Severity,
        resolve: bool = False,
    ) -> Page:
        """A message about an incident, or about something that belongs to none."""
        return messages.page(
            self.policy,
            incident,
            summary,
            now,
            about=about,
            severity=severity,
            resolve=resolve,
            snapshot=snapshot,
        )
