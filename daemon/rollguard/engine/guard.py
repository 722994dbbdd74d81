"""The reconciler of one target: observe, judge, decide, act; level-triggered, one tick after the other."""

from __future__ import annotations

from rollguard.core import events as ev
from rollguard.core import loglines, messages, text
from rollguard.core.case import Case
from rollguard.core.decide import Decision, Hold, PageDecision, RollBack, approvable, calm, decide
from rollguard.core.drill import Drill
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.first import judge_first
from rollguard.core.first_plan import Planner
from rollguard.core.fleet import newest_running, view
from rollguard.core.judge import Judge
from rollguard.core.judging import Evidence
from rollguard.core.lifecycle import DigestRecord, Goal, Incident
from rollguard.core.model import Mode, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.proof import Proof
from rollguard.core.rule_changes import rule_changes
from rollguard.core.sightings import firing_since, is_clean, proven
from rollguard.core.signals import LogsSignal
from rollguard.core.surroundings import Surroundings
from rollguard.core.targets import target_of
from rollguard.core.trouble import trouble_of
from rollguard.engine.aftercare import Aftercare
from rollguard.engine.chores import Chores
from rollguard.engine.comparing import Comparing
from rollguard.engine.drift import Configs
from rollguard.engine.drills import Drills
from rollguard.engine.endings import Endings
from rollguard.engine.learn import Learner
from rollguard.engine.record import Record
from rollguard.engine.respond import Responder
from rollguard.engine.restart import Restarts
from rollguard.engine.surroundings import LookAround
from rollguard.engine.watch import Watch
from rollguard.ports import Clock, Delegate, Platform, Vitals

JUMP_S = 2.0
BIG_JUMP_S = 60.0
BLIND_S = 60.0
SUSPENDED_S_MAX = 45.0


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
        around: LookAround | None = None,
        delegate: Delegate | None = None,
        configs: Configs | None = None,
    ) -> None:
        self.policy = policy
        self.limit = limit
        self.watch = watch
        self.record = record
        self.around = around
        self.configs = configs or Configs(platform, record, clock)
        self.learner = Learner(record)
        self.comparing = Comparing(policy, watch, record)
        self.endings = Endings(policy, record)
        self.respond = Responder(policy, platform, record, clock, self._judge_first, delegate)
        self.drills = Drills(policy, platform, record, clock, lambda: self.mode)
        self._aftercare = Aftercare(policy, record, Restarts(platform, record, clock), self.endings)
        self._chores = Chores(watch, record, self.endings, clock)
        self.findings: tuple[Finding, ...] = ()
        self.decision: Decision = Hold(sentence="nothing was judged yet")
        self.platform = platform
        self.clock = clock
        self._vitals = vitals
        self._judge, self._planner = Judge(), Planner()
        self._clean_since: float | None = None
        self._calm_since: float | None = None
        self._quiet_since: float | None = None
        self._blind_since: float | None = None
        self._suspended_until = 0.0

    @property
    def mode(self) -> Mode:
        """The most that may be done now."""
        return min(self.limit, self.policy.mode)

    def obey(self, policy: Policy, delegate: Delegate | None = None) -> None:
        """Take another policy from the next tick on. A rollback under way ends under its own."""
        self.respond.delegate = delegate
        self.policy = self.drills.policy = self.respond.policy = self.endings.policy = self._aftercare.policy = policy
        self.watch.obey(policy)
        self.comparing.obey(policy)
        if self.around is not None:
            self.around.obey(policy)

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
        await self._chores.mind(now, self.mode)
        if (drill := self.record.state.drilling) is not None:
            await self._beside(drill, now)
            return
        await self.respond.tidy(now, self.mode)
        snapshot = self.watch.snapshot
        candidate = newest_running(snapshot, self.record.state.order) if snapshot else None
        record = self.record.state.record(candidate) if candidate else None
        self._vitals.last_tick_at = now
        if snapshot is None or record is None:
            return
        self.watch.windows.forget(now)
        evidence = await self._counted(record.digest, now)
        await self._note(self._judge.judge_all(evidence, now), now)
        await self.learner.take(evidence, self.findings, now)
        if await self._aftercare.follow(evidence, self.findings, record, snapshot, self.mode, now):
            return
        await self._prove(record, snapshot, now)
        if now < self._suspended_until:
            self.decision = Hold(sentence="verdicts are suspended: the clock jumped, or the guard itself stood still")
            return
        if (incident := self.record.state.incident) is not None and incident.approval is not None:
            case = self.case(record, snapshot, now)
            await self._chores.approval(case, self.quiet_s(now), now, self.respond.close_question)
        self.decision = calm(self.findings) or decide(self.case(record, snapshot, now), self.mode, now)
        await self._act(record, snapshot, now)

    async def _beside(self, drill: Drill, now: float) -> None:
        """Judge those that a drill has not taken away. A rule that fires ends the drill, and is acted on afterwards."""
        self._clean_since = self._calm_since = None
        self._vitals.last_tick_at = now
        self.decision = Hold(sentence=f"a drill by {drill.began.by} is under way")
        self.watch.windows.forget(now)
        evidence = await self._counted(drill.began.serving, now)
        await self.learner.take(evidence, self.findings, now)
        if not evidence.view.cohort:
            return  # a whole fleet that is away says nothing about what served
        await self._note(self._judge.judge_all(evidence, now), now)
        firing = [f for f in self.findings if f.firing and f.rule.mode is not Mode.OBSERVE]
        if firing and now >= self._suspended_until:
            self.drills.call_back(f"rule {firing[0].rule.name} fires: {firing[0].sentence}")

    async def _act(self, candidate: DigestRecord, snapshot: Snapshot, now: float) -> None:
        match self.decision:
            case Hold():
                self._blind_since = None
                await self._calm(snapshot, now)
            case PageDecision():
                self._calm_since = None
                if self._blind_long_enough(self.decision, now):
                    await self.respond.tell(self.decision, candidate, snapshot, now, self.log_lines(candidate))
                    await self._aftercare.mind_the_sick(self.findings, snapshot, self.mode, now)
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
        """Look once more, right before acting: around, at the machines, at who holds them, at the target's image."""
        assert isinstance(self.decision, RollBack)
        if self.around is not None:
            await self.around.make_sure()
        snapshot = await self.watch.look(closely=True)
        target = self.decision.target
        resolvable = await self.watch.resolvable(messages.by_digest(target.image_ref, target.digest), target.digest)
        now = self.clock.now()
        if newest_running(snapshot, self.record.state.order) != candidate.digest:
            return  # another release came just now: the next tick judges that one
        await self._note(self._judge.judge_all(self.evidence(candidate.digest), now), now)
        self.decision = decide(self.case(candidate, snapshot, now, resolvable=resolvable), self.mode, now)
        match self.decision:
            case RollBack() if self.record.state.drilling is None:
                await self.respond.begin(
                    self.decision, candidate, snapshot, by="rollguard", reason="policy", seen=self.log_lines(candidate)
                )
                await self._drive()
            case PageDecision():
                await self.respond.tell(self.decision, candidate, snapshot, now, self.log_lines(candidate))
            case _:
                pass

    async def _drive(self) -> None:
        self._vitals.acting = True  # the tick lasts as long as the rollback does
        try:
            await self.respond.drive(self.watch.snapshot, self.mode, self._may_ask, self.findings)
        finally:
            self._vitals.acting = False
        self._clean_since = self._calm_since = None

    async def _calm(self, snapshot: Snapshot, now: float) -> None:
        """An incident ends when nothing has fired for as long as a restored release must settle."""
        incident: Incident | None = self.record.state.incident
        if any(f.state in {RuleState.PENDING, RuleState.FIRING} for f in self.findings):
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if incident is None or self._calm_since is None or incident.phase != "open":
            return
        if now - self._calm_since >= self.policy.verify.settle_s and self.respond.is_tidy(incident):
            await self.endings.recovered(incident, snapshot, now)

    def _judge_first(self, goal: Goal, first: tuple[str, ...], since: float) -> Proof | None:
        """What the first machines on the target show beside their peers on the candidate."""
        evidence = self.evidence(goal.candidate)
        self.comparing.fold(evidence, self._around, self.clock.now())
        levels_of, wait_s = self.comparing.relatives.levels_of, goal.first_wait_s
        return judge_first(goal.rules, evidence, first, since, self.clock.now(), wait_s=wait_s, levels_of=levels_of)

    def _may_ask(self, snapshot: Snapshot, now: float) -> bool:
        """Whether a person's yes would be enough to go on."""
        digest = newest_running(snapshot, self.record.state.order)
        record = self.record.state.record(digest) if digest else None
        return record is not None and approvable(self.case(record, snapshot, now), self.mode, now)

    async def _counted(self, candidate: str, now: float) -> Evidence:
        """The evidence on ``candidate``, after the rules that compare have taken in what was read."""
        await self.learner.open(now)
        await self.comparing.open(now)
        evidence = self.evidence(candidate)
        await self.comparing.take(evidence, self._around, now)
        return evidence

    @property
    def _around(self) -> Surroundings:
        return self.around.now if self.around is not None else Surroundings()

    def evidence(self, candidate: str) -> Evidence:
        """Everything the judge may look at when ``candidate`` is judged."""
        watch = self.watch
        baseline, no_baseline = self.learner.baseline(candidate, self.policy.interlocks, self.clock.now())
        return Evidence(
            policy=self.policy,
            view=view(watch.present, candidate, whole_since=watch.whole_since, deploying=watch.deploy is not None),
            windows=watch.windows,
            reports=self.record.state.reports,
            alive_since=watch.alive_since,
            baseline=baseline,
            no_baseline=no_baseline,
            own=self.learner.known(candidate),
            compare=self.comparing.relatives.judge,
            looked_at=watch.looked_at,
        )

    def quiet_s(self, now: float) -> float:
        """For how long no rule has pointed at the release."""
        return 0.0 if self._quiet_since is None else now - self._quiet_since

    def log_lines(self, candidate: DigestRecord) -> list[tuple[str, str]]:
        """What the app's log says of this release and of the others: evidence for people."""
        names = [signal.name for signal in self.policy.signals if isinstance(signal, LogsSignal)]
        if not names:
            return []
        seen, now, windows = self.evidence(candidate.digest).view, self.clock.now(), self.watch.windows
        lines = {n: loglines.by_digest(windows, seen, n, now, loglines.OVER_S) for n in names}
        found = {n: loglines.sentence(lines[n], seen, n, loglines.OVER_S) for n in names}
        return [(f"log {name}", sentence) for name, sentence in found.items() if sentence]

    def case(self, candidate: DigestRecord, snapshot: Snapshot, now: float, *, resolvable: bool | None = True) -> Case:
        """Everything the decision may look at. ``resolvable`` is what the platform said of the target's image."""
        state, deploy = self.record.state, self.watch.deploy
        target, why = target_of(state, candidate.digest, self.policy, now)
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
            around=self._around,
            drifts=self.configs.drifts(target, snapshot),
            plan=self._planner.plan(self.policy, self.findings, lambda: self.evidence(candidate.digest), now),
        )

    async def _mind_the_clock(self, now: float) -> None:
        """Steady time against wall time: a jump empties the windows, since nothing in them can be dated any more.

        A guard that stood still judges nothing until it has looked anew.
        """
        self._suspended_until = max(self._suspended_until, now + self.watch.lag.afresh_s)
        drift_s = self.clock.drift_s()
        if abs(drift_s) <= JUMP_S:
            return
        self.clock.reanchor()
        now = self.clock.now()
        self.watch.forget(drift_s)
        self.comparing.shift(drift_s)
        self._clean_since = self._calm_since = None
        longest = max((s.every_s for s in self.policy.signals), default=10.0)
        self._suspended_until = now + min(3 * longest, SUSPENDED_S_MAX)
        await self.record.add(ev.ClockJumped(at=now, by_s=drift_s))
        if abs(drift_s) > BIG_JUMP_S:
            summary = f"the guard's clock moved by {text.seconds(abs(drift_s))}: verdicts are suspended for a while"
            await self.endings.notice(summary, "clock", now)

    async def _note(self, findings: tuple[Finding, ...], now: float) -> None:
        """Record every rule that changed its state."""
        before = self.record.state.rules
        self.findings = findings
        if any(f.firing and f.blame is Blame.RELEASE for f in findings):
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        if self.around is not None:
            self.around.tell_neighbours(trouble_of(findings, self.record.state.incident))
        self.watch.firing = firing_since(findings)
        self.watch.want_leases = any(f.state in {RuleState.FIRING, RuleState.PENDING} for f in findings)
        self._vitals.blind = tuple(f.rule.name for f in findings if f.state is RuleState.BLIND)
        await self.record.add(*rule_changes(findings, before, now))

    async def _prove(self, record: DigestRecord, snapshot: Snapshot, now: float) -> None:
        """A digest is proven when it ran everywhere, and nothing fired and nobody was blind, for long enough."""
        clean = is_clean(record, snapshot, self.findings, deploying=self.watch.deploy is not None)
        if not clean or now < self._suspended_until:
            self._clean_since = None
            return
        if self._clean_since is None:
            self._clean_since = now
        if (event := proven(record, self._clean_since, self.policy.interlocks, now)) is not None:
            self.comparing.relatives.proven()
            await self.record.add(event)
