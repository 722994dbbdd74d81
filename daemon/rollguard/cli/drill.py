"""``drill``: a rollback rehearsed, there and back, through the running guard or with its own hands."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rollguard.app.options import CannotStart
from rollguard.cli import byhand
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, USAGE, Parser, complain, version_number
from rollguard.core.events import DrillEnded, Event, Recorded
from rollguard.core.rehearsal import Wish


def drill(argv: Sequence[str], about: str) -> int:
    """Plan, ask, go there and back, and tell every step; 1 when it was held or did not go as it must."""
    parser = Parser("drill", about, "One machine by default. Ctrl-C stops telling, not the guard; hold calls it back.")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("version", nargs="?", type=version_number, metavar="VERSION", help="default: the proven one")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--machine", metavar="ID", help="with this machine (default: the last healthy one that serves)")
    which.add_argument("--all", action="store_true", help="the whole app, machine by machine under the floor, and back")
    parser.add_argument("--accept-gap", action="store_true", help="where a group has one machine, which will be down")
    byhand.with_act(parser)
    args = parser.read(argv)

    wish = Wish(
        version=args.version,
        machine=args.machine,
        whole=args.all,
        accept_gap=args.accept_gap,
        overrides=byhand.overrides_in(args, "drill"),
    )
    running = byhand.is_running(args, "drill")
    try:
        return _through_the_guard(args, wish) if running else asyncio.run(_alone(args, wish))
    except KeyboardInterrupt:
        then = "the guard goes on" if running else "a guard, or another drill, puts back what is away"
        complain(f"\nrollguard: interrupted; {then}: rollguard status")
        raise


def _through_the_guard(args: argparse.Namespace, wish: Wish) -> int:
    ask = {"target": args.target, "reason": args.reason, **asdict(wish), "overrides": list(wish.overrides)}

    def end(event: Event, answer: dict[str, Any]) -> int | None:
        return _end(event, args.output) if isinstance(event, DrillEnded) and event.drill == answer["drill"] else None

    what = "its next life puts back what the drill took away, or pages"
    return byhand.through_the_guard(args, "drill", ask, _settled, end, what)


async def _alone(args: argparse.Namespace, wish: Wish) -> int:
    """With the journal's lock: what follows is the daemon's own code."""
    from rollguard.app import byhand as hands

    policy = byhand.policy_of(args, "drill")
    ended: list[DrillEnded] = []

    def on_event(entry: Recorded, target: str) -> None:
        byhand.tell(entry.event, args.output)
        if isinstance(entry.event, DrillEnded):
            ended.append(entry.event)

    try:
        if args.dry_run:
            async with hands.rehearsal(policy, args.data, os.environ) as target:
                complain(f"no guard runs with {args.data}: planned from its journal; nothing is written")
                return _settled(await hands.drill(target, wish, args.by, args.reason, dry_run=True), args) or DONE
        async with hands.alone(policy, args.data, os.environ, on_event) as target:
            complain(f"no guard runs with {args.data}: acting by hand, with its journal's lock")
            if target.record.state.drilling is not None:
                complain("an earlier drill was interrupted: what it took away is put back, and that is all")
            else:
                code = _settled(await hands.drill(target, wish, args.by, args.reason, dry_run=True), args)
                if code is not None:
                    return code
                answer = await hands.drill(target, wish, args.by, args.reason, dry_run=False)
                if answer["refusals"]:
                    return byhand.held(answer, args)
            await hands.finish_drill(target)
    except CannotStart as error:
        complain(str(error))
        return USAGE
    return _end(ended[-1], args.output)


def _settled(plan: dict[str, Any], args: argparse.Namespace) -> int | None:
    which = "all machines" if args.all else f"machine {', '.join(plan['machines'])}"
    question = f"take {which} from {plan['candidate']} to {plan['target']} and back?"
    return byhand.settled(plan, args, "drill", question, plan["typed"])


def _end(ended: DrillEnded, output: str) -> int:
    if ended.result == "ok" and output == "text":
        screen.line(f"done: a rollback works: {ended.sentence}", "good")
    return DONE if ended.result == "ok" else PROBLEM
