"""The record of a rollback as text for people: what was before, what came of it, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rollguard.core import events as ev
from rollguard.core import messages, text
from rollguard.core.case import named
from rollguard.core.drill import BACK, last_proven
from rollguard.core.lifecycle import Goal, TargetState
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy


def status_text(policy: Policy, snapshot: Snapshot, state: TargetState) -> str:
    """The machines of an app at one instant, as a table."""
    rows = [("MACHINE", "GROUP", "REGION", "STATE", "RELEASE", "IMAGE", "CHECKS")]
    for machine in snapshot.machines:
        checks = ", ".join(f"{c.name} {c.status}" for c in machine.checks) or "none"
        version = f"v{machine.release_version}" if machine.release_version is not None else "?"
        digest = text.short(machine.digest) or "?"
        rows.append((machine.id, machine.group, machine.region, machine.state, version, digest, checks))
    releases = [f"  {named(d)}{' proven' if d.proven_at is not None else ''}" for d in state.digests[-10:]]
    head = [
        f"app {policy.target.app} at {text.stamp(snapshot.at)}",
        f"images: {messages.mix(snapshot)}",
        last_proven(state.works, snapshot.at),
    ]
    return "\n".join([*head, "", *columns(rows), "", "known releases, oldest first:", *releases, ""])


def releases_json(snapshot: Snapshot) -> str:
    """The platform's release list at one instant."""
    rows = [
        {
            "version": r.version,
            "status": r.status,
            "image": r.image_ref,
            "user": r.user,
            "description": r.description,
            "createdAt": text.stamp(r.created_at),
        }
        for r in snapshot.releases
    ]
    return json.dumps(rows, indent=2) + "\n"


def summary_text(policy: Policy, goal: Goal, recorded: Sequence[ev.Recorded]) -> str:
    """What happened in the goal's incident, from its first sign to here."""
    mine = [e.event for e in recorded if getattr(e.event, "incident", None) == goal.incident]
    ended = next((e for e in reversed(mine) if isinstance(e, ev.GoalEnded)), None)
    verdict = next((e for e in reversed(mine) if isinstance(e, ev.Verified)), None)
    began = next((e for e in mine if isinstance(e, ev.GoalSet)), None)
    compared = next((e for e in reversed(mine) if isinstance(e, ev.ConfigCompared)), None)
    decided = next((e for e in reversed(mine) if isinstance(e, ev.Decided) and e.decision == "rollback"), None)
    facts = [
        ("target", f"{policy.target.name} (app {policy.target.app})"),
        ("incident", goal.incident),
        ("rolled back", text.short(goal.candidate)),
        ("to", f"{f'v{goal.target_version} ' if goal.target_version else ''}{goal.target_ref}"),
        ("because", "; ".join(decided.findings) if decided and decided.findings else goal.trigger),
        ("trigger", goal.trigger),
        ("by", goal.by),
        ("reason", began.reason if began else ""),
        ("began", text.stamp(goal.set_at)),
        ("ended", f"{text.stamp(ended.at)} after {text.seconds(ended.at - goal.set_at)}" if ended else "not yet"),
        ("outcome", f"{ended.outcome}: {ended.sentence}" if ended else "not yet"),
        ("verified", f"{verdict.result}: {verdict.sentence}" if verdict else "not yet"),
        ("config", compared.sentence if compared else "not compared yet"),
        ("policy", f"{policy.path} {policy.hash[:12]}"),
        ("runbook", policy.runbook or "none"),
    ]
    lines = [f"{name + ':':<13}{value}" for name, value in facts]
    return "\n".join(["Rollback summary", "", *lines, "", "What happened:", *story(mine), ""])


def story(happened: Sequence[ev.Event]) -> list[str]:
    """Events as lines: when, and what. What the line before has said is not said again."""
    lines: list[str] = []
    before = ""
    for event in happened:
        sentence = getattr(event, "sentence", "")
        if isinstance(event, ev.Decided) and sentence == before:
            lines.append(f"  {text.stamp(event.at)}  {_decision(event)}")
        elif line := said(event):
            lines.append(f"  {text.stamp(event.at)}  {line}")
        before = sentence
    return lines


def said(event: ev.Event) -> str:
    """One event in a few words; empty for those that only machines need."""
    match event:
        case ev.IncidentOpened():
            return f"incident: {event.sentence}"
        case ev.Decided():
            return f"{_decision(event)}: {event.sentence}"
        case ev.GoalSet():
            return f"rolling back to {event.target_ref}, by {event.by}: {event.reason}"
        case ev.DrillBegan():
            which = "the whole app" if event.whole else f"machine {text.listing(event.machines)}"
            return f"a drill begins: {which} to {event.target_ref} and back, by {event.by}: {event.reason}"
        case ev.DrillTurned():
            return f"the drill turns back{f': {event.why}' if event.why else ''}"
        case ev.DrillMoved():
            return f"machine {event.machine} took {text.seconds(event.stable_s)} {event.way}"
        case ev.DrillEnded():
            return f"the drill ended ({event.result}): {event.sentence}"
        case ev.StepIntended(kind="update"):
            return f"updating machine {event.machine}"
        case ev.StepDone(kind="release_create"):
            return f"release row v{event.version} made"
        case ev.StepDone(kind="update", phase="healthy"):
            way = event.incident.rpartition("/")[2]
            return f"machine {event.machine} is healthy {'where it was' if way == BACK else 'on the target'}"
        case ev.StepDone(kind="release_complete" | "release_failed"):
            which = f" v{event.version}" if event.version else ""
            return f"release row{which} marked {event.kind.removeprefix('release_')}"
        case ev.StepDone(kind="restart"):
            return f"machine {event.machine} was restarted"
        case ev.StepIntended(kind="delegate"):
            return "telling another executor to roll back"
        case ev.Delegated():
            return f"{event.executor}, {event.state}: {event.sentence or event.link or event.id}"
        case ev.FirstJudged():
            return f"first machine ({event.result}): {event.sentence}"
        case ev.ApprovalAsked():
            return f"asked for an approval until {text.clock(event.until)}: {event.sentence}"
        case ev.ApprovalEnded():
            return (
                f"{event.outcome}{f' by {event.by}' if event.by else ''}{f': {event.reason}' if event.reason else ''}"
            )
        case ev.StepFailed():
            return f"{event.kind} {event.machine} failed: {event.error}".replace("  ", " ")
        case ev.GoalEnded():
            return f"ended ({event.outcome}): {event.sentence}"
        case ev.Verified():
            return f"verified ({event.result}): {event.sentence}"
        case ev.ConfigCompared():
            return event.sentence
        case ev.IncidentClosed():
            return f"closed ({event.outcome})"
    return ""


_KINDS = {"acknowledge": "acknowledged", "change": "told", "follow-up": "asked for"}


def told(event: ev.Event) -> str:
    """As ``said``, and also what happened around an incident: rules, people, deploys, pages."""
    match event:
        case ev.RuleChanged():
            return f"{event.rule} is {event.after}: {event.sentence}"
        case ev.DigestSeen():
            return f"{f'v{event.version} ' if event.version else ''}({text.short(event.digest)}) appears"
        case ev.FullyDeployed():
            return f"{f'v{event.version} ' if event.version else ''}({text.short(event.digest)}) runs on every machine"
        case ev.DeployBegan() | ev.DeployEnded():
            what = f"deploys ({event.sign})" if isinstance(event, ev.DeployBegan) else "is done deploying"
            return f"{event.owner or 'somebody'} {what}"
        case ev.Reported():
            return f"{event.by} reports {event.kind}: {event.reason}"
        case ev.PauseSet() | ev.PauseLifted() | ev.HoldSet():
            did = {ev.PauseSet: "pauses", ev.PauseLifted: "resumes", ev.HoldSet: "holds"}[type(event)]
            return f"{event.by} {did}: {event.reason}"
        case ev.PageQueued():
            return f"{'resolved' if event.resolve else _KINDS.get(event.kind, 'paged')}: {event.summary}"
        case ev.PageFailed(final=True):
            return f"{event.channel} did not take a page: {event.error}"
        case ev.ClockJumped():
            return f"the wall clock moved by {event.by_s:+.1f} s"
        case ev.TickFailed():
            return f"could not look: {event.error}"
        case ev.ReadinessChanged():
            return event.sentence
        case ev.GuardStarted():
            return f"the guard starts ({event.version}, mode {event.mode})"
    return said(event)


def _decision(event: ev.Decided) -> str:
    """What was decided, on what kind of word, and the names of the interlocks that held it."""
    names = [refusal.partition(":")[0] for refusal in event.refusals]
    held = f", held by {text.listing(names)}" if names else ""
    return f"decided to {event.decision} ({event.trigger}{held})"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns, two blanks apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
