"""From a policy's executor to the delegate that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollguard.adapters.executors.command import command
from rollguard.adapters.executors.flyctl import flyctl
from rollguard.adapters.executors.github import GitHubDelegate
from rollguard.core.executors import Command, Flyctl, Machines, Workflow
from rollguard.core.policy import Policy
from rollguard.ports import Clock, Delegate, Transport

FOLDER = "executors"
"""Inside the data folder: what programs printed, and how they ended."""


def build_delegate(
    policy: Policy, transport: Transport, environ: Mapping[str, str], clock: Clock, data: Path
) -> Delegate | None:
    """Who rolls back by this policy, or None where the guard does it itself. Reads no secret yet, writes nothing."""
    root = data / FOLDER / policy.target.name
    match settings := policy.rollback.executor:
        case Machines():
            return None
        case Flyctl():
            return flyctl(settings, policy, environ, root)
        case Command():
            return command(settings, environ, root)
        case Workflow():
            return GitHubDelegate(settings, transport, environ, clock)
