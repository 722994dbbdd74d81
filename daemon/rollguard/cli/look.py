"""``status``, ``history``, ``show``, ``explain``: looking changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollguard.adapters.artifacts import find
from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, Parser, Usage, complain, with_data, with_output
from rollguard.core import text
from rollguard.core.event_json import to_json
from rollguard.core.events import Decided, Event, GoalEnded, IncidentClosed, IncidentOpened, Recorded, Verified
from rollguard.core.explain import explain_incident
from rollguard.core.incident_record import folder_name
from rollguard.core.report import story


def status(argv: Sequence[str], about: str) -> int:
    """The targets as objects; 1 when a target is not healthy or not seen."""
    parser = Parser("status", about, "Exit code 1 when a target is unhealthy, blind, or nobody guards it.")
    parser.add_argument("target", nargs="?", metavar="TARGET")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    items = asking.objects(args.data, args.target)
    if args.output == "json":
        screen.as_json({"apiVersion": "rollguard/v1", "kind": "TargetList", "items": items})
    else:
        for item in items:
            screen.target(item)
    return DONE if all(_is_well(item) for item in items) else PROBLEM


def _is_well(item: dict[str, Any]) -> bool:
    found = {c["type"]: c["status"] for c in item["status"]["conditions"]}
    return found.get("Observed") == "True" and found.get("Healthy") == "True"


def history(argv: Sequence[str], about: str) -> int:
    """Events of a target, oldest first; one JSON document a line for programs."""
    parser = Parser("history", about)
    parser.add_argument("target", nargs="?", metavar="TARGET")
    parser.add_argument("--all", action="store_true", help="every event, not only what people care about")
    parser.add_argument("--last", type=int, default=50, metavar="N", help="at most so many (50)")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    if args.last < 1:
        raise Usage("rollguard history: --last needs a number above 0")
    recorded = asking.journal(args.data, asking.one_target(args.data, args.target))
    if args.output == "json":
        for entry in recorded[-args.last :]:
            screen.as_line({"seq": entry.seq, **to_json(entry.event)})
        return DONE
    from rollguard.telemetry.sentences import said

    shown = [e for e in recorded if args.all or type(e.event).__name__ not in NOISE][-args.last :]
    for entry in shown:
        screen.line(f"{text.stamp(entry.event.at)}  {said(entry.event)[1]}")
    return DONE


NOISE = frozenset({"StepIntended", "PageQueued", "PageSent", "TickFailed", "RuleChanged", "GuardStarted"})


def show(argv: Sequence[str], about: str) -> int:
    """An incident; without a name the newest one."""
    parser = Parser("show", about)
    parser.add_argument("incident", nargs="?", metavar="INCIDENT", help="as in pages and history (default: the newest)")
    parser.add_argument("--target", metavar="TARGET")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    targets = [asking.one_target(args.data, args.target)] if args.target else asking.known_targets(args.data)
    for target in targets or [asking.one_target(args.data, None)]:
        recorded = asking.journal(args.data, target)
        name = args.incident or _newest_incident(recorded)
        mine = [e for e in recorded if name and getattr(e.event, "incident", None) == name]
        if mine:
            _show(target, name, mine, recorded, args)
            return DONE
    complain(f"rollguard: no incident {args.incident}" if args.incident else "rollguard: no incident so far")
    return PROBLEM


def _newest_incident(recorded: Sequence[Recorded]) -> str:
    opened = [e.event.incident for e in recorded if isinstance(e.event, IncidentOpened)]
    return opened[-1] if opened else ""


def _show(target: str, name: str, mine: list[Recorded], recorded: list[Recorded], args: Any) -> None:
    events = [e.event for e in mine]
    folder = _artifacts(args.data, target, events)
    if args.output == "json":
        ends = [e.outcome for e in events if isinstance(e, IncidentClosed)]
        document = {"target": target, "incident": name, "outcome": ends[-1] if ends else None, "artifacts": folder}
        screen.as_json({**document, "events": [to_json(e) for e in events]})
        return
    screen.line(f"incident {name} of {target}")
    for line in story(events):
        screen.line(line)
    if not any(isinstance(e, GoalEnded | Verified | IncidentClosed) for e in events):
        screen.line("  it is not over")
    if any(isinstance(e, Decided) for e in events):
        screen.line("why:")
        for line in explain_incident(recorded, name):
            screen.line(f"  {line}")
    if folder is not None:
        screen.line(f"artifacts: {folder}")


def _artifacts(data: Path, target: str, events: Sequence[Event]) -> str | None:
    """Where the record of an incident is, if there is one."""
    opened = next((e.at for e in events if isinstance(e, IncidentOpened)), None)
    folder = find(data, folder_name(opened, target)) if opened is not None else None
    return str(folder) if folder is not None else None


def explain(argv: Sequence[str], about: str) -> int:
    """The decision tree of a running guard, or what an incident's decisions rested on."""
    parser = Parser("explain", about, "Without a running guard, or with --incident, past decisions are read.")
    parser.add_argument("target", nargs="?", metavar="TARGET")
    parser.add_argument("rule", nargs="?", metavar="RULE", help="one rule alone")
    parser.add_argument("--incident", metavar="INCIDENT", help="a past decision instead of this instant")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    answer = None
    if args.incident is None:
        answer = asking.asked_if_running(args.data, "explain", {"target": args.target, "rule": args.rule})
    if answer is not None:
        lines = answer.pop("lines")
        if args.output == "json":
            screen.as_json(answer)
        else:
            for line in lines:
                screen.line(line)
        return DONE
    return _explain_past(args)


def _explain_past(args: Any) -> int:
    target = asking.one_target(args.data, args.target)
    recorded = asking.journal(args.data, target)
    name = args.incident or _newest_incident(recorded)
    if args.incident is None:
        complain(f"{asking.FROM_JOURNAL}, the newest decision")
    lines = explain_incident(recorded, name)
    if args.output == "json":
        screen.as_json({"target": target, "incident": name, "lines": lines})
    else:
        for line in lines:
            screen.line(line)
    if not lines:
        complain(f"rollguard: no incident {name}" if name else "rollguard: nothing was ever decided")
    return DONE if lines else PROBLEM
