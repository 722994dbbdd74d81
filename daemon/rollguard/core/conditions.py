"""What users of Kubernetes look at first: five conditions of a target, each with a reason and a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rollguard.core import text
from rollguard.core.baseline import Baseline
from rollguard.core.case import Case, named
from rollguard.core.finding import Finding, RuleState, Trigger
from rollguard.core.interlocks import standing
from rollguard.core.lifecycle import TargetState
from rollguard.core.model import Mode, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.readiness import Readiness

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """``status`` is True, False or Unknown; ``since`` is when it last became that."""

    type: str
    status: str
    reason: str
    message: str
    since: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything a running guard knows of its target at one instant.

    ``generation`` numbers the policies obeyed so far; ``rejected`` says why a newer file is not obeyed. ``case`` is
    what a decision would look at, None before the first look; ``baseline`` what the release is compared with;
    ``readiness`` whether a rollback could happen, where that is looked at.
    """

    policy: Policy
    generation: int
    mode: Mode
    state: TargetState
    findings: tuple[Finding, ...] = ()
    sentence: str = ""
    snapshot: Snapshot | None = None
    case: Case | None = None
    baseline: Baseline | None = None
    readiness: Readiness | None = None
    rejected: str | None = None
    journal_error: str | None = None


def conditions(seen: Situation, before: Iterable[Condition], now: float) -> tuple[Condition, ...]:
    """The five conditions now; one whose status did not change keeps the time of its last transition."""
    known: Mapping[str, Condition] = {c.type: c for c in before}
    fresh = (_observed(seen, now), _healthy(seen), _ready(seen, now), _acting(seen.state), held(seen.state, now))
    return tuple(replace(c, since=_since(c, known.get(c.type), now)) for c in fresh)


def _since(condition: Condition, before: Condition | None, now: float) -> float:
    return before.since if before is not None and before.status == condition.status else now


def _observed(seen: Situation, now: float) -> Condition:
    def observed(status: str, reason: str, message: str) -> Condition:
        return Condition(type="Observed", status=status, reason=reason, message=message)

    blind = [f for f in seen.findings if f.state is RuleState.BLIND]
    if seen.journal_error:
        return observed(FALSE, "JournalNotWritable", seen.journal_error)
    if seen.snapshot is None:
        return observed(UNKNOWN, "NotSeenYet", "the platform has not answered yet")
    age_s = now - seen.snapshot.at
    if age_s > 3 * seen.policy.platform_every_s + 10.0:
        return observed(FALSE, "PlatformNotSeen", f"the platform has not answered for {text.seconds(age_s)}")
    if blind:
        names = text.listing([f.rule.name for f in blind])
        return observed(FALSE, "Blind", f"blind on {names}: {blind[0].sentence}")
    return observed(TRUE, "Watching", f"{len(seen.snapshot.managed)} machines seen, every signal answers")


def _healthy(seen: Situation) -> Condition:
    def healthy(status: str, reason: str, message: str) -> Condition:
        return Condition(type="Healthy", status=status, reason=reason, message=message)

    firing = [f for f in seen.findings if f.firing]
    blind = [f for f in seen.findings if f.state is RuleState.BLIND]
    if firing:
        first = f"{firing[0].rule.name}: {firing[0].sentence}"
        others = text.listing([f.rule.name for f in firing[1:]])
        return healthy(FALSE, "RuleFiring", f"{first}; also {others}" if others else first)
    if not seen.findings:
        return healthy(UNKNOWN, "NotJudgedYet", "nothing was judged yet")
    if blind:
        return healthy(UNKNOWN, "Blind", f"{len(blind)} of {len(seen.findings)} rules have nothing to judge by")
    return healthy(TRUE, "NoRuleFiring", f"none of {len(seen.findings)} rules is firing")


def _ready(seen: Situation, now: float) -> Condition:
    """Whether a rule that fired this instant would be answered by a rollback."""

    def ready(status: str, reason: str, message: str) -> Condition:
        return Condition(type="RollbackReady", status=status, reason=reason, message=message)

    if seen.case is None:
        return ready(UNKNOWN, "NotSeenYet", "no release of the app has been seen yet")
    refusals, _ = standing(seen.case, Trigger.ABSOLUTE, now)
    if refusals:
        return ready(FALSE, camel(refusals[0].name), "; ".join(r.sentence for r in refusals))
    if seen.readiness is not None and seen.readiness.failing:
        first = seen.readiness.failing[0]
        return ready(FALSE, f"Not{camel(first.name)}", "; ".join(c.sentence for c in seen.readiness.failing))
    if seen.mode is not Mode.ENFORCE:
        mode = seen.mode.name.lower()
        return ready(FALSE, f"Mode{mode.title()}", f"the mode is {mode}: the guard would not act")
    target = seen.case.target
    return ready(TRUE, "TargetProven", f"would go back to {named(target) if target else 'nothing'}")


def _acting(state: TargetState) -> Condition:
    def acting(status: str, reason: str, message: str) -> Condition:
        return Condition(type="Acting", status=status, reason=reason, message=message)

    incident, goal, drill = state.incident, state.goal, state.drilling
    if drill is not None:
        which = "the whole app" if drill.began.whole else f"machine {text.listing(drill.began.machines)}"
        return acting(TRUE, "Drilling", f"a drill by {drill.began.by}: {which} is on its way {drill.way}")
    if goal is not None:
        done = sum(u.healthy for u in goal.updates.values())
        to = f"v{goal.target_version}" if goal.target_version else text.short(goal.target)
        return acting(TRUE, "RollingBack", f"rolling back to {to}: {done} machines done")
    if incident is not None and incident.phase == "verifying":
        return acting(TRUE, "Verifying", "the restored release is being judged")
    return acting(FALSE, "Idle", "no rollback is under way")


def held(state: TargetState, now: float) -> Condition:
    """Whether a person keeps the guard from acting."""
    pause, hold = state.pause, state.hold
    if pause is not None:
        message = f"paused by {pause.by} since {text.clock(pause.at)}: {pause.reason}"
        return Condition(type="Held", status=TRUE, reason="Paused", message=message)
    if hold is not None and now < hold.until:
        message = f"held by {hold.by} for another {text.seconds(hold.until - now)}: {hold.reason}"
        return Condition(type="Held", status=TRUE, reason="Hold", message=message)
    return Condition(type="Held", status=FALSE, reason="Free", message="nobody holds the guard back")


def camel(name: str) -> str:
    """``target not proven`` → ``TargetNotProven``."""
    return "".join(word[:1].upper() + word[1:] for word in name.replace("-", " ").split())
