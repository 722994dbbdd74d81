"""``notify test``: whether the channels of a policy reach anybody, found out before the night in which they must."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, PROBLEM, Parser, Usage, complain, did_you_mean, with_data, with_output
from rollguard.core import text
from rollguard.core.events import PolicyLoaded

if TYPE_CHECKING:
    from rollguard.adapters.notify.trial import Tried
    from rollguard.core.policy import Policy


def notify(argv: Sequence[str], about: str) -> int:
    """0 every channel was told and told that it is over, 1 one was not, or there is none."""
    parser = Parser("notify", about, "A test opens an alert, a message, an issue, says that it is one, and closes it.")
    parser.add_argument("what", choices=("test",), help="test: one marked message through every channel")
    parser.add_argument("--config", type=Path, metavar="POLICY", help="default: what the guards of --data obeyed last")
    parser.add_argument("--channel", metavar="NAME", help="this one only, as in the log: pagerduty, slack-2 …")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    policies = _policies(args.config, args.data)
    if args.channel is not None:
        _must_be_one(args.channel, policies)
    tried = asyncio.run(_try(policies, args.channel))
    if args.output == "json":
        items = [{"target": t.target, "channel": t.channel, "problem": t.problem, "seconds": t.took_s} for t in tried]
        screen.as_json({"items": items})
    else:
        _show(tried)
    if not tried:
        complain("rollguard: there is no channel: a page would reach nobody")
    return DONE if tried and not any(one.problem for one in tried) else PROBLEM


def _policies(config: Path | None, data: Path) -> tuple[Policy, ...]:
    """What the file or folder says, or what guards obeyed last. Raises ``PolicyError``, ``Usage``, ``JournalError``."""
    from rollguard.config.loader import load_policies

    if config is not None:
        return load_policies(config, os.environ)
    found: list[Policy] = []
    for target in asking.known_targets(data):
        loaded = [e.event.path for e in asking.journal(data, target) if isinstance(e.event, PolicyLoaded)]
        if loaded:
            found += [p for p in load_policies(Path(loaded[-1]), os.environ) if p.target.name == target]
    if not found:
        raise Usage(f"rollguard notify: no guard has obeyed a policy with {data} yet: name one with --config")
    return tuple(found)


def _must_be_one(channel: str, policies: Sequence[Policy]) -> None:
    from rollguard.adapters.notify.registry import channel_names

    known = list(dict.fromkeys(name for policy in policies for name in channel_names(policy)))
    if channel not in known:
        have = f"; there is {', '.join(known)}" if known else "; there is none at all"
        raise Usage(f"rollguard notify: no channel {channel!r}{did_you_mean(channel, known)}{have}")


async def _try(policies: Sequence[Policy], only: str | None) -> list[Tried]:
    from rollguard.adapters.http import AiohttpTransport
    from rollguard.adapters.notify.trial import try_channels

    transport = AiohttpTransport()
    try:
        return [one for policy in policies for one in await try_channels(policy, transport, os.environ, only)]
    finally:
        await transport.close()


def _show(tried: Sequence[Tried]) -> None:
    for one in tried:
        if one.problem:
            screen.line(f"{one.target}: {one.channel}: not delivered: {one.problem}", "bad")
        else:
            screen.line(
                f"{one.target}: {one.channel}: told, and told that it is over, in {text.seconds(one.took_s)}", "good"
            )
