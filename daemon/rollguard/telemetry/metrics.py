"""The guard in numbers: every event counted, and the levels that graphs and alerts need.

All names begin with ``rollguard_``; counters exist at 0 from the start, so that ``increase()`` sees the first one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from rollguard.core import events as e
from rollguard.core import text
from rollguard.core.conditions import Condition
from rollguard.core.lifecycle import TargetState
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy
from rollguard.core.readiness import Readiness, State
from rollguard.telemetry.fleet import composition
from rollguard.telemetry.instruments import Instruments
from rollguard.telemetry.labels import (
    CHANGES,
    CONDITION_STATUSES,
    CONDITIONS,
    DECISIONS,
    DRILL_RESULTS,
    GOAL_OUTCOMES,
    MODES,
    PHASES,
    READY_REASONS,
    RULE_STATES,
    STANDINGS,
    known,
)


class Metrics:
    """Counts what ``observe`` is told and shows what the other methods say."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry
        self._all = Instruments(registry)
        self._all.build_info.labels(version).set(1)
        self._rules: dict[str, set[str]] = {}
        self._blind: dict[str, set[str]] = {}
        self._incidents: dict[str, set[str]] = {}
        self._releases: dict[str, tuple[str, str]] = {}
        self._rolling_back_since: dict[str, float] = {}

    @classmethod
    def fresh(cls, version: str) -> Metrics:
        """On a registry of its own."""
        return cls(CollectorRegistry(), version)

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that ``accept`` asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def guard(self, policy: Policy, channels: Sequence[str]) -> None:
        """Show this policy's target from now on: every series at 0, and none of rules that are gone."""
        target = policy.target.name
        self._all.start_at_zero(target, [s.name for s in policy.signals], channels)
        rules = {rule.name for rule in policy.rules}
        for gone in self._rules.get(target, set()) - rules:
            self._forget(target, gone)
        for new in rules - self._rules.get(target, set()):
            self._set_rule(target, new, "clear")
        self._rules[target] = rules
        self._set_mode(target, policy.mode.name.lower())

    def observe(self, event: e.Event, target: str) -> None:
        """Count an event that happened now, and show the state it leaves."""
        self._count(event, target)
        self.restore(event, target)

    def restore(self, event: e.Event, target: str) -> None:
        """Show the state that an event of an earlier life left (pause, incidents, rules), without counting it."""
        match event:
            case e.PauseSet():
                self._all.paused.labels(target).set(1)
            case e.PauseLifted():
                self._all.paused.labels(target).set(0)
            case e.IncidentOpened(incident=incident):
                self._set_incidents(target, self._incidents.get(target, set()) | {incident})
            case e.IncidentClosed(incident=incident):
                self._set_incidents(target, self._incidents.get(target, set()) - {incident})
            case e.FullyDeployed(digest=digest, version=version):
                self._set_release(target, "" if version is None else str(version), text.short(digest))
            case e.DeployBegan() | e.DeployEnded():
                self._all.deploying.labels(target).set(isinstance(event, e.DeployBegan))
            case e.GoalSet(at=at):
                self._rolling_back_since[target] = at
            case e.GoalEnded(at=at):
                self._all.last_rollback.labels(target).set(at)
                if (since := self._rolling_back_since.pop(target, None)) is not None:
                    self._all.last_rollback_seconds.labels(target).set(max(0.0, at - since))
            case e.DrillBegan():
                self._all.drilling.labels(target).set(1)
            case e.DrillEnded():
                self._set_drill(event, target)
            case e.PolicyLoaded(mode=mode) | e.GuardStarted(mode=mode):
                self._set_mode(target, mode)
            case e.RuleChanged(rule=rule, after=after) if rule in self._rules.get(target, set()):
                self._set_rule(target, rule, after)
                self.finding(target, rule, event.value, event.limit)

    def finding(self, target: str, rule: str, value: float | None, limit: float | None) -> None:
        """What a rule last saw and what it is held against, in base units; None leaves the last one."""
        if value is not None:
            self._all.rule_value.labels(target, rule).set(value)
        if limit is not None:
            self._all.rule_limit.labels(target, rule).set(limit)

    def conditions(self, target: str, conditions: Iterable[Condition]) -> None:
        """The conditions of the target, as they are in its status."""
        for condition in conditions:
            if condition.type in CONDITIONS:
                for status in CONDITION_STATUSES:
                    self._all.condition.labels(target, condition.type, status).set(status == condition.status)

    def fleet(self, target: str, snapshot: Snapshot | None, state: TargetState) -> None:
        """Which machines run what, and what is going on with them; the machines stay as they were while unseen."""
        if snapshot is not None:
            counts = composition(snapshot, state)
            for image in STANDINGS:
                for serving in (True, False):
                    self._all.machines.labels(target, image, str(serving).lower()).set(counts[image, serving])
        phase = state.incident.phase if state.incident else "none"
        for each in PHASES:
            self._all.incident_phase.labels(target, each).set(each == phase)

    def readiness(self, target: str, seen: Readiness | None) -> None:
        """Whether a rollback could happen, a series for every reason why not; None: not looked at yet."""
        values = {State.OK: 1.0, State.NOT: 0.0, State.UNKNOWN: math.nan}
        for reason in READY_REASONS:
            known = seen.of(reason).state if seen is not None else State.UNKNOWN
            self._all.ready.labels(target, reason).set(values[known])

    def tick(self, target: str, at: float, seconds: float) -> None:
        """A tick ended at ``at`` and took ``seconds``."""
        self._all.ticks.labels(target).inc()
        self._all.tick_seconds.labels(target).observe(seconds)
        self._all.last_tick.labels(target).set(at)

    def late_tick(self, target: str) -> None:
        """A tick was skipped because the one before was not over."""
        self._all.late_ticks.labels(target).inc()

    def snapshot(self, target: str, at: float) -> None:
        """The platform was seen at ``at``."""
        self._all.last_snapshot.labels(target).set(at)

    def probe(self, target: str, signal: str, ok: bool | None) -> None:
        """One reading of a signal: good, bad, or (None) a gap."""
        outcome = "gap" if ok is None else "ok" if ok else "failed"
        self._all.probes.labels(target, signal, outcome).inc()

    def reload(self, ok: bool, at: float) -> None:
        """The policy files were read again at ``at``."""
        self._all.reload_ok.set(ok)
        if ok:
            self._all.reload_at.set(at)

    def heartbeat(self, outcome: str) -> None:
        """A sign of life was sent, withheld or failed."""
        self._all.heartbeats.labels(outcome).inc()

    def pages_waiting(self, target: str, count: int) -> None:
        """How many pages are in the outbox."""
        self._all.pages_pending.labels(target).set(count)

    def _count(self, event: e.Event, target: str) -> None:
        counted = self._all
        counted.journal_events.labels(target).inc()
        match event:
            case e.Decided(decision=decision):
                counted.decisions.labels(target, known(decision, DECISIONS)).inc()
            case e.GoalEnded(outcome=outcome):
                counted.rollbacks.labels(target, known(outcome, GOAL_OUTCOMES)).inc()
            case e.DrillEnded(result=result):
                counted.drills.labels(target, known(result, DRILL_RESULTS)).inc()
            case e.StepIntended(kind=kind):
                counted.writes.labels(target, known(kind, CHANGES), "intended").inc()
            case e.StepDone(kind="update", phase="healthy"):
                counted.machine_updates.labels(target, "healthy").inc()
            case e.StepDone(kind=kind):
                counted.writes.labels(target, known(kind, CHANGES), "done").inc()
                if kind == "update":
                    counted.machine_updates.labels(target, "accepted").inc()
            case e.StepFailed(kind=kind):
                counted.writes.labels(target, known(kind, CHANGES), "failed").inc()
                if kind == "update":
                    counted.machine_updates.labels(target, "failed").inc()
            case e.PageQueued():
                counted.pages_queued.labels(target).inc()
            case e.PageSent(channel=channel):
                counted.pages.labels(target, channel, "sent").inc()
            case e.PageFailed(channel=channel, final=final):
                counted.pages.labels(target, channel, "dropped" if final else "failed").inc()
            case e.ClockJumped():
                counted.clock_jumps.labels(target).inc()
            case e.TickFailed():
                counted.tick_failures.labels(target).inc()

    def _set_drill(self, ended: e.DrillEnded, target: str) -> None:
        self._all.drilling.labels(target).set(0)
        if ended.result == "ok":
            self._all.last_drill.labels(target).set(ended.at)
            for way, took_s in (("there", ended.there_s), ("back", ended.back_s)):
                self._all.last_drill_seconds.labels(target, way).set(took_s or 0.0)

    def _set_mode(self, target: str, mode: str) -> None:
        for each in MODES:
            self._all.mode.labels(target, each).set(each == mode.lower())

    def _set_release(self, target: str, version: str, image: str) -> None:
        if (before := self._releases.get(target)) is not None:
            self._all.release.remove(target, *before)
        self._releases[target] = (version, image)
        self._all.release.labels(target, version, image).set(1)

    def _set_incidents(self, target: str, incidents: set[str]) -> None:
        self._incidents[target] = incidents
        self._all.incidents_open.labels(target).set(len(incidents))

    def _set_rule(self, target: str, rule: str, state: str) -> None:
        for each in RULE_STATES:
            self._all.rule_state.labels(target, rule, each).set(each == state)
        blind = self._blind.setdefault(target, set())
        (blind.add if state == "blind" else blind.discard)(rule)
        self._all.blind.labels(target).set(bool(blind))

    def _forget(self, target: str, rule: str) -> None:
        self._set_rule(target, rule, "clear")
        for state in RULE_STATES:
            self._all.rule_state.remove(target, rule, state)
        for instrument in (self._all.rule_value, self._all.rule_limit):
            instrument.remove(target, rule)
