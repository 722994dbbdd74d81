"""``check``: every mistake of policy files at once; with ``--live`` also what the platform says of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, LINT, PROBLEM, USAGE, Parser, with_output
from rollguard.core.policy import Policy
from rollguard.errors import GuardError, PolicyError
from rollguard.ports import Transport


def check(argv: Sequence[str], about: str) -> int:
    """Says what the policies promise.

    0 sound, 2 a file that cannot be obeyed, 3 only warnings; with ``--live`` 1 when the platform says no.
    """
    parser = Parser("check", about, "Exit codes: 0 sound, 1 --live found a problem, 2 bad file, 3 warnings only.")
    parser.add_argument("policies", nargs="+", type=Path, metavar="POLICY", help="files, or folders of them")
    parser.add_argument("--live", action="store_true", help="also try secrets, tokens and targets, read-only")
    with_output(parser)
    args = parser.read(argv)

    from rollguard.config.loader import lints, load_policies
    from rollguard.core.promise import promise

    problems: list[str] = []
    sound: list[Policy] = []
    for path in args.policies:
        try:
            sound += load_policies(path, os.environ)
        except PolicyError as error:
            problems += error.problems
    warnings = [warning for policy in sound for warning in lints(policy)] + asyncio.run(_missing(sound))
    refused, facts, machines = asyncio.run(_live(sound)) if args.live else ([], [], {})
    facts += [sentence for policy in sound for sentence in promise(policy, machines.get(policy.target.name))]
    if args.output == "json":
        screen.as_json({"problems": problems, "live": refused, "warnings": warnings, "facts": facts})
    else:
        _print(problems, refused, warnings, facts)
        if sound and not problems:
            count = f"{len(sound)} {'policies' if len(sound) > 1 else 'policy'}, nothing wrong in the files"
            screen.line(*((f"{count}; but --live found {len(refused)} to mend", "bad") if refused else (count, "good")))
    return USAGE if problems else PROBLEM if refused else LINT if warnings else DONE


def _print(problems: list[str], refused: list[str], warnings: list[str], facts: list[str]) -> None:
    for fact in facts:
        screen.line(fact)
    for kind, found, colour in (("", problems, "bad"), ("", refused, "bad"), ("warning: ", warnings, "soon")):
        for problem in found:
            head, *rest = problem.split("\n")  # the line of the file and the caret below it
            screen.line(f"{kind}{head}", colour)
            for row in rest:
                screen.line(row)


async def _missing(policies: Sequence[Policy]) -> list[str]:
    """Programs that roll back by these policies and are not on this machine, which need not be the guard's own."""
    from rollguard.adapters.http import AiohttpTransport
    from rollguard.app.preflight import unable

    transport, folder = AiohttpTransport(), Path()
    return [why for policy in policies for why in await unable(policy, transport, os.environ, folder, asking=False)]


async def _live(policies: Sequence[Policy]) -> tuple[list[str], list[str], dict[str, int]]:
    """What is wrong with these policies in the world, what was found there, and how many machines each target has.
    Nothing is written.
    """
    from rollguard.adapters.http import AiohttpTransport
    from rollguard.app.preflight import missing_secrets

    problems, facts, machines = missing_secrets(policies, os.environ), [], {}
    transport = AiohttpTransport()
    try:
        for policy in policies:
            try:
                seen, machines[policy.target.name] = await _look(policy, transport, problems)
                facts.append(f"{policy.target.name}: {seen}")
            except GuardError as error:
                problems.append(f"{policy.path}: target {policy.target.name}: {error}")
    finally:
        await transport.close()
    return list(dict.fromkeys(problems)), facts, machines


async def _look(policy: Policy, transport: Transport, problems: list[str]) -> tuple[str, int]:
    """What the platform says of the target, and how many machines it has; to ``problems``, what its signals do not
    answer.
    """
    from rollguard.adapters.clock import SystemClock
    from rollguard.app.preflight import platform_of, unable, unanswered
    from rollguard.core.messages import mix

    clock = SystemClock()
    platform = platform_of(policy, transport, os.environ, clock)
    who = await platform.whoami()
    snapshot = await platform.snapshot()
    problems += [f"{policy.path}: {why}" for why in await unanswered(policy, transport, os.environ, snapshot, clock)]
    problems += await unable(policy, transport, os.environ, Path(), asking=True)
    newest = f", newest release v{snapshot.newest_version}" if snapshot.releases else ""
    count = len(snapshot.managed)
    return f"{who}: {count} machines ({mix(snapshot)}){newest}", count
