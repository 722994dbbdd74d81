"""Rules that ask every machine by itself, and the edge: k failures, a value beyond its limit, crashes.

What a subject says is one ``Answer``; how many machines must say it is the rule's quorum (one sick machine is not
a bad release).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, islice, takewhile

from rollguard.core import confirm, text
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import Tenure
from rollguard.core.judging import (
    Answer,
    Evidence,
    Say,
    beyond,
    by_chance,
    fresh_until,
    has_edge,
    quorum,
    scopes_of,
    stale_after_s,
)
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Condition, Crashed, Failing, Rule, Threshold
from rollguard.core.signals import Scope, Signal

Ask = Callable[[str, float], Answer]
"""What a subject says, heard since then."""


def failing(rule: Rule, condition: Failing, evidence: Evidence, now: float) -> Finding:
    """Probes that fail k in a row, or k of n, on enough of the cohort's machines or at the edge."""
    signal = evidence.policy.signal(condition.signal)
    ask: Ask = lambda subject, since: _probe_answer(condition, signal, evidence, subject, since, now)
    finding = _by_quorum(rule, evidence, signal, ask, now)
    if finding.firing and finding.blame is Blame.RELEASE and _hard_down(evidence, signal, ask):
        edge = ask(EDGE, evidence.view.whole_since).until if has_edge(signal) else math.inf
        return replace(finding, trigger=Trigger.HARD_DOWN, holds_until=min(finding.holds_until, edge))
    seen = finding.firing or finding.state is RuleState.PENDING
    down = confirm.down(condition, signal, evidence, now) if seen else None
    if down is None:
        return finding
    if evidence.looked_at < down.since:  # it may be another release that came just now: the next look tells
        return replace(finding, holds_until=-math.inf)
    return _down(rule, down, evidence, ask)


def _down(rule: Rule, down: confirm.Down, evidence: Evidence, ask: Ask) -> Finding:
    """Nobody is served, as everybody who was asked every second says."""
    condition, members = rule.condition, evidence.view.serving
    assert isinstance(condition, Failing)
    told = [ask(t.machine, t.since).since or down.since for t in members] or [down.since]
    names = [f"{len(members)} of {len(members)} machines"] if down.machines else []
    where = text.listing([*names, *(["the edge"] if down.edge is not None else [])])
    return Finding(
        rule=rule,
        state=RuleState.FIRING,
        said=f"{condition.signal} fails for {text.seconds(down.for_s)} without a break ({down.detail}) on {where}",
        value=float(down.count),
        machines=tuple(t.machine for t in members) if down.machines else (),
        since=sorted(told)[min(quorum(rule, evidence.view, len(members)), len(told)) - 1],
        trigger=Trigger.HARD_DOWN,
    )


def _probe_answer(
    condition: Failing, signal: Signal, evidence: Evidence, subject: str, since: float, now: float
) -> Answer:
    seen = (r for r in evidence.windows.newest_first(signal.name, subject, since) if r.gap is None)
    newest = next(seen, None)
    if not _fresh(newest, signal, max(since, evidence.alive_since), now):
        heard = next(evidence.windows.newest_first(signal.name, subject, since), None)
        why = str(heard.gap) if heard is not None and heard.gap is not None else "no answer"
        return Answer(subject=subject, say=Say.NOTHING, detail=why, until=math.inf)
    if newest is None:
        return Answer(subject=subject, say=Say.QUIET, detail="nothing read yet")
    last = islice(chain([newest], seen), condition.of)
    failed = list(filter(_failed, last) if condition.of else takewhile(_failed, last))
    if not failed:
        return Answer(subject=subject, say=Say.WELL, value=0.0, until=fresh_until(newest.at, signal))
    say = Say.BREACH if len(failed) >= condition.k else Say.SOON
    return Answer(
        subject=subject,
        say=say,
        value=float(len(failed)),
        since=failed[-1].at,
        detail=failed[0].detail,
        until=fresh_until(newest.at, signal),
    )


def _failed(reading: Reading) -> bool:
    return reading.value == 0.0


def _hard_down(evidence: Evidence, signal: Signal, ask: Ask) -> bool:
    """Nobody is served: the newest probe of every machine failed, and so did the edge's; or the edge's fail, and no
    machine is in routing.

    Beside machines on another digest there is somebody left who serves.
    """
    view = evidence.view
    if not view.whole:
        return False
    failing = {Say.BREACH, Say.SOON}
    edge_fails = has_edge(signal) and ask(EDGE, view.whole_since).say in failing
    if edge_fails and view.serving and not any(t.routable for t in view.serving):
        return True
    if any(ask(t.machine, t.since).say not in failing for t in view.serving):
        return False
    return edge_fails or not has_edge(signal)


def threshold(rule: Rule, condition: Threshold, evidence: Evidence, now: float) -> Finding:
    """A value beyond its limit for as long as the rule says, on enough of the cohort's machines."""
    signal = evidence.policy.signal(condition.key.partition(".")[0])
    ask = lambda subject, since: threshold_answer(condition, signal, evidence, subject, since, now)
    return _by_quorum(rule, evidence, signal, ask, now)


def threshold_answer(
    condition: Threshold, signal: Signal, evidence: Evidence, subject: str, since: float, now: float
) -> Answer:
    """One subject's value against the limit: it must be beyond it in every reading for ``for_s``.

    A gap in between does not matter; a silence so long that the guard was blind starts the hold again.
    """
    heard = next(evidence.windows.newest_first(condition.key, subject, since), None)
    if heard is not None and heard.gap is GapKind.NO_TRAFFIC and _fresh(heard, signal, since, now):
        return Answer(subject=subject, say=Say.QUIET, detail="no traffic", until=fresh_until(heard.at, signal))
    every = evidence.windows.newest_first(condition.key, subject, since)
    seen = (r for r in every if r.gap is None and r.value is not None)
    newest = next(seen, None)
    if not _fresh(newest, signal, max(since, evidence.alive_since), now):
        detail = str(heard.gap) if heard is not None else "no answer"
        return Answer(subject=subject, say=Say.NOTHING, detail=detail, until=math.inf)
    if newest is None:
        return Answer(subject=subject, say=Say.QUIET, detail="nothing read yet")
    run: list[Reading] = []
    for reading in chain([newest], seen):
        if not beyond(reading.value or 0.0, condition.limit, above=condition.above):
            break
        if run and run[-1].at - reading.at > stale_after_s(signal):
            break
        run.append(reading)
    if not run:
        return Answer(subject=subject, say=Say.WELL, value=newest.value, until=fresh_until(newest.at, signal))
    held_s = run[0].at - run[-1].at
    say = Say.BREACH if held_s >= condition.for_s else Say.SOON
    until = fresh_until(newest.at, signal)
    return Answer(subject=subject, say=say, value=run[0].value, since=run[-1].at, until=until)


def _fresh(newest: Reading | None, signal: Signal, since: float, now: float) -> bool:
    """Whether there is something to judge: a reading that is not too old. A young subject is given its time."""
    return now - (since if newest is None else newest.at) <= stale_after_s(signal)


def _by_quorum(rule: Rule, evidence: Evidence, signal: Signal, ask: Ask, now: float) -> Finding:
    view, condition = evidence.view, rule.condition
    assert isinstance(condition, Failing | Threshold)
    of_machines = Scope.MACHINE in scopes_of(signal)
    members = view.serving if of_machines else ()
    answers = [ask(t.machine, t.since) for t in members]
    edge = ask(EDGE, view.whole_since) if has_edge(signal) and (rule.quorum.or_edge or not of_machines) else None
    breaching = [a for a in answers if a.say is Say.BREACH]
    need = quorum(rule, view, len(members))
    limit = getattr(condition, "limit", None)
    others = [ask(t.machine, t.since) for t in view.others if t.started] if members and len(breaching) >= need else []
    asked = [*answers, *([edge] if edge is not None else [])]
    holds_until = min((a.until for a in (*asked, *others)), default=-math.inf)

    def finding(
        state: RuleState, sentence: str, blame: Blame = Blame.RELEASE, who: Sequence[Answer] = (), agree: int = 1
    ) -> Finding:
        times = sorted(a.since for a in who if a.since is not None)
        return Finding(
            rule=rule,
            state=state,
            said=sentence,
            value=_worst(who, condition),
            limit=limit,
            blame=blame,
            machines=tuple(a.subject for a in who if a.subject != EDGE),
            since=times[min(agree, len(times)) - 1]
            if times
            else None,  # one that failed long before is one sick machine
            holds_until=holds_until,
        )

    if members and len(breaching) >= need:
        alike = sum(a.say is Say.BREACH for a in others)
        if others and alike * len(members) >= len(breaching) * len(others):
            words = _words(condition, breaching)
            return finding(
                RuleState.FIRING,
                f"old and new machines alike: {words}: not the release",
                Blame.EVERYONE,
                breaching,
                need,
            )
        where = _of(breaching, members)
        return finding(RuleState.FIRING, f"{_words(condition, breaching)} on {where}", who=breaching, agree=need)
    sick_share = len(breaching) / max(1, len(members))
    if (
        edge is not None
        and edge.say is Say.BREACH
        and not (breaching and _by_chance(condition, edge, sick_share, signal))
    ):
        blame = Blame.RELEASE if view.whole else Blame.EVERYONE
        return finding(RuleState.FIRING, f"{_words(condition, [edge])} at the edge", blame, [*breaching, edge])
    if breaching:
        names = text.listing([a.subject for a in breaching])
        sentence = f"machine {names}, not the release: {_words(condition, breaching)} ({_of(breaching, members)})"
        return finding(RuleState.FIRING, sentence, Blame.MACHINE, breaching)
    youngest = max([evidence.alive_since, *(t.since for t in view.cohort)])
    if not asked and view.asleep:
        return finding(RuleState.CLEAR, f"every machine of the release sleeps: {signal.name} was not asked")
    if not asked and now - youngest <= stale_after_s(signal):
        return finding(RuleState.CLEAR, f"no machine of the release is started yet: {signal.name} was not asked")
    silent = [a for a in asked if a.say is Say.NOTHING]
    if not asked or len(silent) == len(asked) or (members and len(members) - len(_silent(answers)) < need):
        return finding(RuleState.BLIND, f"no readings of {signal.name}: {_why_silent(silent, members)}")
    soon = [a for a in asked if a.say is Say.SOON]
    if soon:
        return finding(
            RuleState.PENDING, f"{_words(condition, soon)} on {text.listing([a.subject for a in soon])}", who=soon
        )
    well = [a for a in asked if a.say is Say.WELL]
    quiet = next((a.detail for a in asked if a.say is Say.QUIET), "no answer")
    clear = finding(RuleState.CLEAR, f"well on {len(well)} of {len(asked)}" if well else quiet, who=well)
    return replace(clear, machines=())


def _by_chance(condition: Failing | Threshold, edge: Answer, sick_share: float, signal: Signal) -> bool:
    """Whether so few failures at the edge may all have met the sick machines."""
    if not isinstance(condition, Failing):
        return False
    failures = edge.value or 0.0
    return failures < 2 * condition.k or by_chance(failures, sick_share, signal)


def _silent(answers: Sequence[Answer]) -> list[Answer]:
    return [a for a in answers if a.say is Say.NOTHING]


def _why_silent(silent: Sequence[Answer], members: Sequence[Tenure]) -> str:
    if not members and not silent:
        return "no machine of the release is started"
    return (
        f"{silent[0].detail or 'no answer'} from {text.listing([a.subject for a in silent])}" if silent else "no answer"
    )


def _worst(answers: Sequence[Answer], condition: Condition) -> float | None:
    values = [a.value for a in answers if a.value is not None]
    if not values:
        return None
    return max(values) if getattr(condition, "above", True) else min(values)


def _of(some: Sequence[Answer], members: Sequence[Tenure]) -> str:
    return f"{len(some)} of {len(members)} machine{'s' if len(members) != 1 else ''}"


def _words(condition: Failing | Threshold, answers: Sequence[Answer]) -> str:
    since = min((a.since for a in answers if a.since is not None), default=None)
    when = f" since {text.clock(since)}" if since is not None else ""
    if isinstance(condition, Failing):
        count = max(int(a.value or 0) for a in answers)
        how = f"{count} in a row" if condition.of is None else f"{count} of the last {condition.of}"
        return f"{condition.signal} failed {how} ({answers[0].detail or 'no answer'}), limit {condition.k}{when}"
    side = "above" if condition.above else "below"
    value = _worst(answers, condition)
    return f"{condition.key} {value:g} {side} {condition.limit:g}{when}"


def crashed(rule: Rule, condition: Crashed, evidence: Evidence, now: float) -> Finding:
    """Machines that ended unasked, again and again, since they run this digest. Who sleeps says nothing."""
    view = evidence.view
    crashes = {t.machine: _crashes(t, now - condition.within_s) for t in (*view.cohort, *view.others)}
    members, others = (
        [t.machine for t in some if t.started or crashes[t.machine]] for some in (view.cohort, view.others)
    )
    looping = tuple(m for m in members if len(crashes[m]) >= condition.k)
    worst = max((len(crashes[m]) for m in members), default=0)
    since = min((at for m in members for at in crashes[m]), default=None)
    when = f" since {text.clock(since)}" if since is not None else ""
    words = f"crashed {worst} times in {text.seconds(condition.within_s)}, limit {condition.k}{when}"

    def make(state: RuleState, sentence: str, blame: Blame = Blame.RELEASE) -> Finding:
        return Finding(
            rule=rule,
            state=state,
            said=sentence,
            value=float(worst),
            limit=float(condition.k),
            blame=blame,
            machines=looping,
            since=since,
        )

    if not view.cohort:
        return make(RuleState.BLIND, "no machine runs the release")
    if looping and len(looping) >= quorum(rule, view, len(members)):
        alike = sum(len(crashes[m]) >= condition.k for m in others)
        if others and alike * len(members) >= len(looping) * len(others):
            return make(RuleState.FIRING, f"old and new machines alike: {words}: not the release", Blame.EVERYONE)
        return make(RuleState.FIRING, f"{words} on {len(looping)} of {len(members)} machines")
    if looping:
        return make(RuleState.FIRING, f"machine {text.listing(looping)}, not the release: {words}", Blame.MACHINE)
    if worst:
        return make(RuleState.PENDING, words)
    # Time alone only takes crashes out of the window.
    return replace(make(RuleState.CLEAR, f"no crash in {text.seconds(condition.within_s)}"), holds_until=math.inf)


def _crashes(tenure: Tenure, start: float) -> list[float]:
    """When the machine ended unasked, later than ``start`` and on its present digest."""
    return [e.at for e in tenure.exits if not e.requested and e.at >= max(tenure.digest_since, start)]
