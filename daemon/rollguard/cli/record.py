"""``record``: save what the signals of a target say, whether a guard runs or not; reads only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, Parser, Usage, complain, with_data, with_output
from rollguard.core import text
from rollguard.core.events import PolicyLoaded
from rollguard.core.policy import Policy

if TYPE_CHECKING:
    from rollguard.app.recorder import Saved


def record(argv: Sequence[str], about: str) -> int:
    """0 saved, 1 nothing could be read."""
    parser = Parser("record", about, "The file is for adopt --baseline, and for looking into: one JSON object a line.")
    parser.add_argument("target", metavar="TARGET|POLICY", help="a policy file, or a target that a guard has guarded")
    parser.add_argument("--for", dest="for_", required=True, metavar="TIME", help="how long, such as 30m")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)

    from rollguard.app.recorder import FOR_S_MAX

    for_s = _seconds(args.for_)
    if for_s > FOR_S_MAX:
        raise Usage(f"rollguard record: --for is at most {text.seconds(FOR_S_MAX)}")
    policy = _policy(args.target, args.data)
    saved = asyncio.run(_record(policy, args.out, for_s))
    answer = {"target": policy.target.name, "file": str(args.out), "readings": saved.readings, "gaps": saved.gaps}
    if args.output == "json":
        screen.as_json({**answer, "machines": saved.machines, "full": saved.full})
    else:
        missed = f", {saved.gaps} of them gaps" if saved.gaps else ""
        screen.line(f"{saved.readings} readings of {saved.machines} machines{missed}: {args.out}")
    if saved.full:
        complain(f"rollguard: {args.out} is as large as a recording may be; the rest was not saved")
    return DONE if saved.readings > saved.gaps else PROBLEM


def _policy(named: str, data: Path) -> Policy:
    """The policy in that file, or the one that the target's guard obeyed last. Raises ``PolicyError``, ``Usage``."""
    from rollguard.config.loader import load_policies

    path = Path(named)
    if path.is_file():
        found = load_policies(path, os.environ)
        return found[0]
    target = asking.one_target(data, named)
    loaded = [e.event for e in asking.journal(data, target) if isinstance(e.event, PolicyLoaded)]
    if not loaded:
        raise Usage(f"rollguard record: no guard has obeyed a policy of {target} yet: name the policy file")
    for policy in load_policies(Path(loaded[-1].path), os.environ):
        if policy.target.name == target:
            return policy
    raise Usage(f"rollguard record: {loaded[-1].path} is no policy of {target} any more: name the policy file")


async def _record(policy: Policy, out: Path, for_s: float) -> Saved:
    from rollguard.adapters.http import AiohttpTransport
    from rollguard.app.recorder import record_target

    transport = AiohttpTransport()
    try:
        return await record_target(policy, transport, os.environ, out, for_s)
    finally:
        await transport.close()


def _seconds(words: str) -> float:
    from rollguard.config.problems import Wrong
    from rollguard.config.quantity import duration_s

    try:
        return duration_s(words)
    except Wrong as wrong:
        raise Usage(f"rollguard record: --for {wrong}") from wrong
