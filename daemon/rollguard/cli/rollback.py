"""``rollback``: going back by hand, through the running guard or, where there is none, with its own hands."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollguard.app.options import CannotStart, Wanted
from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import (
    DONE,
    PROBLEM,
    USAGE,
    Parser,
    Usage,
    complain,
    did_you_mean,
    version_number,
    with_data,
    with_output,
    with_why,
)
from rollguard.core import text
from rollguard.core.event_json import to_json
from rollguard.core.events import Event, GoalEnded, Recorded
from rollguard.core.finding import Trigger
from rollguard.core.interlocks import TABLE, overridable
from rollguard.core.report import said

if TYPE_CHECKING:
    from rollguard.core.policy import Policy

FOLLOW_S = 0.3
PATIENCE_S = 30.0
"""How long a running guard may take from the intent to its first step, and beyond the deadline to its last."""
OVERRIDES = {lock.name.replace(" ", "-"): lock.name for lock in TABLE if overridable(lock.name, Trigger.MANUAL)}


def rollback(argv: Sequence[str], about: str) -> int:
    """Plan, ask, act, and tell every step; 1 when it was held or did not get to its end."""
    parser = Parser("rollback", about, "Without --yes the word yes is asked for. Ctrl-C stops telling, not the guard.")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("version", nargs="?", type=version_number, metavar="VERSION", help="default: the proven one")
    with_why(parser)
    parser.add_argument(
        "--override", action="append", default=[], metavar="NAME", help=f"an interlock: {', '.join(OVERRIDES)}"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and what would hold it; change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--config", type=Path, metavar="POLICY", help="the policy to act by when no guard is running")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)

    overrides = tuple(_interlock(name) for name in args.override)
    wanted = Wanted(version=args.version, overrides=overrides, by=args.by, reason=args.reason)
    running = _is_running(args)
    if not running and args.config is None:
        raise Usage(f"rollguard rollback: no guard runs with {args.data}: start one, or name the policy with --config")
    try:
        return _through_the_guard(args, wanted) if running else asyncio.run(_alone(args, wanted))
    except KeyboardInterrupt:
        then = "the guard goes on" if running else "what was begun is finished by another try, or by a guard"
        complain(f"\nrollguard: interrupted; {then}: rollguard show")
        raise


def _interlock(word: str) -> str:
    """The interlock that ``--override`` names. Raises ``Usage``."""
    try:
        return OVERRIDES[word.replace(" ", "-")]
    except KeyError:
        known = f"{did_you_mean(word, list(OVERRIDES))}; it takes {', '.join(OVERRIDES)}"
        raise Usage(f"rollguard rollback: --override cannot lift {word!r}{known}") from None


def _is_running(args: argparse.Namespace) -> bool:
    return asking.asked_if_running(args.data, "status", {}) is not None


def _through_the_guard(args: argparse.Namespace, wanted: Wanted) -> int:
    ask = {"target": args.target, **asdict(wanted), "overrides": list(wanted.overrides)}
    code = _settled(asking.asked(args.data, "rollback", ask | {"dry_run": True}, args.by), args)
    if code is not None:
        return code
    seen = asking.journal(args.data, args.target)[-1].seq
    answer = asking.asked(args.data, "rollback", ask, args.by)
    if answer["refusals"]:  # the world moved while a person was asked
        return _held(answer, args)
    return _follow(args, seen)


def _follow(args: argparse.Namespace, seen: int) -> int:
    """Tell what the guard writes down until the rollback has ended, for as long as the guard is there."""
    silent_since = time.monotonic()
    while True:
        fresh = [e for e in asking.journal(args.data, args.target) if e.seq > seen]
        for entry in fresh:
            seen = entry.seq
            silent_since = time.monotonic()
            _tell(entry.event, args.output)
            if isinstance(entry.event, GoalEnded):
                return _end(entry.event, "the guard now verifies it: rollguard show", args.output)
        if time.monotonic() - silent_since > PATIENCE_S and asking.asked_if_running(args.data, "status", {}) is None:
            complain("rollguard: the guard is gone; its next life finishes the rollback, or abandons it and pages")
            return PROBLEM
        time.sleep(FOLLOW_S)


async def _alone(args: argparse.Namespace, wanted: Wanted) -> int:
    """With the journal's lock: what follows is the daemon's own code."""
    from rollguard.app import byhand

    policy = _policy(args)
    ended: list[GoalEnded] = []

    def on_event(entry: Recorded, target: str) -> None:
        _tell(entry.event, args.output)
        if isinstance(entry.event, GoalEnded):
            ended.append(entry.event)

    try:
        if args.dry_run:
            async with byhand.rehearsal(policy, args.data, os.environ) as target:
                complain(f"no guard runs with {args.data}: planned from its journal; nothing is written")
                return _settled(await byhand.plan(target, wanted), args) or DONE
        async with byhand.alone(policy, args.data, os.environ, on_event) as target:
            complain(f"no guard runs with {args.data}: acting by hand, with its journal's lock")
            if target.record.state.goal is not None:
                complain("an earlier rollback was interrupted: bringing that one to its end first")
            else:
                code = _settled(await byhand.plan(target, wanted), args)
                if code is not None:
                    return code
                answer = await byhand.begin(target, wanted)
                if answer["refusals"]:
                    return _held(answer, args)
            await byhand.drive(target)
    except CannotStart as error:
        complain(str(error))
        return USAGE
    return _end(ended[-1], "nobody verifies it: start the guard, it takes this up", args.output)


def _policy(args: argparse.Namespace) -> Policy:
    from rollguard.config.loader import load_policies

    policies = {p.target.name: p for p in load_policies(args.config, os.environ)}
    if args.target not in policies:
        raise Usage(f"rollguard rollback: {args.config} has no target {args.target}; it has {', '.join(policies)}")
    return policies[args.target]


def _settled(plan: dict[str, Any], args: argparse.Namespace) -> int | None:
    """Show the plan and ask. The exit code where that is the end of it, None to go on."""
    if args.output == "json" and (args.dry_run or plan["refusals"]):
        screen.as_json(plan)
    elif args.output == "text":
        _show(plan)
    if plan["refusals"]:
        complain("rollguard: held; nothing was changed")
        return PROBLEM
    if args.dry_run:
        return DONE
    if args.yes or _says_yes(f"roll back {plan['candidate']} to {plan['target']}?"):
        return None
    complain("nothing was changed")
    return PROBLEM


def _show(plan: dict[str, Any]) -> None:
    screen.line(f"from {plan['candidate']} to {plan['target'] or 'nowhere'}")
    if plan["image"]:
        screen.line(f"  image  {plan['image']}")
    for number, step in enumerate(plan["steps"], start=1):
        screen.line(f"  {number}. {step}")
    for refusal in plan["refusals"]:
        able = refusal["name"] in OVERRIDES.values()
        hint = f" (--override {refusal['name'].replace(' ', '-')})" if able else ""
        screen.line(f"  held by {refusal['name']}: {refusal['sentence']}{hint}", "bad")
    for warning in plan["warnings"]:
        screen.line(f"  note: {warning['name']}: {warning['sentence']}", "soon")


def _says_yes(question: str) -> bool:
    print(f"{question} Type yes: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise Usage("\nrollguard rollback: nobody is there to type yes; use --yes")
    return answer.strip() == "yes"


def _held(answer: dict[str, Any], args: argparse.Namespace) -> int:
    if args.output == "json":
        screen.as_json(answer)
    for refusal in answer["refusals"]:
        complain(f"held by {refusal['name']}: {refusal['sentence']}")
    return PROBLEM


def _tell(event: Event, output: str) -> None:
    if output == "json":
        screen.as_line(to_json(event))
    elif words := said(event):
        screen.line(f"{text.clock(event.at)}  {words}")


def _end(ended: GoalEnded, then: str, output: str) -> int:
    if ended.outcome == "restored" and output == "text":
        screen.line(f"done: {ended.sentence}; {then}", "good")
    return DONE if ended.outcome == "restored" else PROBLEM
