"""The draft of a post-mortem in Markdown: what the guard knows is written, what it cannot know is left to fill in.

Whatever an app, a platform or a person wrote stands in code spans on one line: in there no Markdown, no HTML, no link
and no mention is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.budgets import Burn
from rollguard.core.event import Event, Recorded
from rollguard.core.incident_json import findings
from rollguard.core.incident_record import DUE_S, Chronicle, chronicle, page_key
from rollguard.core.lifecycle import Incident
from rollguard.core.messages import OPERATIONS, by_digest
from rollguard.core.pages import Kind, Page, Severity
from rollguard.core.policy import Compared, Failing, Gauge, Policy, Probes, Quantile, Ratio
from rollguard.core.report import told

ABOUT = "post-mortem"
SECTION = "the-record-of-an-incident"
ROWS_MAX = 400
PAGE_ROWS_MAX = 80
CHARS_MAX = 40_000
"""Of a draft in a page: an issue may have 65,536, and an entry of the journal a million once it is escaped."""

_LINK = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_QUIET = (ev.PageSent, ev.StepIntended)


def follow_ups(
    policy: Policy, incident: Incident, recorded: Sequence[Recorded], ending: Sequence[Event], now: float
) -> list[Page]:
    """The page about the post-mortem that goes with the events that end the guard's part; one an incident.

    ``recorded`` is what happened before ``ending``.
    """
    if incident.goal is None or ABOUT in incident.said:
        return []
    target, seq = policy.target.name, recorded[-1].seq if recorded else 0
    whole = [*recorded, *(Recorded(seq + number, event) for number, event in enumerate(ending, start=1))]
    told_of = chronicle(whole, target, incident.id)
    due_at = now + DUE_S
    return [
        Page(
            key=f"{page_key(target, incident.id)}/{ABOUT}",
            target=target,
            summary=f"{target}: post-mortem of incident {incident.id}, due {text.stamp(due_at)}",
            severity=Severity.INFO,
            at=now,
            details=(
                ("incident", incident.id),
                ("what happened", text.one_line(incident.sentence, 600)),
                ("due", text.stamp(due_at)),
                *([("runbook", policy.runbook)] if policy.runbook else []),
            ),
            link=f"{OPERATIONS}#{SECTION}",
            about=ABOUT,
            kind=Kind.FOLLOW_UP,
            text=_cut(draft_of(policy, told_of, rows_max=PAGE_ROWS_MAX)),
            due_at=due_at,
        )
    ]


def draft_of(policy: Policy, told_of: Chronicle, *, rows_max: int = ROWS_MAX, version: str = "") -> str:
    """The whole draft, its timeline bounded to ``rows_max`` rows: the first and the last."""
    parts = [
        _head(policy, told_of, version),
        _impact(told_of),
        _decisions(policy, told_of),
        _verdicts(told_of),
        _machines(told_of),
        _people(policy, told_of),
        _timeline(told_of, rows_max),
        _TO_FILL_IN,
    ]
    return "\n".join(line for part in parts if part for line in (*part, ""))


def quoted(words: str, chars_max: int = 300) -> str:
    """Foreign words as one code span, also inside a table; a dash where there are none."""
    line = text.one_line(words, chars_max).replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else "–"


def _cut(draft: str) -> str:
    """Whole lines only: half a code span would let its words out."""
    return draft if len(draft) <= CHARS_MAX else f"{draft[:CHARS_MAX].rpartition(chr(10))[0]}\n\n… the rest is cut\n"


def _head(policy: Policy, told_of: Chronicle, version: str) -> list[str]:
    due = text.stamp(told_of.due_at) if told_of.due_at is not None else "24 h after the end"
    runbook = f" Runbook: <{policy.runbook}>" if _LINK.fullmatch(policy.runbook) else ""
    by = f"rollguard {version}" if version else "rollguard"
    return [
        f"# Post-mortem: {quoted(policy.target.name)}, incident {quoted(told_of.incident)}",
        "",
        f"Draft by {by}, from its own record. **Due {due}.**{runbook}",
        "",
        f"{_summary(told_of)}.",
    ]


def _summary(told_of: Chronicle) -> str:
    goal, ended, verified = told_of.goal, told_of.ended, told_of.verified
    candidate = _named(told_of, told_of.candidate)
    if goal is None:
        return f"{candidate}: people were told, and nothing was rolled back"
    to = f"from {candidate} to {_named(told_of, goal.target, goal.target_version)}"
    if ended is None:
        return f"A rollback {to} is under way"
    if ended.outcome != "restored":
        return f"A rollback {to} stopped ({quoted(ended.outcome)}) and was handed over: {quoted(ended.sentence)}"
    if verified is None:
        return f"All machines were rolled back {to}; whether that helped is not known yet"
    return f"All machines were rolled back {to}, verified {quoted(verified.result)}: {quoted(verified.sentence)}"


def _named(told_of: Chronicle, digest: str, version: int | None = None) -> str:
    number = version if version is not None else told_of.versions.get(digest)
    return f"{f'v{number} ' if number is not None else ''}{quoted(text.short(digest))}"


_TURNS = (
    ("first bad sign", "first_sign_at"),
    ("decided", "decided_at"),
    ("first write", "first_write_at"),
    ("all machines restored", "whole_at"),
    ("verified", "verified_at"),
    ("incident closed", "ended_at"),
)


def _impact(told_of: Chronicle) -> list[str]:
    figures = told_of.figures()
    start = figures.first_sign_at
    rows = [(name, getattr(figures, field)) for name, field in _TURNS]
    return [
        "## Impact",
        "",
        "| | UTC | after the first bad sign |",
        "|---|---|---|",
        *(f"| {name} | {_when(at)} | {_after(start, at)} |" for name, at in rows),
        "| users affected | | to fill in |",
    ]


def _when(at: float | None) -> str:
    return text.stamp(at) if at is not None else "–"


def _after(start: float | None, at: float | None) -> str:
    return text.seconds(at - start) if start is not None and at is not None and at > start else "–"


def _decisions(policy: Policy, told_of: Chronicle) -> list[str]:
    lines = ["## What was decided, and why"]
    for decision in told_of.decisions[-10:]:
        lines += ["", f"{text.stamp(decision.at)}: {quoted(decision.decision)} ({quoted(decision.trigger)})."]
        lines += [f"It said: {quoted(decision.sentence)}", ""]
        lines += _numbers(policy, told_of, decision)
        lines += [f"* held by {quoted(line)}" for line in decision.refusals[:20]]
        lines += [f"* noted: {quoted(line)}" for line in decision.warnings[:20]]
    return lines if told_of.decisions else []


def _numbers(policy: Policy, told_of: Chronicle, decision: ev.Decided) -> list[str]:
    found = findings(policy, told_of, decision)[:20]
    if not found:
        return []
    rows = [
        f"| {quoted(f['rule'], 64)} | "
        + " | ".join(_number(policy, f["rule"], f[key]) for key in ("value", "limit", "baseline"))
        + f" | {f['since'] or '–'} | {quoted(f['sentence'])} |"
        for f in found
    ]
    return ["| rule | value | limit | baseline | since | it said |", "|---|---|---|---|---|---|", *rows, ""]


def _number(policy: Policy, rule: str, value: float | None) -> str:
    """As people read it, by what the rule measures."""
    if value is None:
        return "–"
    condition = next((r.condition for r in policy.rules if r.name == rule), None)
    match condition.of if isinstance(condition, Compared) else condition:
        case Burn() | Ratio() | Probes():
            return text.percent(value)
        case Quantile() | Gauge():
            return text.seconds(value)
        case Failing():
            return f"{value:g} in a row"
        case _:
            return f"{value:g}"


def _verdicts(told_of: Chronicle) -> list[str]:
    found = (("the first machine", told_of.first), ("the restored release", told_of.verified))
    rows = [f"* {what}: {quoted(e.result)}, {quoted(e.sentence)}" for what, e in found if e is not None]
    return ["## What it showed", "", *rows] if rows else []


def _machines(told_of: Chronicle) -> list[str]:
    machines = told_of.machines()
    rows = [
        f"| {quoted(m.id, 40)} | {quoted(m.before, 40)} | {quoted(m.after, 40)} | {m.state} | {quoted(m.error, 160)} |"
        for m in machines[:50]
    ]
    more = [f"\n{len(machines) - 50} more in `incident.json`."] if len(machines) > 50 else []
    head = [
        "## Machines",
        "",
        "| machine | instance before | instance after | state | error |",
        "|---|---|---|---|---|",
    ]
    return [*head, *rows, *more] if rows else []


_HANDS = (ev.Reported, ev.PauseSet, ev.PauseLifted, ev.HoldSet, ev.ApprovalEnded, ev.GoalSet)


def _people(policy: Policy, told_of: Chronicle) -> list[str]:
    """What people did, and the command that does by hand what the guard did."""
    did = [e.event for e in told_of.entries if isinstance(e.event, _HANDS)]
    lines = [f"* {text.stamp(e.at)}: {quoted(told(e))}" for e in did if e.by not in {"", "rollguard"}][-20:]
    goal = told_of.goal
    if goal is not None:
        image = by_digest(goal.target_ref, goal.target)
        command = f"flyctl deploy --app {policy.target.app} --image {image} --skip-release-command"
        lines.append(f"* The same by hand: {quoted(command)}")
    return ["## By hand", "", *lines] if lines else []


def _timeline(told_of: Chronicle, rows_max: int) -> list[str]:
    events = [(e.event.at, told(e.event)) for e in told_of.entries if not isinstance(e.event, _QUIET)]
    rows = [f"| {text.stamp(at)} | {quoted(words, 240)} |" for at, words in events if words]
    if len(rows) > rows_max:
        head = rows_max // 2
        tail = rows_max - head
        left_out = f"| … | {len(rows) - rows_max} more, see `incident.json` |"
        rows = [*rows[:head], left_out, *rows[len(rows) - tail :]]
    return ["## Timeline", "", "| UTC | what |", "|---|---|", *rows]


_TO_FILL_IN = [
    "## To fill in",
    "",
    "### Root cause",
    "",
    "What was wrong with the release, and why no test showed it.",
    "",
    "### Prevention",
    "",
    "* [ ] What would have kept it from production",
    "* [ ] What would have shown it sooner",
    "",
    "### Runbook and policy",
    "",
    "* [ ] What the runbook should say from now on",
    "* [ ] Which limits were too tight, too loose, or missing",
]
