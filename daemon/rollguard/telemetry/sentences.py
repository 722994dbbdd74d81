"""How loud each event is in the log, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Callable
from logging import ERROR, INFO, WARNING
from typing import Any

from rollguard.core import events as e
from rollguard.core import text

Said = tuple[int, str]


def said(event: e.Event) -> Said:
    """The level and the sentence of any event."""
    return _TABLE[type(event)](event)


def _of_page_failure(page: e.PageFailed) -> Said:
    if page.final:
        return ERROR, f"page {page.key} is not delivered by {page.channel} and will not be: {page.error}"
    return WARNING, f"{page.channel} did not take page {page.key} (attempt {page.attempts}): {page.error}"


def _release(seen: e.FullyDeployed) -> str:
    """``v41 (0123456789ab)``: 64 digits are not for people."""
    digest = text.short(seen.digest)
    return f"v{seen.version} ({digest})" if seen.version else digest


def _by(who: str, why: str) -> str:
    """`` by ann: the reason``, as far as both are known."""
    return (f" by {who}" if who else "") + (f": {why}" if why else "")


def _once(outcome: str, sentence: str) -> str:
    """The outcome and the sentence, which often begins with it."""
    return sentence if sentence.startswith(outcome) else f"{outcome}: {sentence}"


def _step(step: e.StepIntended | e.StepDone | e.StepFailed) -> str:
    return f"{_STEPS.get(step.kind, step.kind)}{f' {step.machine}' if step.machine else ''}"


def _of_step_done(step: e.StepDone) -> Said:
    if step.kind == "update" and step.phase:
        return INFO, f"machine {step.machine}: the update is {step.phase}"
    return INFO, f"done: {_step(step)}"


def _of_delegate(told: e.Delegated) -> Said:
    level = INFO if told.state in {"running", "succeeded"} else WARNING
    said = f"told to roll back, {told.executor} {_DELEGATED.get(told.state, told.state)}{_by('', told.sentence)}"
    return level, f"{said} ({told.link})" if told.link else said


_STEPS = {
    "release_create": "make a release row",
    "release_running": "mark the release row running",
    "release_complete": "mark the release row complete",
    "release_failed": "mark the release row failed",
    "update": "update machine",
    "restart": "restart machine",
    "delegate": "tell another executor to roll back",
    "delegate_cancel": "tell the other executor to stop",
}
_DECISIONS = {
    "rollback": "roll back",
    "would-rollback": "roll back, if the mode allowed it",
    "would-page": "page, if the mode allowed it",
}
_DELEGATED = {
    "running": "is at work",
    "succeeded": "says success",
    "failed": "says that it failed",
    "lost": "is lost",
}
_LOUD_RULES = {"firing": WARNING, "blind": WARNING}
_LOUD_DECISIONS = {"rollback": WARNING, "page": WARNING}

_TABLE: dict[type[e.Event], Callable[[Any], Said]] = {
    e.GuardStarted: lambda x: (INFO, f"rollguard {x.version} is on guard in mode {x.mode}"),
    e.PolicyLoaded: lambda x: (INFO, f"obeying {x.path} in mode {x.mode}"),
    e.PolicyRejected: lambda x: (ERROR, f"{x.path} cannot be obeyed, the old policy stays: {x.problem}"),
    e.ClockJumped: lambda x: (WARNING, f"the wall clock moved by {x.by_s:+.1f} s; windows were emptied"),
    e.DigestSeen: lambda x: (INFO, f"{x.image_ref} runs for the first time"),
    e.FullyDeployed: lambda x: (INFO, f"{_release(x)} runs on every managed machine"),
    e.Proven: lambda x: (INFO, f"{x.image_ref} is proven ({x.how})"),
    e.DeployBegan: lambda x: (INFO, f"{x.owner or 'somebody'} deploys ({x.sign})"),
    e.DeployEnded: lambda x: (INFO, f"the deploy of {x.owner or 'somebody'} is over"),
    e.RuleChanged: lambda x: (_LOUD_RULES.get(x.after, INFO), f"{x.rule} is {x.after}: {x.sentence}"),
    e.IncidentOpened: lambda x: (WARNING, f"incident {x.incident} opens: {x.sentence}"),
    e.Decided: lambda x: (
        _LOUD_DECISIONS.get(x.decision, INFO),
        f"decided to {_DECISIONS.get(x.decision, x.decision)}: {x.sentence}",
    ),
    e.GoalSet: lambda x: (WARNING, f"rolling back to {x.target_ref}: {x.reason}"),
    e.StepIntended: lambda x: (INFO, f"about to {_step(x)}"),
    e.StepDone: _of_step_done,
    e.StepFailed: lambda x: (WARNING, f"could not {_step(x)}: {x.error}"),
    e.FirstJudged: lambda x: (
        INFO if x.result == "better" else WARNING,
        f"the first machine on the old image, {x.result}: {x.sentence}",
    ),
    e.ApprovalAsked: lambda x: (WARNING, f"a person may approve going back until {text.clock(x.until)}: {x.sentence}"),
    e.ApprovalEnded: lambda x: (WARNING, f"the question is closed, {x.outcome}{_by(x.by, x.reason)}"),
    e.FloorSet: lambda x: (
        WARNING,
        (f"never below v{x.version} from now on" if x.version is not None else "the release floor is lifted")
        + _by(x.by, x.reason),
    ),
    e.SchemaRead: lambda x: (INFO, f"the app sees database schema {x.schema}"),
    e.BaselineLoaded: lambda x: (INFO, f"a recording of {x.blocks} blocks is what well means{_by(x.by, x.reason)}"),
    e.Delegated: _of_delegate,
    e.DrillBegan: lambda x: (
        WARNING,
        f"a drill begins: {'the whole app' if x.whole else 'one machine'} to {x.target_ref} and back"
        + _by(x.by, x.reason),
    ),
    e.DrillTurned: lambda x: (WARNING if x.why else INFO, f"the drill turns back{_by('', x.why)}"),
    e.DrillMoved: lambda x: (INFO, f"machine {x.machine} is {x.way} after {text.seconds(x.stable_s)}"),
    e.DrillEnded: lambda x: (
        INFO if x.result == "ok" else ERROR if x.left else WARNING,
        f"the drill ended, {x.result}: {x.sentence}",
    ),
    e.GoalEnded: lambda x: (INFO if x.outcome == "restored" else ERROR, f"rollback {x.outcome}: {x.sentence}"),
    e.Verified: lambda x: (INFO if x.result == "restored" else WARNING, f"verified, {x.result}: {x.sentence}"),
    e.IncidentClosed: lambda x: (INFO, f"incident {x.incident} is over: {_once(x.outcome, x.sentence)}"),
    e.ReadinessChanged: lambda x: (INFO, f"ready: {x.sentence}") if x.ready else (WARNING, f"not ready: {x.sentence}"),
    e.ConfigCompared: lambda x: (INFO, f"compared: {x.sentence}"),
    e.PauseSet: lambda x: (WARNING, f"paused by {x.by}: {x.reason}"),
    e.PauseLifted: lambda x: (INFO, f"resumed by {x.by}: {x.reason}"),
    e.HoldSet: lambda x: (WARNING, f"held by {x.by}: {x.reason}"),
    e.Reported: lambda x: (WARNING, f"{x.by} reports {x.kind}: {x.reason}"),
    e.PageQueued: lambda x: (INFO, f"{'resolving' if x.resolve else 'paging'} {x.key}: {x.summary}"),
    e.PageSent: lambda x: (INFO, f"{x.channel} took page {x.key}"),
    e.PageFailed: _of_page_failure,
    e.TickFailed: lambda x: (ERROR, f"could not look ({x.failures} in a row): {x.error}"),
}
