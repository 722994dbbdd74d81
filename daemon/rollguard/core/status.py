"""A target as an object its users know how to read: ``spec``, ``status``, conditions. Plain JSON types throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.baseline import Baseline, summary
from rollguard.core.case import Case, Effect, named
from rollguard.core.conditions import FALSE, TRUE, UNKNOWN, Condition, Situation, held
from rollguard.core.drill import last_proven
from rollguard.core.finding import Finding, Trigger
from rollguard.core.interlocks import PRECONDITIONS, TABLE
from rollguard.core.lifecycle import DigestRecord, TargetState, replay
from rollguard.core.model import Machine
from rollguard.core.policy import Failing
from rollguard.core.readiness import Readiness

Json = dict[str, Any]

RELEASES_SHOWN = 10


def target_object(seen: Situation, shown: Sequence[Condition], now: float) -> Json:
    """The object of a target that a guard watches now; ``shown`` are its conditions."""
    policy = seen.policy
    return _object(
        policy.target.name,
        generation=seen.generation + (seen.rejected is not None),
        spec={
            "platform": policy.target.platform,
            "app": policy.target.app,
            "mode": policy.mode.name.lower(),
            "policy": {"path": policy.path, "hash": policy.hash, "runbook": policy.runbook},
        },
        status={
            "source": "guard",
            "at": text.stamp(now),
            "observedGeneration": seen.generation,
            "policyError": seen.rejected,
            "mode": seen.mode.name.lower(),
            "sentence": seen.sentence,
            "conditions": [_condition(c) for c in shown],
            "incident": _incident(seen.state),
            "rules": [rule_object(f) for f in seen.findings],
            "releases": _releases(seen),
            "machines": [_machine(m) for m in seen.snapshot.managed] if seen.snapshot else [],
            "baseline": baseline_object(seen.baseline, seen.state, now),
            "readiness": readiness_object(seen.readiness) if seen.readiness else None,
            "lastProven": last_proven_object(seen.state, now),
            "interlocks": interlock_objects(seen.case, now) if seen.case else [],
        },
    )


def journal_object(target: str, recorded: Sequence[ev.Recorded], now: float) -> Json:
    """The same object from the journal alone, while no guard runs: what it last knew, and nothing about now."""
    state = replay(recorded)
    loaded = [e.event for e in recorded if isinstance(e.event, ev.PolicyLoaded)]
    rules: dict[str, ev.RuleChanged] = {e.event.rule: e.event for e in recorded if isinstance(e.event, ev.RuleChanged)}
    why = f"no guard runs; the journal's newest entry is {text.seconds(max(0.0, now - state.newest_at))} old"
    not_now = [
        Condition(type=name, status=UNKNOWN, reason="GuardNotRunning", message="no guard runs", since=state.newest_at)
        for name in ("Observed", "Healthy", "RollbackReady")
    ]
    acting = Condition(
        type="Acting",
        status=TRUE if state.goal else FALSE,
        reason="Interrupted" if state.goal else "Idle",
        message="a rollback was begun and not ended: start the guard" if state.goal else "no rollback was under way",
        since=state.goal.set_at if state.goal else state.newest_at,
    )
    newest = loaded[-1] if loaded else None
    return _object(
        target,
        generation=generation(recorded),
        spec={
            "mode": newest.mode if newest else None,
            "policy": {"path": newest.path, "hash": newest.hash} if newest else None,
        },
        status={
            "source": "journal",
            "at": text.stamp(now),
            "observedGeneration": generation(recorded),
            "sentence": why,
            "conditions": [_condition(c) for c in (*not_now, acting, held(state, now))],
            "incident": _incident(state),
            "rules": [
                {"name": r.rule, "state": r.after, "value": r.value, "limit": r.limit, "sentence": r.sentence}
                for r in rules.values()
            ],
            "releases": [_release(d, _marks(d, state)) for d in state.digests[-RELEASES_SHOWN:][::-1]],
            "machines": [],
            "baseline": None,
            "readiness": None,
            "lastProven": last_proven_object(state, now),
            "interlocks": [],
        },
    )


def generation(recorded: Sequence[ev.Recorded]) -> int:
    """How many policies were obeyed, one after the other."""
    count, newest = 0, None
    for entry in recorded:
        if isinstance(entry.event, ev.PolicyLoaded) and entry.event.hash != newest:
            count, newest = count + 1, entry.event.hash
    return count


def _object(name: str, *, generation: int, spec: Json, status: Json) -> Json:
    return {
        "apiVersion": "rollguard/v1",
        "kind": "Target",
        "metadata": {"name": name, "generation": generation},
        "spec": spec,
        "status": status,
    }


def _condition(condition: Condition) -> Json:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": text.stamp(condition.since),
    }


def rule_object(finding: Finding) -> Json:
    """One rule and what it says, in base units."""
    rule = finding.rule
    return {
        "name": rule.name,
        "then": str(rule.then),
        "state": str(finding.state),
        "value": finding.value,
        "limit": limit_of(finding),
        "baseline": finding.baseline,
        "sentence": finding.sentence,
        "blames": str(finding.blame) if finding.firing else None,
        "machines": list(finding.machines),
        "since": text.stamp(finding.since) if finding.since is not None else None,
        "cite": rule.cite,
        "origin": rule.origin,
    }


def limit_of(finding: Finding) -> float | None:
    """The limit that the value is held against; for probes the number of failures that fires."""
    condition = finding.rule.condition
    return float(condition.k) if isinstance(condition, Failing) else finding.limit


def baseline_object(baseline: Baseline | None, state: TargetState, now: float) -> Json | None:
    """What a release is compared with: whose it is, where it is from, how much of it there is, and how old it is."""
    if baseline is None or not baseline.blocks:
        return None
    record = state.record(baseline.digest)
    return {
        "version": record.version if record else None,
        "digest": baseline.digest,
        "how": baseline.how,
        "blocks": len(baseline.blocks),
        "requests": round(baseline.most_requests),
        "from": text.stamp(baseline.blocks[0].start),
        "to": text.stamp(baseline.blocks[-1].end),
        "sentence": f"{named(record) if record else text.short(baseline.digest)}: {summary(baseline, now)}",
    }


def readiness_object(seen: Readiness) -> Json:
    """Whether a rollback could happen: ``ready`` is ok, not or unknown, as each check is."""
    return {
        "ready": str(seen.state),
        "at": text.stamp(seen.at),
        "deploying": seen.deploying,
        "checks": [{"name": c.name, "state": str(c.state), "sentence": c.sentence} for c in seen.checks],
    }


def last_proven_object(state: TargetState, now: float) -> Json:
    """When it was last seen that going back works, and what the newest drill came to."""
    proof, drill = state.works, state.drill
    return {
        "sentence": last_proven(proof, now),
        "at": text.stamp(proof.at) if proof else None,
        "how": proof.how if proof else None,
        "machines": proof.machines if proof else None,
        "thereSeconds": proof.there_s if proof else None,
        "backSeconds": proof.back_s if proof else None,
        "newestDrill": {"id": drill.id, "result": drill.result or "under way"} if drill else None,
    }


def interlock_objects(case: Case, now: float) -> list[Json]:
    """Every interlock, standing or clear, and what a standing one does to each trigger."""
    always: Mapping[str, str] = {str(t): str(Effect.HOLDS) for t in Trigger}
    rows = [
        *((name, check, always) for name, check in PRECONDITIONS),
        *((lock.name, lock.check, {str(t): str(lock.effect(t)) for t in Trigger}) for lock in TABLE),
    ]
    found = [(name, check(case, now), effects) for name, check, effects in rows]
    return [
        {"name": name, "standing": why is not None, "sentence": why or "", "effects": dict(effects)}
        for name, why, effects in found
    ]


def _releases(seen: Situation) -> list[Json]:
    candidate = seen.case.candidate.digest if seen.case else None
    target = seen.case.target.digest if seen.case and seen.case.target else None
    running = {m.digest for m in seen.snapshot.managed} if seen.snapshot else set()
    objects = []
    for record in reversed(seen.state.digests[-RELEASES_SHOWN:]):
        marks = (
            ("candidate", record.digest == candidate),
            ("target", record.digest == target),
            ("running", record.digest in running),
        )
        now = [mark for mark, holds in marks if holds]
        objects.append(_release(record, [*now, *_marks(record, seen.state)]))
    return objects


def _marks(record: DigestRecord, state: TargetState) -> list[str]:
    """What is true of a release whoever looks, and when."""
    marks = (
        ("proven", record.proven_at is not None),
        ("rolled back", any(record.digest == r.candidate for r in state.rollbacks)),
    )
    return [mark for mark, holds in marks if holds]


def _release(record: DigestRecord, marks: Sequence[str]) -> Json:
    return {
        "version": record.version,
        "digest": record.digest,
        "image": record.image_ref,
        "firstSeen": text.stamp(record.first_seen_at),
        "proven": text.stamp(record.proven_at) if record.proven_at is not None else None,
        "provenHow": record.proven_how or None,
        "marks": list(marks),
    }


def _machine(machine: Machine) -> Json:
    return {
        "id": machine.id,
        "group": machine.group,
        "region": machine.region,
        "state": machine.state,
        "digest": machine.digest,
        "instance": machine.instance_id,
        "healthy": machine.healthy_routable,
        "checks": [{"name": c.name, "status": c.status} for c in machine.checks],
    }


def _incident(state: TargetState) -> Json | None:
    incident = state.incident
    if incident is None:
        return None
    goal = incident.goal
    return {
        "id": incident.id,
        "phase": incident.phase,
        "opened": text.stamp(incident.opened_at),
        "sentence": incident.sentence,
        "candidate": incident.candidate,
        "target": goal.target if goal else None,
        "machinesDone": sum(u.healthy for u in goal.updates.values()) if goal else 0,
    }
