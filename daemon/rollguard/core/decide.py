"""Hold, page or roll back. A firing rule always ends in an act, or in a page that names what held it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollguard.core import text
from rollguard.core.case import Case, Refusal, named
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.first_plan import Plan
from rollguard.core.interlocks import holds, standing
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.locks.world import told_by, waits_for_others
from rollguard.core.model import Mode
from rollguard.core.policy import Action
from rollguard.core.trouble import OTHERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Nothing to do, and why."""

    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageDecision:
    """A person is to be told. ``refusals`` held a rollback; ``would`` says that only the mode did.

    ``mode`` OBSERVE: it is recorded as "would have", and nobody is told. ``approvable``: if a person says yes, the
    guard will roll back to ``target``. ``told_by`` is another target whose page tells of it already.
    """

    sentence: str
    findings: tuple[Finding, ...]
    trigger: Trigger
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Refusal, ...] = ()
    would_roll_back: bool = False
    mode: Mode = Mode.PAGE
    target: DigestRecord | None = None
    approvable: bool = False
    told_by: str = ""

    @property
    def about(self) -> frozenset[str]:
        """What it is about: the rules that fire and what holds the act. Each is said once an incident."""
        rules = {f"{'blind on' if f.state is RuleState.BLIND else 'rule'} {f.rule.name}" for f in self.findings}
        held = {f"held by {r.name}" for r in self.refusals}
        would = {"would roll back"} if self.would_roll_back else set()
        return frozenset(rules | held | would | ({"may be approved"} if self.approvable else set()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack:
    """Go back to ``target`` now. ``plan`` is what a first machine could show."""

    sentence: str
    findings: tuple[Finding, ...]
    trigger: Trigger
    target: DigestRecord
    warnings: tuple[Refusal, ...] = ()
    plan: Plan | None = None


Decision = Hold | PageDecision | RollBack

STRONGEST_FIRST = (Trigger.REPORT, Trigger.HARD_DOWN, Trigger.ABSOLUTE, Trigger.RELATIVE)


CALM = Hold(sentence="no rule is firing")


def calm(findings: Sequence[Finding]) -> Hold | None:
    """What is decided where no rule fires and none is blind, whatever else is the case."""
    for finding in findings:
        if finding.state is RuleState.FIRING or finding.state is RuleState.BLIND:
            return None
    return CALM


def decide(case: Case, mode: Mode, now: float) -> Decision:
    """What to do about these findings. ``mode`` is the least of the policy's and the guard's."""
    firing = tuple(f for f in case.findings if f.firing)
    if not firing:
        return calm(case.findings) or _blind(case, mode)
    heard = _heard(firing, mode)
    asking = tuple(f for f in heard if f.rule.then is Action.ROLLBACK and f.blame is Blame.RELEASE)
    if asking:
        return _told_once(_roll_back_or_say_why(case, heard, asking, mode, now), case, now)
    blind = tuple(f for f in case.findings if f.state is RuleState.BLIND and min(f.rule.mode, mode) is not Mode.OBSERVE)
    also = f"; blind on {text.listing([f.rule.name for f in blind])}" if blind else ""
    of_release = any(f.blame is Blame.RELEASE for f in heard)
    consider = of_release and approvable(case, mode, now)
    page = PageDecision(
        sentence=("consider a rollback: " if consider else "") + _because(heard) + also,
        findings=(*heard, *blind),
        trigger=heard[0].trigger,
        mode=min(_may(heard, mode), Mode.PAGE),
        target=case.target,
        approvable=consider,
    )
    return page if any(f.blame is Blame.MACHINE for f in heard) else _told_once(page, case, now)


def approvable(case: Case, mode: Mode, now: float) -> bool:
    """Whether a person's yes would be enough for a rollback to the case's target."""
    refusals, _ = standing(case, Trigger.APPROVED, now)
    return mode is not Mode.OBSERVE and case.target is not None and not refusals


def _may(findings: tuple[Finding, ...], mode: Mode) -> Mode:
    """The most that any of these rules may do."""
    return max(min(f.rule.mode, mode) for f in findings)


def _heard(findings: tuple[Finding, ...], mode: Mode) -> tuple[Finding, ...]:
    """Rules that may only be observed neither hide nor speed up what the others ask for."""
    return tuple(f for f in findings if min(f.rule.mode, mode) is not Mode.OBSERVE) or findings


def _roll_back_or_say_why(
    case: Case, firing: tuple[Finding, ...], asking: tuple[Finding, ...], mode: Mode, now: float
) -> Decision:
    """The first kind of evidence that no interlock holds acts; if all are held, the strongest says by what."""
    held: PageDecision | None = None
    for trigger in (t for t in STRONGEST_FIRST if any(f.trigger is t for f in asking)):
        alike = tuple(f for f in asking if f.trigger is trigger)
        may = _may(alike, mode)
        mine = tuple(f for f in alike if min(f.rule.mode, mode) is may)  # no rule borrows another one's mode
        refusals, warnings = standing(_only(case, mine), trigger, now)
        if not refusals and may is Mode.ENFORCE and case.target is not None:
            if holds(OTHERS, trigger) and (why := waits_for_others(_only(case, mine), now)):
                return Hold(sentence=why)
            sentence = f"rolling back {named(case.candidate)} to {named(case.target)}: {_because(mine)}"
            return RollBack(
                sentence=sentence,
                findings=firing,
                trigger=trigger,
                target=case.target,
                warnings=warnings,
                plan=case.plan,
            )
        page = PageDecision(
            sentence=_held(case, mine, refusals),
            findings=firing,
            trigger=trigger,
            refusals=refusals,
            warnings=warnings,
            would_roll_back=not refusals,
            mode=min(may, Mode.PAGE),
            target=case.target,
            approvable=approvable(case, mode, now),
        )
        if held is None or (page.would_roll_back and not held.would_roll_back):
            held = page
    assert held is not None, "an asking finding has one of the triggers"
    return held


def _told_once(decision: Decision, case: Case, now: float) -> Decision:
    """What several targets of the guard have in common is one page: that of the target which saw it first."""
    if not isinstance(decision, PageDecision) or decision.mode is Mode.OBSERVE or not holds(OTHERS, decision.trigger):
        return decision
    teller, told = told_by(_only(case, decision.findings), now)
    if teller and not told:
        return Hold(sentence=f"other targets breach at the same time: {teller} tells people of it")
    return replace(decision, told_by=teller)


def _only(case: Case, findings: tuple[Finding, ...]) -> Case:
    return replace(case, findings=findings)


def _held(case: Case, findings: tuple[Finding, ...], refusals: tuple[Refusal, ...]) -> str:
    if not refusals:
        where = named(case.target) if case.target else "nowhere"
        return f"would roll back {named(case.candidate)} to {where}, but the mode is only to page: {_because(findings)}"
    reasons = "; ".join(r.sentence for r in refusals)
    return f"{named(case.candidate)} is bad and was not rolled back: {reasons}. {_because(findings)}"


def _blind(case: Case, mode: Mode) -> Decision:
    blind = _heard(tuple(f for f in case.findings if f.state is RuleState.BLIND), mode)
    names = text.listing([f.rule.name for f in blind])
    return PageDecision(
        sentence=f"blind on {names}: {blind[0].sentence}",
        findings=blind,
        trigger=Trigger.ABSOLUTE,
        mode=min(_may(blind, mode), Mode.PAGE),
    )


def _because(findings: tuple[Finding, ...]) -> str:
    return "; ".join(f"{f.rule.name}: {f.sentence}" for f in findings)
