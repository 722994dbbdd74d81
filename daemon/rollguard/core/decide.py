"""Hold, page or roll back. A firing rule always ends in an act, or in a page that names what held it."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.core import text
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.interlocks import Case, Refusal, named, standing
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.model import Mode
from rollguard.core.policy import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Nothing to do, and why."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDecision:
    """A person is to be told. ``refusals`` held a rollback; ``would`` says that only the mode did.

    ``mode`` OBSERVE: it is recorded as "would have", and nobody is told.
    """

    sentence: str
    findings: tuple[Finding, ...]
    trigger: Trigger
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Refusal, ...] = ()
    would_roll_back: bool = False
    mode: Mode = Mode.PAGE
    target: DigestRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Go back to ``target`` now."""

    sentence: str
    findings: tuple[Finding, ...]
    trigger: Trigger
    target: DigestRecord
    warnings: tuple[Refusal, ...] = ()


Decision = Hold | PageDecision | RollBack

STRONGEST_FIRST = (Trigger.REPORT, Trigger.HARD_DOWN, Trigger.ABSOLUTE, Trigger.RELATIVE)


def decide(case: Case, mode: Mode, now: float) -> Decision:
    """What to do about these findings. ``mode`` is the least of the policy's and the guard's."""
    firing = tuple(f for f in case.findings if f.firing)
    if not firing:
        return _nothing_fires(case, mode)
    asking = tuple(f for f in firing if f.rule.then is Action.ROLLBACK and f.blame is Blame.RELEASE)
    allowed = max((min(f.rule.mode, mode) for f in firing), default=mode)
    if not asking:
        trigger = firing[0].trigger
        return PageDecision(sentence=_because(firing), findings=firing, trigger=trigger, mode=min(allowed, mode))
    return _roll_back_or_say_why(case, firing, asking, mode, now)


def _roll_back_or_say_why(
    case: Case, firing: tuple[Finding, ...], asking: tuple[Finding, ...], mode: Mode, now: float
) -> Decision:
    """The first kind of evidence that no interlock holds acts; if all are held, the strongest says by what."""
    held: PageDecision | None = None
    for trigger in (t for t in STRONGEST_FIRST if any(f.trigger is t for f in asking)):
        mine = tuple(f for f in asking if f.trigger is trigger)
        may = max(min(f.rule.mode, mode) for f in mine)
        refusals, warnings = standing(_only(case, mine), trigger, now)
        if not refusals and may is Mode.ENFORCE and case.target is not None:
            sentence = f"rolling back {named(case.candidate)} to {named(case.target)}: {_because(mine)}"
            return RollBack(sentence=sentence, findings=firing, trigger=trigger, target=case.target, warnings=warnings)
        page = PageDecision(
            sentence=_held(case, mine, refusals),
            findings=firing,
            trigger=trigger,
            refusals=refusals,
            warnings=warnings,
            would_roll_back=not refusals,
            mode=min(may, Mode.PAGE),
            target=case.target,
        )
        if held is None or (page.would_roll_back and not held.would_roll_back):
            held = page
    assert held is not None, "an asking finding has one of the triggers"
    return held


def _only(case: Case, findings: tuple[Finding, ...]) -> Case:
    return Case(
        policy=case.policy,
        state=case.state,
        snapshot=case.snapshot,
        candidate=case.candidate,
        target=case.target,
        no_target=case.no_target,
        findings=findings,
        resolvable=case.resolvable,
        deploy=case.deploy,
        clock_behind_s=case.clock_behind_s,
        overrides=case.overrides,
    )


def _held(case: Case, findings: tuple[Finding, ...], refusals: tuple[Refusal, ...]) -> str:
    if not refusals:
        where = named(case.target) if case.target else "nowhere"
        return f"would roll back {named(case.candidate)} to {where}, but the mode is only to page: {_because(findings)}"
    reasons = "; ".join(r.sentence for r in refusals)
    return f"{named(case.candidate)} is bad and was not rolled back: {reasons}. {_because(findings)}"


def _nothing_fires(case: Case, mode: Mode) -> Decision:
    blind = tuple(f for f in case.findings if f.state is RuleState.BLIND)
    if not blind:
        return Hold(sentence="no rule is firing")
    names = text.listing([f.rule.name for f in blind])
    return PageDecision(
        sentence=f"blind on {names}: {blind[0].sentence}",
        findings=blind,
        trigger=Trigger.ABSOLUTE,
        mode=min(mode, Mode.PAGE),
    )


def _because(findings: tuple[Finding, ...]) -> str:
    return "; ".join(f"{f.rule.name}: {f.sentence}" for f in findings)
