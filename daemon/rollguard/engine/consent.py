"""What people answer when the guard asks: yes, once, for what was asked; or no."""

from __future__ import annotations

from rollguard.core import approvals, messages, text
from rollguard.core import events as ev
from rollguard.core.case import Case, named
from rollguard.core.decide import RollBack
from rollguard.core.finding import Trigger
from rollguard.core.fleet import newest_running
from rollguard.core.interlocks import standing
from rollguard.core.lifecycle import Incident
from rollguard.core.model import Mode, Snapshot
from rollguard.core.pages import Severity
from rollguard.engine.guard import Guard
from rollguard.engine.words import who, why
from rollguard.errors import Refused
from rollguard.ports import Clock


class Consent:
    """The open question of one target. Acts raise ``Refused`` with a sentence, ``JournalError``, ``Unavailable``."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock

    async def approve(self, by: str, reason: str) -> str:
        """Roll back as was asked, if the world is still as it was; every interlock is evaluated anew.

        What only holds it for now leaves the question open; a changed world ends it.
        """
        incident, asked = self._open_question()
        by, reason = who(by), why(reason)
        if self._guard.mode is Mode.OBSERVE:
            raise Refused("the mode is observe: nothing is written to the platform")
        case = await self._looked_at()
        now = self._clock.now()
        if void := approvals.why_void(asked, case, self._guard.quiet_s(now)):
            ended = ev.ApprovalEnded(at=now, incident=incident.id, outcome="void", by=by, reason=void)
            await self._guard.respond.close_question(asked, ended, ())
            raise Refused(f"this can no longer be approved: {void}")
        refusals, warnings = standing(case, Trigger.APPROVED, now)
        if refusals:
            reasons = "; ".join(f"{r.name}: {r.sentence}" for r in refusals)
            raise Refused(f"held: {reasons}. The question stays open until {text.clock(asked.until)}")
        assert case.target is not None, "a case without a target is void"
        decision = RollBack(
            sentence=f"rolling back {named(case.candidate)} to {named(case.target)}, approved by {by}: {reason}",
            findings=tuple(f for f in self._guard.findings if f.firing),
            trigger=Trigger.APPROVED,
            target=case.target,
            warnings=warnings,
        )
        if now >= asked.until:
            raise Refused(f"the approval expired at {text.clock(asked.until)}, while the guard looked once more")
        await self._guard.respond.begin(decision, case.candidate, case.snapshot, by=by, reason=reason, answers=asked)
        return f"approved: rolling back {named(case.candidate)} to {named(case.target)} (incident {incident.id})"

    async def veto(self, by: str, reason: str) -> str:
        """No: nothing is rolled back, and the guard does not ask again in this incident."""
        incident, asked = self._open_question()
        by, reason = who(by), why(reason)
        now = self._clock.now()
        summary = f"vetoed by {by}: {reason}. Nothing is rolled back"
        page = self._guard.endings.page(
            incident.id, summary, self._guard.watch.snapshot, now, about="approval", severity=Severity.WARNING
        )
        ended = ev.ApprovalEnded(at=now, incident=incident.id, outcome="vetoed", by=by, reason=reason)
        seen = messages.acknowledged(self._guard.policy, incident.id, f"{by} is at it", now)
        if not await self._guard.respond.close_question(asked, ended, [page, seen]):
            raise Refused("the question was answered or closed meanwhile")
        return "vetoed: nothing is rolled back"

    def _open_question(self) -> tuple[Incident, ev.ApprovalAsked]:
        state, now = self._guard.record.state, self._clock.now()
        asked = state.incident.approval if state.incident else None
        if state.goal is not None:
            raise Refused("a rollback is under way already")
        if state.incident is None or asked is None:
            raise Refused("nothing waits for an approval")
        if now >= asked.until:
            raise Refused(f"the approval expired at {text.clock(asked.until)}: rollguard rollback goes back by hand")
        return state.incident, asked

    async def _looked_at(self) -> Case:
        """The case as it is right now: platform, leases, image and surroundings read afresh."""
        guard = self._guard
        if guard.around is not None:
            await guard.around.make_sure()
        snapshot: Snapshot = await guard.watch.look(closely=True)
        digest = newest_running(snapshot, guard.record.state.order)
        record = guard.record.state.record(digest) if digest else None
        if record is None:
            raise Refused("no managed machine runs a known image")
        case = guard.case(record, snapshot, self._clock.now())
        if case.target is None:
            return case
        image = messages.by_digest(case.target.image_ref, case.target.digest)
        resolvable = await guard.watch.resolvable(image, case.target.digest)
        return guard.case(record, snapshot, self._clock.now(), resolvable=resolvable)
