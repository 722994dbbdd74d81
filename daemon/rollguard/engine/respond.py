"""What follows from a decision: a page, a rollback driven to its end, a verdict on what was restored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rollguard.core import approvals, messages, order
from rollguard.core import events as ev
from rollguard.core.case import named
from rollguard.core.decide import PageDecision, RollBack
from rollguard.core.executors import Machines
from rollguard.core.finding import BY_PEOPLE, Finding
from rollguard.core.incident_record import bundle_path
from rollguard.core.lifecycle import DigestRecord, Goal, Incident
from rollguard.core.model import Mode, Snapshot
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Action, Policy
from rollguard.core.postmortem import follow_ups
from rollguard.core.proof import must_prove
from rollguard.engine.delegate import at_large, hands_of
from rollguard.engine.execute import JudgeFirst, no_proof
from rollguard.engine.record import Record
from rollguard.engine.rows import ReleaseRow
from rollguard.engine.steps import Steps
from rollguard.engine.words import DRILLING
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Clock, Delegate, Platform

TIDY_EVERY_S = 30.0
TIDY_TRIES = 40


class Responder:
    """Writes decisions down, tells people, and drives rollbacks. One per target."""

    def __init__(
        self,
        policy: Policy,
        platform: Platform,
        record: Record,
        clock: Clock,
        judge_first: JudgeFirst = no_proof,
        delegate: Delegate | None = None,
    ) -> None:
        self.policy = policy
        self.delegate = delegate
        """Who rolls back where the policy names another executor than the guard itself."""
        self._judge_first = judge_first
        self._platform = platform
        self._record = record
        self._clock = clock
        self._observed: frozenset[str] = frozenset()
        self._left_to = ("", "")
        self.one_at_a_time = asyncio.Lock()
        self._tidy_at = 0.0
        self._tidied = ("", 0)

    async def tell(
        self,
        decision: PageDecision,
        candidate: DigestRecord,
        snapshot: Snapshot,
        now: float,
        seen: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Say a reason once an incident. After the guard has acted, or handed over, it keeps quiet.

        ``seen`` is evidence for people, such as what the app's log says.
        """
        incident = self._record.state.incident
        about = decision.about
        if incident is None:
            self._observed = frozenset()
        elif _has_acted(incident, candidate) or about <= incident.said | self._observed:
            return
        opened: list[ev.Event] = []
        if incident is None:
            incident_id = self._new_incident(now)
            opened = [
                ev.IncidentOpened(at=now, incident=incident_id, candidate=candidate.digest, sentence=decision.sentence)
            ]
        else:
            incident_id = incident.id
        if decision.told_by:
            await self._leave_it_to(decision, incident_id, opened, candidate, now)
            return
        observe = decision.mode is Mode.OBSERVE
        asked = None if observe else self._ask(incident, incident_id, decision, candidate, now)
        open_question = asked or (incident.approval if incident else None)
        did = "would-rollback" if observe and decision.would_roll_back else "would-page" if observe else "page"
        decided = self._decided(incident_id, did, decision, candidate, now)
        page = messages.page(
            self.policy,
            incident_id,
            decision.sentence,
            now,
            about="|".join(sorted(about)),
            severity=Severity.CRITICAL if decision.refusals or decision.would_roll_back else Severity.ERROR,
            findings=decision.findings,
            refusals=decision.refusals,
            warnings=decision.warnings,
            target=decision.target,
            snapshot=snapshot,
            more=[*seen, *([approvals.how(self.policy, open_question)] if open_question else [])],
        )
        self._observed |= about
        await self._record.add(*opened, decided, *([asked] if asked else []), pages=[] if observe else [page])

    async def _leave_it_to(
        self, decision: PageDecision, incident: str, opened: Sequence[ev.Event], candidate: DigestRecord, now: float
    ) -> None:
        """Another target's page tells of it: said once here, and for the record alone."""
        if self._left_to == (incident, decision.told_by):
            return
        self._left_to = incident, decision.told_by
        held = replace(decision, sentence=f"told by the page of {decision.told_by}: {decision.sentence}")
        await self._record.add(*opened, self._decided(incident, "hold", held, candidate, now))

    def _ask(
        self, known: Incident | None, incident: str, decision: PageDecision, candidate: DigestRecord, now: float
    ) -> ev.ApprovalAsked | None:
        """The question to a person that goes with a page: one at a time, and never again after a no."""
        answered = known is not None and (known.approval is not None or known.vetoed)
        if not decision.approvable or decision.target is None or answered:
            return None
        return approvals.ask(self.policy, incident, candidate, decision.target, decision.sentence, now)

    async def begin(
        self,
        decision: RollBack,
        candidate: DigestRecord,
        snapshot: Snapshot,
        *,
        by: str,
        reason: str,
        seen: Sequence[tuple[str, str]] = (),
        answers: ev.ApprovalAsked | None = None,
    ) -> str:
        """Make the intent durable, together with the page that announces it; return the incident's ID.

        A rollback that is under way already stays the only one. One that ``answers`` a question uses it up in the
        same transaction; it raises ``Refused`` where the question is not open any more, and while a drill is under way.
        """
        async with self.one_at_a_time:
            if answers is not None and not self._is_open(answers):
                raise Refused("the question was answered or closed meanwhile: nothing was rolled back by this yes")
            goal = self._record.state.goal
            if goal is not None:
                return goal.incident
            if self._record.state.drilling is not None:
                raise Refused(DRILLING)
            return await self._set_goal(decision, candidate, snapshot, by, reason, seen, answers)

    async def close_question(self, asked: ev.ApprovalAsked, ended: ev.ApprovalEnded, pages: Sequence[Page]) -> bool:
        """Write down how a question ended; False, and nothing is written, where it is not open any more."""
        async with self.one_at_a_time:
            if not self._is_open(asked):
                return False
            await self._record.add(ended, pages=pages)
            return True

    def _is_open(self, asked: ev.ApprovalAsked) -> bool:
        incident = self._record.state.incident
        return incident is not None and incident.approval == asked

    async def _set_goal(
        self,
        decision: RollBack,
        candidate: DigestRecord,
        snapshot: Snapshot,
        by: str,
        reason: str,
        seen: Sequence[tuple[str, str]],
        answers: ev.ApprovalAsked | None,
    ) -> str:
        now = self._clock.now()
        state = self._record.state
        opened: list[ev.Event] = []
        incident = state.incident.id if state.incident else self._new_incident(now)
        if state.incident is None:
            sentence = "; ".join(f.sentence for f in decision.findings if f.firing) or reason
            opened.append(ev.IncidentOpened(at=now, incident=incident, candidate=candidate.digest, sentence=sentence))
        pages: list[Page] = []
        if answers is not None:
            opened.append(ev.ApprovalEnded(at=now, incident=incident, outcome="approved", by=by, reason=reason))
            pages.append(messages.acknowledged(self.policy, incident, f"approved by {by}: {reason}", now))
        acting = [f for f in decision.findings if f.firing and f.rule.then is Action.ROLLBACK]
        gap = messages.gap_notice(snapshot)
        executor = self.policy.rollback.executor
        alone, plan = isinstance(executor, Machines), decision.plan
        told = plan is None or not plan.hopeless
        prove = alone and told and must_prove(decision.trigger, acting, snapshot, decision.target.digest)
        page = messages.page(
            self.policy,
            incident,
            decision.sentence + (f". {gap}" if gap else ""),
            now,
            about="rolling back",
            findings=[f for f in decision.findings if f.firing],
            warnings=decision.warnings,
            target=decision.target,
            snapshot=snapshot,
            more=[*seen, *([] if alone else [("executor", f"{executor.name}: no machine goes first to prove it")])],
        )
        await self._record.add(
            *opened,
            self._decided(incident, "rollback", decision, candidate, now),
            ev.GoalSet(
                at=now,
                incident=incident,
                candidate=candidate.digest,
                target=decision.target.digest,
                target_ref=messages.by_digest(decision.target.image_ref, decision.target.digest),
                target_version=decision.target.version,
                after_version=snapshot.newest_version,
                trigger=str(decision.trigger),
                by=by,
                reason=reason,
                deadline_at=now + self.policy.rollback.deadline_s,
                instances={m.id: m.instance_id for m in snapshot.managed},
                rules=tuple(f.rule.name for f in acting),
                prove=prove,
                executor=executor.name,
                first_wait_s=plan.wait_s if prove and plan is not None else None,
            ),
            pages=[*pages, page, self._change("a rollback begins", decision.target, now)],
        )
        return incident

    def _change(self, what: str, target: DigestRecord, now: float) -> Page:
        return messages.change(self.policy, f"{what}, to {named(target)}", now, [("image", target.image_ref)])

    async def drive(
        self,
        snapshot: Snapshot | None,
        mode: Mode = Mode.ENFORCE,
        may_ask: Callable[[Snapshot, float], bool] = lambda snapshot, now: False,
        findings: Sequence[Finding] = (),
    ) -> None:
        """Carry the goal to its end, in this life or on behalf of an earlier one, and say how it ended.

        A life that may not act hands an earlier one's goal over, unless a person had set it. Where the first machine
        could not tell, and ``may_ask``, a person is asked whether to go on. ``findings`` are the rules that began it.
        """
        incident, goal = self._record.state.incident, self._record.state.goal
        assert incident is not None
        assert goal is not None
        hands = hands_of(goal, self.policy, self.delegate, self._platform, self._record, self._clock, self._judge_first)
        if mode is not Mode.ENFORCE and goal.trigger not in BY_PEOPLE:
            outcome, sentence = "paused", f"the mode is {mode.name.lower()} now{at_large(goal)}"
        elif hands is None:
            was = f"{goal.executor} began it, and is not the executor of the policy any more"
            outcome, sentence = "failed", f"{was}{at_large(goal)}"
        else:
            outcome, sentence = await hands.drive()
        now = self._clock.now()
        target = self._record.state.record(goal.target)
        ended = ev.GoalEnded(at=now, incident=incident.id, outcome=outcome, sentence=sentence)
        done = [self._change(f"the rollback ended ({outcome})", target, now)] if target else []
        if outcome == "restored":
            await self._record.add(ended, pages=done)
            return
        with contextlib.suppress(Unavailable, Refused, Conflict):
            snapshot = await self._platform.snapshot()  # what it looks like now, not before it began
        candidate, asked = self._record.state.record(goal.candidate), None
        if outcome == "unclear" and candidate and target and snapshot and may_ask(snapshot, now):
            asked = approvals.ask(self.policy, incident.id, candidate, target, sentence, now)
        page = messages.page(
            self.policy,
            incident.id,
            f"the rollback stopped ({outcome}): {sentence}. It is handed over to you",
            now,
            about=f"handed over: {outcome}",
            findings=[f for f in findings if f.firing],
            target=target,
            snapshot=snapshot,
            more=[
                *order.said((e.event for e in self._record.recent), incident.id),
                *([approvals.how(self.policy, asked)] if asked else []),
                ("support bundle", bundle_path(self.policy, incident.opened_at)),
            ],
        )
        ending = [ended, *([asked] if asked else [])]
        due = follow_ups(self.policy, incident, tuple(self._record.recent), ending, now)
        await self._record.add(*ending, pages=[page, *due, *done])

    async def tidy(self, now: float, mode: Mode) -> None:
        """Close the release row of an ended rollback that could not be closed in time; now and then, until it is."""
        incident, left = self._record.state.incident, self._record.state.untidy
        goal = self._untidy(incident.goal) if incident else None
        goal = goal or self._untidy(left)
        if goal is None or now < self._tidy_at:
            return
        self._tidy_at, self._tidied = now + TIDY_EVERY_S, (goal.incident, self._tries(goal) + 1)
        if mode is Mode.OBSERVE and goal.trigger not in BY_PEOPLE:
            return
        status = "complete" if goal.outcome == "restored" else "failed"
        row = ReleaseRow(self._platform, Steps(self._record, self._clock, goal))
        if await row.close(status, goal.outcome, tries=1):
            self._tidied = (goal.incident, TIDY_TRIES)

    def is_tidy(self, incident: Incident) -> bool:
        """Whether nothing of the incident is left to be closed on the platform."""
        return self._untidy(incident.goal) is None

    def _untidy(self, goal: Goal | None) -> Goal | None:
        """The ended goal whose row is still open, or may be, as long as it is worth trying."""
        if goal is None or not goal.row_intended or goal.row_closed or not goal.outcome:
            return None
        return goal if self._tries(goal) < TIDY_TRIES else None

    def _tries(self, goal: Goal) -> int:
        """How often that goal's row was tidied up in vain."""
        incident, tries = self._tidied
        return tries if incident == goal.incident else 0

    def _decided(
        self, incident: str, what: str, decision: PageDecision | RollBack, candidate: DigestRecord, now: float
    ) -> ev.Decided:
        refusals: list[str] = []
        if isinstance(decision, PageDecision):
            refusals = [f"{r.name}: {r.sentence}" for r in decision.refusals]
        return ev.Decided(
            at=now,
            incident=incident,
            decision=what,
            trigger=str(decision.trigger),
            sentence=decision.sentence,
            candidate=candidate.digest,
            target=decision.target.digest if decision.target else "",
            findings=tuple(f"{f.rule.name}: {f.sentence}" for f in decision.findings),
            refusals=tuple(refusals),
            warnings=tuple(f"{w.name}: {w.sentence}" for w in decision.warnings),
            policy=self.policy.hash,
        )

    def _new_incident(self, now: float) -> str:
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{stamp}-{self._record.state.incidents + 1}"


def _has_acted(incident: Incident, candidate: DigestRecord) -> bool:
    """Whether this digest's trouble was acted on, and its end told. Another one's is news."""
    return incident.goal is not None and candidate.digest in {incident.candidate, incident.goal.target}
