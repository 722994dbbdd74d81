"""The reconciler of one target: observe, judge, decide, act; level-triggered, one tick after the other."""

from __future__ import annotations

import math

from rollguard.core import events as ev
from rollguard.core import messages, text
from rollguard.core.case import Case
from rollguard.core.decide import Decision, Hold, PageDecision, RollBack, decide
from rollguard.core.finding import Finding, RuleState
from rollguard.core.fleet import newest_running, view
from rollguard.core.judge import judge_all
from rollguard.core.judging import Evidence
from rollguard.core.lifecycle import DigestRecord, Incident
from rollguard.core.model import Mode, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.targets import choose, reported
from rollguard.core.verify import verify
from rollguard.engine.record import Record
from rollguard.engine.respond import Responder
from rollguard.engine.watch import Watch
from rollguard.ports import Clock, Platform, Vitals

JUMP_S = 2.0
BIG_JUMP_S = 60.0
PAUSE_REMINDER_S = 4 * 3600.0
HOLD_NOTICE_S = 120.0
MIXED_S = 600.0
BLIND_S = 60.0
UNSEEN_S = 120.0


class Guard:
    """Judges one target and acts on it. ``limit`` is the most that this guard may do, whatever the policy says."""

    def __init__(
        self,
        policy: Policy,
        watch: Watch,
        platform: Platform,
        record: Record,
        clock: Clock,
        vitals: Vitals,
        limit: Mode = Mode.ENFORCE,
    ) -> None:
        self.policy = policy
        self.limit = limit
        self.watch = watch
        self.record = record
        self.respond = Responder(policy, platform, record, clock)
        self.findings: tuple[Finding, ...] = ()
        self.decision: Decision = Hold(sentence="nothing was judged yet")
        self.platform = platform
        self.clock = clock
        self._vitals = vitals
        self._clean_since: float | None = None
        self._calm_since: float | None = None
        self._blind_since: float | None = None
        self._suspended_until = 0.0
        self._reminded_at = clock.now()
        self._hold_noted: float | None = None
        self._mixed_since: float | None = None
        self._unseen = False

    @property
    def mode(self) -> Mode:
        """The most that may be done now."""
        return min(self.limit, self.policy.mode)

    def obey(self, policy: Policy) -> None:
        """Take another policy from the next tick on. A rollback under way ends under its own."""
        self.policy = self.respond.policy = policy
        self.watch.obey(policy)

    # -- one tick ----------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Judge what is known now and do what follows from it; a rollback is driven to its end inside the tick.

        Signals and the platform go on being read meanwhile. Raises ``JournalError``, and what the platform raises.
        """
        await self._mind_the_clock(self.clock.now())
        now = self.clock.now()
        if self.record.state.goal is not None:
            await self._drive()
            return
        await self._mind_people(now)
        await self._mind_the_mix(now)
        await self._mind_the_platform(now)
        await self.respond.tidy(now, self.mode)
        snapshot = self.watch.snapshot
        candidate = newest_running(snapshot, self.record.state.order) if snapshot else None
        record = self.record.state.record(candidate) if candidate else None
        self._vitals.last_tick_at = now
        if snapshot is None or record is None:
            return
        self.watch.windows.forget(now)
        evidence = self.evidence(record.digest)
        await self._note(judge_all(evidence, now), now)
        if await self._verifying(evidence, record, snapshot, now):
            return
        await self._prove(record, snapshot, now)
        if now < self._suspended_until:
            self.decision = Hold(sentence="verdicts are suspended after a clock jump")
            return
        self.decision = decide(self.case(record, snapshot, now), self.mode, now)
        await self._act(record, snapshot, now)

    async def _verifying(self, evidence: Evidence, record: DigestRecord, snapshot: Snapshot, now: float) -> bool:
        """Judge the restored release while it settles. False when there is nothing to verify."""
        incident = self.record.state.incident
        if incident is None:
            return False
        if incident.phase != "verifying" or incident.goal is None:
            if record.first_seen_at > incident.opened_at and record.digest != incident.candidate:
                await self.respond.superseded(incident, now)
            return False
        since = max(incident.verify_since or now, self.watch.alive_since)
        if snapshot.at <= since:
            return True  # what is known of the machines is older than the end of the rollback
        if record.digest != incident.goal.target:
            await self.respond.overtaken(incident, snapshot, now)
            return False
        verdict = verify(evidence, self.findings, since, now)
        if verdict is not None:
            await self.respond.verified(incident, verdict, snapshot, now)
        return True

    async def _act(self, candidate: DigestRecord, snapshot: Snapshot, now: float) -> None:
        match self.decision:
            case Hold():
                self._blind_since = None
                await self._calm(snapshot, now)
            case PageDecision():
                self._calm_since = None
                if self._blind_long_enough(self.decision, now):
                    await self.respond.tell(self.decision, candidate, snapshot, now)
            case RollBack():
                self._calm_since = None
                await self._confirm_and_go(candidate)

    def _blind_long_enough(self, decision: PageDecision, now: float) -> bool:
        """Blindness alone wakes nobody until it has lasted: a metrics store that restarts is back by then."""
        if not all(f.state is RuleState.BLIND for f in decision.findings):
            self._blind_since = None
            return True
        if self._blind_since is None:
            self._blind_since = now
        return now - self._blind_since >= BLIND_S

    async def _confirm_and_go(self, candidate: DigestRecord) -> None:
        """Look once more, right before acting: at the machines, at who holds them, and at the target's image."""
        assert isinstance(self.decision, RollBack)
        self.watch.want_leases = True
        snapshot = await self.watch.look()
        target = self.decision.target
        resolvable = await self.watch.resolvable(messages.by_digest(target.image_ref, target.digest), target.digest)
        now = self.clock.now()
        if newest_running(snapshot, self.record.state.order) != candidate.digest:
            return  # another release came just now: the next tick judges that one
        await self._note(judge_all(self.evidence(candidate.digest), now), now)
        self.decision = decide(self.case(candidate, snapshot, now, resolvable=resolvable), self.mode, now)
        match self.decision:
            case RollBack():
                await self.respond.begin(self.decision, candidate, snapshot, by="rollguard", reason="policy")
                await self._drive()
            case PageDecision():
                await self.respond.tell(self.decision, candidate, snapshot, now)
            case Hold():
                pass

    async def _drive(self) -> None:
        self._vitals.acting = True  # the tick lasts as long as the rollback does
        try:
            await self.respond.drive(self.watch.snapshot, self.mode)
        finally:
            self._vitals.acting = False
        self._clean_since = self._calm_since = None

    async def _calm(self, snapshot: Snapshot, now: float) -> None:
        """An incident ends when nothing has fired for as long as a restored release must settle."""
        incident: Incident | None = self.record.state.incident
        if any(f.state is RuleState.PENDING for f in self.findings):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if incident is None or self._calm_since is None or incident.phase != "open":
            return
        if now - self._calm_since >= self.policy.verify.settle_s:
            await self.respond.recovered(incident, snapshot, now)

    def evidence(self, candidate: str) -> Evidence:
        """Everything the judge may look at when ``candidate`` is judged."""
        watch = self.watch
        return Evidence(
            policy=self.policy,
            view=view(watch.tenures, candidate, whole_since=watch.whole_since, deploying=watch.deploy is not None),
            windows=watch.windows,
            reports=self.record.state.reports,
            alive_since=watch.alive_since,
        )

    def case(self, candidate: DigestRecord, snapshot: Snapshot, now: float, *, resolvable: bool | None = True) -> Case:
        """Everything the decision may look at. ``resolvable`` is what the platform said of the target's image."""
        state = self.record.state
        target, why = choose(state, candidate.digest, self.policy.interlocks, now, reported(state, self.policy))
        deploy = self.watch.deploy
        return Case(
            policy=self.policy,
            state=state,
            snapshot=snapshot,
            candidate=candidate,
            target=target,
            no_target=why,
            findings=self.findings,
            deploy=f"{deploy.owner} ({deploy.sign})" if deploy else None,
            resolvable=resolvable,
            clock_behind_s=max(0.0, state.newest_at - now - JUMP_S),
        )

    async def _mind_the_clock(self, now: float) -> None:
        """Steady time against wall time: a jump empties the windows, since nothing in them can be dated any more."""
        drift_s = self.clock.drift_s()
        if abs(drift_s) <= JUMP_S:
            return
        self.clock.reanchor()
        now = self.clock.now()
        self.watch.forget()
        self._clean_since = self._calm_since = None
        longest = max((s.every_s for s in self.policy.signals), default=10.0)
        self._suspended_until = now + 3 * longest
        await self.record.add(ev.ClockJumped(at=now, by_s=drift_s))
        if abs(drift_s) > BIG_JUMP_S:
            summary = f"the guard's clock moved by {text.seconds(abs(drift_s))}: verdicts are suspended for a while"
            await self.respond.notice(summary, "clock", now)

    async def _mind_people(self, now: float) -> None:
        """A pause is never forgotten; the end of a hold is announced, and only failures after it count."""
        pause, hold = self.record.state.pause, self.record.state.hold
        if pause is None:
            self._reminded_at = now
        elif now - self._reminded_at >= PAUSE_REMINDER_S:
            self._reminded_at = now
            await self.respond.notice(f"still paused by {pause.by}: {pause.reason}", "pause", now)
        if hold is None or self._hold_noted == hold.until:
            return
        if now >= hold.until:
            self._hold_noted = hold.until
            self.watch.windows.clear()
            self.watch.alive_since = now
        elif hold.until - now <= HOLD_NOTICE_S and self._hold_noted != -hold.until:
            self._hold_noted = -hold.until
            await self.respond.notice(f"the hold by {hold.by} ends in {text.seconds(hold.until - now)}", "hold", now)

    async def _mind_the_mix(self, now: float) -> None:
        """Machines on different images for long, though nobody deploys and nothing fires, are told to people."""
        mixed = len({t.digest for t in self.watch.tenures.values()}) > 1
        if not mixed or self.watch.deploy is not None or self.record.state.incident is not None:
            self._mixed_since = None
            return
        if self._mixed_since is None:
            self._mixed_since = now
        elif now - self._mixed_since >= MIXED_S and self.watch.snapshot is not None:
            self._mixed_since = math.inf  # said once, until they are alike again
            mix = messages.mix(self.watch.snapshot)
            await self.respond.notice(f"machines run different images for {text.seconds(MIXED_S)}: {mix}", "mixed", now)

    async def _mind_the_platform(self, now: float) -> None:
        """A platform that does not answer makes the guard blind, whatever the signals say; said once."""
        seen_at = self.watch.snapshot.at if self.watch.snapshot else self.watch.alive_since
        unseen = now - seen_at > UNSEEN_S
        if unseen is self._unseen:
            return
        self._unseen = unseen
        summary = f"blind: the platform has not answered for {text.seconds(UNSEEN_S)}" if unseen else "it answers again"
        await self.respond.notice(summary, "platform", now, resolve=not unseen)

    async def _note(self, findings: tuple[Finding, ...], now: float) -> None:
        """Record every rule that changed its state."""
        before = self.record.state.rules
        changed = [f for f in findings if f.state != before.get(f.rule.name, RuleState.CLEAR)]
        self.findings = findings
        self.watch.firing = {f.rule.name: f.since for f in findings if f.firing}
        self.watch.want_leases = any(f.state in {RuleState.FIRING, RuleState.PENDING} for f in findings)
        self._vitals.blind = tuple(f.rule.name for f in findings if f.state is RuleState.BLIND)
        await self.record.add(
            *(
                ev.RuleChanged(
                    at=now,
                    rule=f.rule.name,
                    before=str(before.get(f.rule.name, RuleState.CLEAR)),
                    after=str(f.state),
                    sentence=f.sentence,
                    value=f.value,
                    limit=f.limit,
                    scope=str(f.blame),
                    machines=f.machines,
                )
                for f in changed
            )
        )

    async def _prove(self, record: DigestRecord, snapshot: Snapshot, now: float) -> None:
        """A digest is proven when it ran everywhere, and nothing fired and nobody was blind, for long enough."""
        whole = all(m.digest == record.digest for m in snapshot.managed) and self.watch.deploy is None
        clean = whole and all(f.state in {RuleState.CLEAR, RuleState.PENDING} for f in self.findings)
        if not clean or now < self._suspended_until:
            self._clean_since = None
            return
        if self._clean_since is None:
            self._clean_since = now
        since = max(self._clean_since, record.full_at or now)
        if record.proven_at is None and now - since >= self.policy.interlocks.proven_after_s:
            await self.record.add(
                ev.Proven(
                    at=now, digest=record.digest, image_ref=record.image_ref, version=record.version, how="observed"
                )
            )
