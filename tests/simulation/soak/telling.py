"""A story in lines for people, and the moments that others wait for."""

from __future__ import annotations

from rollguard.core import events as ev


def moment_of(event: ev.Event) -> str | None:
    match event:
        case ev.GoalSet():
            return "goal"
        case ev.GoalEnded():
            return "ended"
        case ev.StepDone(kind="update", phase="healthy"):
            return "healthy"
        case ev.RuleChanged(after="firing"):
            return "fires"
    return None


def told(event: ev.Event) -> str | None:
    """An event in a line, where it is worth one."""
    match event:
        case ev.PageQueued():
            return f"page ({event.kind}): {event.summary}"
        case ev.RuleChanged():
            return f"rule {event.rule}: {event.before} → {event.after} ({event.scope}): {event.sentence}"
        case ev.GoalSet():
            return f"GOAL by {event.by} ({event.trigger}), proof {event.prove}"
        case ev.GoalEnded():
            return f"GOAL ENDED {event.outcome}: {event.sentence}"
        case ev.StepIntended():
            return f"intent {event.kind} {event.machine}"
        case ev.StepDone():
            return f"done {event.kind} {event.machine} {event.phase}"
        case ev.StepFailed() | ev.TickFailed():
            return f"failed: {event.error}"
        case ev.Decided():
            return f"decided {event.decision}: {event.sentence}"
        case ev.FirstJudged() | ev.Verified():
            return f"{type(event).__name__}: {event.result}: {event.sentence}"
        case ev.DeployBegan():
            return f"sees {event.owner} deploy ({event.sign})"
    return type(event).__name__
