"""What acts by hand have in common: a plan that is shown, a word that is typed, steps that are told as they happen."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, Parser, Usage, complain, did_you_mean, with_data, with_output, with_why
from rollguard.core import text
from rollguard.core.event_json import to_json
from rollguard.core.events import Event
from rollguard.core.finding import Trigger
from rollguard.core.interlocks import TABLE, overridable
from rollguard.core.report import said

if TYPE_CHECKING:
    from rollguard.core.policy import Policy

FOLLOW_S = 0.3
PATIENCE_S = 30.0
"""How long a running guard may take from the intent to its first step, and beyond the deadline to its last."""
OVERRIDES = {lock.name.replace(" ", "-"): lock.name for lock in TABLE if overridable(lock.name, Trigger.MANUAL)}


def with_act(parser: Parser) -> None:
    """What every act that changes the app takes."""
    with_why(parser)
    parser.add_argument(
        "--override", action="append", default=[], metavar="NAME", help=f"an interlock: {', '.join(OVERRIDES)}"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and what would hold it; change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--config", type=Path, metavar="POLICY", help="the policy to act by when no guard is running")
    with_data(parser)
    with_output(parser)


def overrides_in(args: argparse.Namespace, verb: str) -> tuple[str, ...]:
    """The interlocks that ``--override`` names. Raises ``Usage``."""
    return tuple(_interlock(name, verb) for name in args.override)


def _interlock(word: str, verb: str) -> str:
    try:
        return OVERRIDES[word.replace(" ", "-")]
    except KeyError:
        known = f"{did_you_mean(word, list(OVERRIDES))}; it takes {', '.join(OVERRIDES)}"
        raise Usage(f"rollguard {verb}: --override cannot lift {word!r}{known}") from None


def is_running(args: argparse.Namespace, verb: str) -> bool:
    """Whether a guard runs with this data folder. Raises ``Usage`` where there is neither a guard nor a policy."""
    running = asking.asked_if_running(args.data, "status", {}) is not None
    if not running and args.config is None:
        raise Usage(f"rollguard {verb}: no guard runs with {args.data}: start one, or name the policy with --config")
    return running


def policy_of(args: argparse.Namespace, verb: str) -> Policy:
    """The target's policy, out of ``--config``. Raises ``Usage`` and ``PolicyError``."""
    from rollguard.config.loader import load_policies

    policies = {p.target.name: p for p in load_policies(args.config, os.environ)}
    if args.target not in policies:
        raise Usage(f"rollguard {verb}: {args.config} has no target {args.target}; it has {', '.join(policies)}")
    return policies[args.target]


def settled(plan: dict[str, Any], args: argparse.Namespace, verb: str, question: str, word: str = "yes") -> int | None:
    """Show the plan and ask for ``word``. The exit code where that is the end of it, None to go on."""
    if args.output == "json" and (args.dry_run or plan["refusals"]):
        screen.as_json(plan)
    elif args.output == "text":
        _show(plan)
    if plan["refusals"]:
        complain("rollguard: held; nothing was changed")
        return PROBLEM
    if args.dry_run:
        return DONE
    if args.yes or _types(question, word, verb):
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
        hint = f" (--override {refusal['name'].replace(' ', '-')})" if able else HINTS.get(refusal["name"], "")
        screen.line(f"  held by {refusal['name']}: {refusal['sentence']}{hint}", "bad")
    for warning in plan["warnings"]:
        screen.line(f"  note: {warning['name']}: {warning['sentence']}", "soon")


HINTS = {"gap": " (--accept-gap)"}


def _types(question: str, word: str, verb: str) -> bool:
    print(f"{question} Type {word}: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise Usage(f"\nrollguard {verb}: nobody is there to type {word}; use --yes")
    return answer.strip() == word


def held(answer: dict[str, Any], args: argparse.Namespace) -> int:
    """What kept a running guard from acting, after all."""
    if args.output == "json":
        screen.as_json(answer)
    for refusal in answer["refusals"]:
        complain(f"held by {refusal['name']}: {refusal['sentence']}")
    return PROBLEM


def through_the_guard(
    args: argparse.Namespace,
    verb: str,
    ask: dict[str, Any],
    settled: Callable[[dict[str, Any], argparse.Namespace], int | None],
    end: Callable[[Event, dict[str, Any]], int | None],
    what: str,
) -> int:
    """Plan, ask, let the running guard act, and tell its steps until ``end`` has an exit code for one.

    ``end`` also gets the guard's answer; ``what`` becomes of it where the guard is gone.
    """
    code = settled(asking.asked(args.data, verb, ask | {"dry_run": True}, args.by), args)
    if code is not None:
        return code
    seen = asking.journal(args.data, args.target)[-1].seq
    answer = asking.asked(args.data, verb, ask, args.by)
    if answer["refusals"]:  # the world moved while a person was asked
        return held(answer, args)
    return _follow(args, seen, what, lambda event: end(event, answer))


def _follow(args: argparse.Namespace, seen: int, what: str, end: Callable[[Event], int | None]) -> int:
    """Tell what the guard writes down after ``seen`` until ``end`` has an exit code, as long as the guard is there."""
    silent_since = time.monotonic()
    while True:
        fresh = [e for e in asking.journal(args.data, args.target) if e.seq > seen]
        for entry in fresh:
            seen = entry.seq
            silent_since = time.monotonic()
            tell(entry.event, args.output)
            if (code := end(entry.event)) is not None:
                return code
        if time.monotonic() - silent_since > PATIENCE_S and asking.asked_if_running(args.data, "status", {}) is None:
            complain(f"rollguard: the guard is gone; {what}")
            return PROBLEM
        time.sleep(FOLLOW_S)


def tell(event: Event, output: str) -> None:
    """One event, for people or for programs."""
    if output == "json":
        screen.as_line(to_json(event))
    elif words := said(event):
        screen.line(f"{text.clock(event.at)}  {words}")
