"""``rollback``: going back by hand, through the running guard or, where there is none, with its own hands."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rollguard.app.options import CannotStart, Wanted
from rollguard.cli import byhand
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, USAGE, Parser, complain, version_number
from rollguard.core.events import Event, GoalEnded, Recorded


def rollback(argv: Sequence[str], about: str) -> int:
    """Plan, ask, act, and tell every step; 1 when it was held or did not get to its end."""
    parser = Parser("rollback", about, "Without --yes the word yes is asked for. Ctrl-C stops telling, not the guard.")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("version", nargs="?", type=version_number, metavar="VERSION", help="default: the proven one")
    byhand.with_act(parser)
    args = parser.read(argv)

    overrides = byhand.overrides_in(args, "rollback")
    wanted = Wanted(version=args.version, overrides=overrides, by=args.by, reason=args.reason)
    running = byhand.is_running(args, "rollback")
    try:
        return _through_the_guard(args, wanted) if running else asyncio.run(_alone(args, wanted))
    except KeyboardInterrupt:
        then = "the guard goes on" if running else "what was begun is finished by another try, or by a guard"
        complain(f"\nrollguard: interrupted; {then}: rollguard show")
        raise


def _through_the_guard(args: argparse.Namespace, wanted: Wanted) -> int:
    ask = {"target": args.target, **asdict(wanted), "overrides": list(wanted.overrides)}

    def end(event: Event, _: dict[str, Any]) -> int | None:
        verifies = "the guard now verifies it: rollguard show"
        return _end(event, verifies, args.output) if isinstance(event, GoalEnded) else None

    what = "its next life finishes the rollback, or abandons it and pages"
    return byhand.through_the_guard(args, "rollback", ask, _settled, end, what)


async def _alone(args: argparse.Namespace, wanted: Wanted) -> int:
    """With the journal's lock: what follows is the daemon's own code."""
    from rollguard.app import byhand as hands

    policy = byhand.policy_of(args, "rollback")
    ended: list[GoalEnded] = []

    def on_event(entry: Recorded, target: str) -> None:
        byhand.tell(entry.event, args.output)
        if isinstance(entry.event, GoalEnded):
            ended.append(entry.event)

    try:
        if args.dry_run:
            async with hands.rehearsal(policy, args.data, os.environ) as target:
                complain(f"no guard runs with {args.data}: planned from its journal; nothing is written")
                return _settled(await hands.plan(target, wanted), args) or DONE
        async with hands.alone(policy, args.data, os.environ, on_event) as target:
            complain(f"no guard runs with {args.data}: acting by hand, with its journal's lock")
            if target.record.state.drilling is not None:
                complain("a drill was interrupted: what it took away is put back first")
                await hands.finish_drill(target)
            if target.record.state.goal is not None:
                complain("an earlier rollback was interrupted: bringing that one to its end first")
            else:
                code = _settled(await hands.plan(target, wanted), args)
                if code is not None:
                    return code
                answer = await hands.begin(target, wanted)
                if answer["refusals"]:
                    return byhand.held(answer, args)
            await hands.drive(target)
    except CannotStart as error:
        complain(str(error))
        return USAGE
    return _end(ended[-1], "nobody verifies it: start the guard, it takes this up", args.output)


def _settled(plan: dict[str, Any], args: argparse.Namespace) -> int | None:
    return byhand.settled(plan, args, "rollback", f"roll back {plan['candidate']} to {plan['target']}?")


def _end(ended: GoalEnded, then: str, output: str) -> int:
    if ended.outcome == "restored" and output == "text":
        screen.line(f"done: {ended.sentence}; {then}", "good")
    return DONE if ended.outcome == "restored" else PROBLEM
