"""Why the guard does what it does: every value, its age and its limit; what holds an act; what would happen.

``explain_now`` gives data; ``lines_now`` the same for people. ``explain_incident`` retells a decision of the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.budgets import Burn
from rollguard.core.case import Effect, named
from rollguard.core.conditions import Situation
from rollguard.core.finding import Finding, RuleState, Trigger
from rollguard.core.judging import Evidence
from rollguard.core.model import EDGE, Mode
from rollguard.core.policy import (
    Action,
    Compared,
    Condition,
    Crashed,
    Failing,
    Gauge,
    Probes,
    Quantile,
    Ratio,
    Reported,
    Threshold,
)
from rollguard.core.status import baseline_object, interlock_objects, limit_of, rule_object

Json = dict[str, Any]


def explain_now(seen: Situation, evidence: Evidence | None, now: float, rule: str | None = None) -> Json:
    """The decision tree at this instant; with ``rule``, that rule alone. Raises ``KeyError`` for an unknown rule."""
    findings = [f for f in seen.findings if rule in {None, f.rule.name}]
    if rule is not None and rule not in {r.name for r in seen.policy.rules}:
        raise KeyError(rule)
    case = seen.case
    return {
        "target": seen.policy.target.name,
        "at": text.stamp(now),
        "mode": seen.mode.name.lower(),
        "candidate": named(case.candidate) if case else None,
        "goesBackTo": named(case.target) if case and case.target else None,
        "baseline": baseline_object(evidence.baseline if evidence else None, seen.state, now),
        "rules": [_rule(f, evidence, seen.mode, now) for f in findings],
        "interlocks": interlock_objects(case, now) if case else [],
        "decision": seen.sentence,
        "would": _would(seen, now),
    }


def _rule(finding: Finding, evidence: Evidence | None, mode: Mode, now: float) -> Json:
    age_s = _age_s(finding.rule.condition, evidence, now) if evidence else None
    near = closeness(finding)
    return {
        **rule_object(finding),
        "ageSeconds": round(age_s, 3) if age_s is not None else None,
        "ofLimit": round(near, 4) if near is not None else None,
        "asksFor": asks_for(finding, mode),
    }


def asks_for(finding: Finding, mode: Mode) -> str:
    """What a rule wants by itself, after its blame and the modes were taken into account."""
    if finding.state is RuleState.BLIND:
        return "a page that the guard is blind"
    if not finding.firing:
        return "nothing"
    if finding.rule.then is Action.PAGE:
        return "a page"
    if finding.blame is not finding.blame.RELEASE:
        return f"a page: it blames {finding.blame}, not the release"
    may = min(mode, finding.rule.mode)
    return "a rollback" if may is Mode.ENFORCE else f"a rollback, which mode {may.name.lower()} forbids"


def closeness(finding: Finding) -> float | None:
    """How much of its limit a value has used up: 0.31 is far, 1 is at the limit, more is beyond it."""
    value, limit = finding.value, limit_of(finding)
    if value is None or limit is None:
        return None
    if getattr(finding.rule.condition, "above", True):
        return value / limit if limit else (2.0 if value > 0 else 0.0)
    return limit / value if value else None


def _keys(condition: Condition | Probes | Gauge) -> tuple[str, ...]:
    match condition:
        case Compared(of=of):
            return _keys(of)
        case Failing(signal=signal) | Probes(signal=signal):
            return (signal,)
        case Threshold(key=key) | Quantile(key=key) | Gauge(key=key):
            return (key,)
        case Burn(bad=bad, total=total) | Ratio(bad=bad, total=total):
            return (bad, total)
        case Crashed() | Reported():
            return ()


def _age_s(condition: Condition, evidence: Evidence, now: float) -> float | None:
    """How old the newest reading behind a rule is; None where it reads no signal, or nothing came yet."""
    subjects = (EDGE, *(t.machine for t in evidence.view.serving))
    newest = [
        next((r.at for r in evidence.windows.newest_first(key, subject) if r.gap is None), None)
        for key in _keys(condition)
        for subject in subjects
    ]
    return now - max(known) if (known := [at for at in newest if at is not None]) else None


def _would(seen: Situation, now: float) -> str:
    """What a rule that fires with ``then: rollback`` would lead to at this instant."""
    if seen.state.goal is not None:
        return "a rollback is under way: nothing else is begun"
    if seen.case is None:
        return "nothing: no release of the app has been seen yet"
    holding = [
        lock["name"]
        for lock in interlock_objects(seen.case, now)
        if lock["standing"] and lock["effects"][str(Trigger.ABSOLUTE)].startswith(str(Effect.HOLDS))
    ]
    if holding:
        return f"a rule that fires now would page, held by {text.listing(holding, most=20)}"
    if seen.mode is not Mode.ENFORCE:
        does = "page" if seen.mode is Mode.PAGE else "record"
        return f"a rule that fires now would only {does}: the mode is {seen.mode.name.lower()}"
    target = seen.case.target
    return f"a rule that fires now would roll back to {named(target) if target else 'nothing'}"


# -- for people --------------------------------------------------------------------------------------------------------

_MARKS = {"clear": "ok", "pending": "soon", "firing": "FIRES", "blind": "blind"}


def lines_now(data: Json) -> list[str]:
    """``explain_now`` as lines of text."""
    lines = [
        f"{data['target']} at {data['at']}, mode {data['mode']}",
        f"judged: {data['candidate'] or 'nothing yet'}; goes back to: {data['goesBackTo'] or 'nothing'}",
        *([f"compared with: {data['baseline']['sentence']}"] if data["baseline"] else []),
        "rules",
        *(line for rule in data["rules"] for line in _rule_lines(rule)),
    ]
    standing = [lock for lock in data["interlocks"] if lock["standing"]]
    clear = [lock["name"] for lock in data["interlocks"] if not lock["standing"]]
    lines.append("interlocks")
    lines += [f"  {_effect(lock):<9}{lock['name']}: {lock['sentence']}" for lock in standing]
    if clear:
        lines.append(f"  clear    {', '.join(clear)}")
    return [*lines, f"decided: {data['decision']}", f"would: {data['would']}"]


def _rule_lines(rule: Json) -> list[str]:
    facts = [f"age {text.seconds(rule['ageSeconds'])}"] if rule["ageSeconds"] is not None else []
    if rule["ofLimit"] is not None:
        facts.append(f"{text.percent(rule['ofLimit'])} of its limit")
    if rule["since"]:
        facts.append(f"since {rule['since']}")
    facts.append(f"asks for {rule['asksFor']}")
    head = f"  {_MARKS[rule['state']]:<9}{rule['name']}: {rule['sentence']}"
    return [head, f"           {'; '.join(facts)} ({rule['origin']})"]


def _effect(lock: Json) -> str:
    effect = lock["effects"][str(Trigger.ABSOLUTE)]
    return {"H": "HOLDS", "H*": "HOLDS", "W": "said", "-": "n/a"}[effect]


def explain_incident(recorded: Sequence[ev.Recorded], incident: str) -> list[str]:
    """What was decided in an incident, when, on which numbers, and what held it; empty when there was none such."""
    mine = [e.event for e in recorded if getattr(e.event, "incident", None) == incident]
    if not mine:
        return []
    start, end = mine[0].at, mine[-1].at
    lines: list[str] = []
    for event in (entry.event for entry in recorded):
        match event:
            case ev.RuleChanged() if start - 60.0 <= event.at <= end:
                lines.append(f"{text.stamp(event.at)}  {event.rule} is {event.after}: {event.sentence}")
            case ev.Decided(incident=of) if of == incident:
                lines += _decided(event)
    return lines


def _decided(event: ev.Decided) -> list[str]:
    return [
        f"{text.stamp(event.at)}  decided to {event.decision} ({event.trigger}): {event.sentence}",
        *(f"    because    {finding}" for finding in event.findings),
        *(f"    held by    {refusal}" for refusal in event.refusals),
        *(f"    note       {warning}" for warning in event.warnings),
        f"    policy     {event.policy[:12]}",
    ]
