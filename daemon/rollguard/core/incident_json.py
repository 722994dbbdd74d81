"""An incident as one JSON document for programs, and what of it may leave the journal: never a label's own value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.event import Event, Recorded
from rollguard.core.event_json import to_json
from rollguard.core.finding import Finding, RuleState
from rollguard.core.incident_record import Chronicle
from rollguard.core.model import Machine, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.report import told
from rollguard.core.status import limit_of

Json = dict[str, Any]

API_VERSION = "rollguard/v1"
CHARS_MAX = 1_000_000
FIRST_MAX, LAST_MAX = 500, 1500
"""Of a timeline: how it began and how it ended say most."""


@dataclass(frozen=True, slots=True)
class Salt:
    """Makes a value comparable with others of the same document, and with nothing else."""

    salt: str

    def of(self, value: str) -> str:
        """Twelve hexadecimal digits."""
        return hashlib.sha256(f"{self.salt}/{value}".encode(errors="replace")).hexdigest()[:12]

    def labels(self, policy: Policy, labels: Any) -> dict[str, str]:
        """Names with hashes for values; what the policy itself names as a value stays."""
        migration = policy.interlocks.migration
        known = set(migration.allow) if migration else set()
        return {name: value if value in known else f"#{self.of(value)}" for name, value in labels.items()}


def incident_object(
    policy: Policy,
    told_of: Chronicle,
    salt: Salt,
    *,
    version: str,
    before: Snapshot | None = None,
    after: Snapshot | None = None,
) -> Json:
    """Everything about an incident; ``before`` and ``after`` are the platform as it was seen then, where it was."""
    entries = told_of.entries
    omitted = max(0, len(entries) - FIRST_MAX - LAST_MAX)
    opened, goal, closed, figures = told_of.opened, told_of.goal, told_of.closed, told_of.figures()
    candidate = told_of.candidate
    return {
        "apiVersion": API_VERSION,
        "kind": "Incident",
        "metadata": {"name": told_of.incident, "target": told_of.target, "app": policy.target.app},
        "guard": {"version": version},
        "policy": {"path": policy.path, "hash": policy.hash, "runbook": policy.runbook},
        "opened": _stamp(opened.at if opened else None),
        "sentence": opened.sentence if opened else "",
        "candidate": {"version": told_of.versions.get(candidate), "digest": candidate},
        "goal": _goal(told_of, goal) if goal else None,
        "decisions": [_decision(policy, told_of, d) for d in told_of.decisions],
        "firstMachine": _verdict(told_of.first),
        "verified": _verdict(told_of.verified),
        "config": _config(told_of.config),
        "closed": {"at": _stamp(closed.at), "outcome": closed.outcome, "sentence": closed.sentence} if closed else None,
        "postMortemDue": _stamp(told_of.due_at),
        "figures": {
            **{name.removesuffix("_at"): _stamp(at) for name, at in asdict(figures).items()},
            "seconds": figures.spans(),
        },
        "machines": {
            "rolledBack": [asdict(m) for m in told_of.machines()],
            "before": [machine_object(m, policy, salt) for m in before.machines] if before else None,
            "after": [machine_object(m, policy, salt) for m in after.machines] if after else None,
        },
        "timeline": timeline(policy, [*entries[:FIRST_MAX], *entries[FIRST_MAX + omitted :]], salt),
        "timelineOmitted": omitted,
    }


def incident_json(document: Json, chars_max: int = CHARS_MAX) -> str:
    """The document as text. Where it would be too long, the middle of its timeline is left out and counted; where that
    is not enough, the machines as they were seen.
    """
    rows, omitted = document["timeline"], document["timelineOmitted"]
    while True:
        whole = json.dumps({**document, "timeline": rows, "timelineOmitted": omitted}, indent=2) + "\n"
        if len(whole) <= chars_max:
            return whole
        if not rows:
            machines = {**document["machines"], "before": None, "after": None}
            return json.dumps({**document, "timeline": [], "timelineOmitted": omitted, "machines": machines}) + "\n"
        keep = len(rows) // 4
        omitted += len(rows) - 2 * keep
        rows = [*rows[:keep], *rows[len(rows) - keep :]]


def timeline(policy: Policy, entries: Sequence[Recorded], salt: Salt) -> list[Json]:
    """Events as JSON, each with its place in the journal, its time, and what it says to people."""
    return [
        {
            "seq": entry.seq,
            "time": text.stamp(entry.event.at),
            "says": told(entry.event),
            **to_json(without_labels(policy, entry.event, salt)),
        }
        for entry in entries
    ]


def without_labels(policy: Policy, event: Event, salt: Salt) -> Event:
    """The event without what only the journal may hold."""
    match event:
        case ev.DigestSeen():
            return replace(event, labels=salt.labels(policy, event.labels))
        case ev.DrillBegan():  # hashes of whole configurations, made without salt: values could be guessed by them
            return replace(event, configs={machine: salt.of(one) for machine, one in event.configs.items()})
        case _:
            return event


def machine_object(machine: Machine, policy: Policy, salt: Salt) -> Json:
    """A machine as it was seen. Of its configuration only a hash: to compare two machines of one document."""
    return {
        "id": machine.id,
        "group": machine.group,
        "region": machine.region,
        "state": machine.state,
        "instance": machine.instance_id,
        "digest": machine.digest,
        "image": machine.image_ref,
        "release": machine.release_version,
        "managed": machine.managed,
        "cordoned": machine.cordoned,
        "hostOk": machine.host_ok,
        "healthy": machine.healthy_routable,
        "checks": [{"name": c.name, "status": c.status} for c in machine.checks],
        "started": _stamp(machine.started_at),
        "exits": [{"at": _stamp(e.at), "code": e.code, "requested": e.requested, "oom": e.oom} for e in machine.exits],
        "incident": machine.incident,
        "labels": salt.labels(policy, machine.labels),
        "config": salt.of(machine.config_hash) if machine.config_hash else None,
    }


def findings(policy: Policy, told_of: Chronicle, decision: ev.Decided) -> list[Json]:
    """What a decision rested on: the rules' sentences, with the numbers that they had when they last changed."""
    found = []
    for line in decision.findings:
        name, _, sentence = line.partition(": ")
        changed, rule = told_of.rule(name, decision), next((r for r in policy.rules if r.name == name), None)
        limit = changed.limit if changed else None
        if limit is None and rule is not None:
            limit = limit_of(Finding(rule=rule, state=RuleState.FIRING, said=sentence))
        found.append(
            {
                "rule": name,
                "sentence": sentence,
                "value": changed.value if changed else None,
                "limit": limit,
                "baseline": changed.baseline if changed else None,
                "since": _stamp(changed.since if changed else None),
                "machines": list(changed.machines) if changed else [],
                "cite": rule.cite if rule else "",
            }
        )
    return found


def _decision(policy: Policy, told_of: Chronicle, decision: ev.Decided) -> Json:
    return {
        "at": _stamp(decision.at),
        "decision": decision.decision,
        "trigger": decision.trigger,
        "sentence": decision.sentence,
        "findings": findings(policy, told_of, decision),
        "refusals": [_named(line) for line in decision.refusals],
        "warnings": [_named(line) for line in decision.warnings],
        "policy": decision.policy,
    }


def _goal(told_of: Chronicle, goal: ev.GoalSet) -> Json:
    ended = told_of.ended
    return {
        "at": _stamp(goal.at),
        "target": {"version": goal.target_version, "digest": goal.target, "image": goal.target_ref},
        "trigger": goal.trigger,
        "by": goal.by,
        "reason": goal.reason,
        "deadline": _stamp(goal.deadline_at),
        "rules": list(goal.rules),
        "mustProve": goal.prove,
        "executor": goal.executor,
        "ended": {"at": _stamp(ended.at), "outcome": ended.outcome, "sentence": ended.sentence} if ended else None,
    }


def _verdict(event: ev.Verified | ev.FirstJudged | None) -> Json | None:
    return {"at": _stamp(event.at), "result": event.result, "sentence": event.sentence} if event else None


def _config(event: ev.ConfigCompared | None) -> Json | None:
    if event is None:
        return None
    lines = {"added": list(event.added), "removed": list(event.removed), "changed": list(event.changed)}
    return {"at": _stamp(event.at), "known": event.known, **lines, "sentence": event.sentence}


def _named(line: str) -> Json:
    name, _, sentence = line.partition(": ")
    return {"name": name, "sentence": sentence}


def _stamp(at: float | None) -> str | None:
    return text.stamp(at) if at is not None else None
