"""After a rollback: is the restored release well, and would a restart help it? And the one sick machine."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.finding import BY_PEOPLE, Blame, Finding
from rollguard.core.judging import Evidence
from rollguard.core.lifecycle import DigestRecord, Goal, Incident
from rollguard.core.model import Mode, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.verify import Verdict, verify
from rollguard.engine.endings import Endings
from rollguard.engine.record import Record
from rollguard.engine.restart import Restarts

SICK_EVERY_S = 3600.0


class Aftercare:
    """Judges what was restored; restarts its machines once where that may help."""

    def __init__(self, policy: Policy, record: Record, restarts: Restarts, endings: Endings) -> None:
        self.policy = policy
        self._record = record
        self._restarts = restarts
        self._endings = endings
        self._restarted_for = ""
        self._sick_of = ""

    async def follow(
        self,
        evidence: Evidence,
        findings: tuple[Finding, ...],
        running: DigestRecord,
        snapshot: Snapshot,
        mode: Mode,
        now: float,
    ) -> bool:
        """Go on with what was restored. False when there is nothing to verify. Raises ``JournalError``."""
        incident = self._record.state.incident
        if incident is None:
            return False
        if incident.phase != "verifying" or incident.goal is None:
            if running.first_seen_at > incident.opened_at and running.digest != incident.candidate:
                await self._endings.superseded(incident, now)
            return False
        since = max(incident.verify_since or now, evidence.alive_since)
        if snapshot.at <= since:
            return True  # what is known of the machines is older than the end of the rollback
        if running.digest != incident.goal.target:
            await self._endings.overtaken(incident, snapshot, now)
            return False
        verdict = verify(evidence, findings, since, now)
        if verdict is None:
            return True
        if self._restart_may_help(incident, incident.goal, verdict, findings, mode):
            await self._restart_all(incident, snapshot, verdict, now)
            return True
        await self._endings.verified(incident, verdict, snapshot, now, findings)
        return True

    def _restart_may_help(
        self, incident: Incident, goal: Goal, verdict: Verdict, findings: tuple[Finding, ...], mode: Mode
    ) -> bool:
        """Not where it fails as the release before it did: then it is neither of them, and no restart mends it."""
        may_act = mode is Mode.ENFORCE or (mode is Mode.PAGE and goal.trigger in BY_PEOPLE)
        alike = any(f.firing and f.rule.name in goal.rules and f.blame is Blame.RELEASE for f in findings)
        once = self._restarted_for != incident.id and not incident.restarted
        return verdict.result == "not better" and self.policy.verify.restart and may_act and once and not alike

    async def _restart_all(self, incident: Incident, snapshot: Snapshot, verdict: Verdict, now: float) -> None:
        self._restarted_for = incident.id
        serving = [m for m in snapshot.managed if m.started and not m.cordoned]
        awake = sorted(serving, key=lambda m: (m.healthy_routable, m.id))
        summary = f"the restored release does no better yet: {verdict.sentence}. Its machines are restarted once"
        await self._endings.restarting(incident, summary, snapshot, now)
        why = await self._restarts.one_by_one([m.id for m in awake], incident.id, self.policy.rollback)
        if why and self._record.state.incident is not None and self._record.state.goal is None:
            sentence = f"{verdict.sentence}; restarting its machines stopped: {why}"
            await self._endings.verified(incident, Verdict(verdict.result, sentence), snapshot, now)

    async def mind_the_sick(self, findings: tuple[Finding, ...], snapshot: Snapshot, mode: Mode, now: float) -> None:
        """Where the policy says so, restart the one machine that fails alone; at most once an hour."""
        incident, state = self._record.state.incident, self._record.state
        recent = state.restarted_at is not None and now - state.restarted_at < SICK_EVERY_S
        if not self.policy.rollback.restart_sick or mode is not Mode.ENFORCE or incident is None or recent:
            return
        firing = [f for f in findings if f.firing]
        sick = {m for f in firing for m in f.machines}
        if len(sick) != 1 or any(f.blame is not Blame.MACHINE for f in firing):
            return
        if self._sick_of == incident.id:
            return  # tried once and told: not again and again, whatever stood in the way
        self._sick_of, machine = incident.id, sick.pop()
        why = await self._restarts.restart(machine, incident.id, self.policy.rollback)
        how = f"not restarted: {why}" if why else "restarted, and well again by its checks"
        await self._endings.restarting(incident, f"machine {text.one_line(machine, 40)} was {how}", snapshot, now)
