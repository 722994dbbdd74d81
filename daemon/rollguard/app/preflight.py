"""What must hold before the guard goes on duty. Looks only; every complaint is a sentence for people."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.executors.registry import build_delegate
from rollguard.adapters.fly.client import FlyClient
from rollguard.adapters.fly.driver import SALT, FlyPlatform
from rollguard.adapters.secrets import read_secret
from rollguard.adapters.signals.registry import build_sources
from rollguard.app.options import journal_path
from rollguard.core.channels import Channel, GitHubIssue, PagerDuty, Slack, Webhook
from rollguard.core.executors import Workflow
from rollguard.core.model import EDGE, GapKind, Reading, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.signals import CountSignal, SecretRef
from rollguard.core.signing import keys_of
from rollguard.errors import GuardError, Refused, Unavailable
from rollguard.ports import Clock, Fleet, Transport

REPORTS = "reports"


def platform_of(
    policy: Policy, transport: Transport, environ: Mapping[str, str], clock: Clock, salt: bytes = SALT
) -> FlyPlatform:
    """The driver of a policy's target. ``salt``: that of the hashes in what it tells of configurations."""
    return FlyPlatform(policy.target.app, FlyClient(transport, policy.target.token, environ), clock, salt)


def missing_secrets(policies: Sequence[Policy], environ: Mapping[str, str]) -> list[str]:
    """A sentence for each secret that a policy names and that is not there, or that is no secret of its own."""
    problems: dict[str, None] = {}
    owners: dict[bytes, str] = {}
    for policy in policies:
        for what, ref in _secrets(policy):
            try:
                secret = read_secret(ref, environ)
                if what == REPORTS:
                    _must_be_its_own(secret, policy.target.name, owners)
            except Refused as error:
                problems[f"{policy.path}: {what}: {error}"] = None
    return list(problems)


def _must_be_its_own(secret: str, target: str, owners: dict[bytes, str]) -> None:
    """A signature names no target: with a common secret a report on one holds for the other. Raises ``Refused``."""
    for key in keys_of(secret):
        owner = owners.setdefault(key, target)
        if owner != target:
            raise Refused(f"it is that of target {owner} too: each target needs its own")


def _secrets(policy: Policy) -> Iterator[tuple[str, SecretRef]]:
    yield f"target {policy.target.name}", policy.target.token
    for signal in policy.signals:
        if isinstance(signal, CountSignal) and signal.token is not None:
            yield f"signal {signal.name}", signal.token
    if isinstance(policy.rollback.executor, Workflow):
        yield policy.rollback.executor.name, policy.rollback.executor.token
    if policy.reports is not None:
        yield REPORTS, policy.reports.token
    for group, channels in (("page", policy.page), ("tell", policy.tell), ("record", policy.record)):
        for channel in channels:
            yield (f"notify.{group} {type(channel).__name__.lower()}", _secret_of(channel))


def _secret_of(channel: Channel) -> SecretRef:
    match channel:
        case PagerDuty():
            return channel.routing_key
        case Webhook():
            return channel.secret
        case Slack() | GitHubIssue():
            return channel.token


async def unable(
    policy: Policy, transport: Transport, environ: Mapping[str, str], data: Path, *, asking: bool
) -> list[str]:
    """Why the executor could take no order now. ``asking``: one asked over the wire, else one on this machine."""
    remote = isinstance(policy.rollback.executor, Workflow)
    delegate = build_delegate(policy, transport, environ, SystemClock(), data)
    why = await delegate.trial() if delegate is not None and remote is asking else ""
    return [f"{policy.path}: rollback.executor {policy.rollback.executor.name}: {why}"] if why else []


async def strangers(
    policies: Sequence[Policy], transport: Transport, environ: Mapping[str, str], data: Path
) -> list[str]:
    """A sentence for each target that its token does not open.

    A platform that cannot be reached is a mistake at the very first start; a guard that knows its target already
    goes on duty all the same: blind, and saying so, is better than absent.
    """
    answers = await asyncio.gather(*(_stranger(p, transport, environ, data) for p in policies))
    return [answer for answer in answers if answer]


async def _stranger(policy: Policy, transport: Transport, environ: Mapping[str, str], data: Path) -> str | None:
    try:
        await platform_of(policy, transport, environ, SystemClock()).whoami()
    except Unavailable as error:
        known = journal_path(data, policy.target.name).is_file()
        return None if known else f"{policy.path}: target {policy.target.name}: {error}"
    except GuardError as error:
        return f"{policy.path}: target {policy.target.name}: {error}"
    return None


async def unanswered(
    policy: Policy, transport: Transport, environ: Mapping[str, str], snapshot: Snapshot, clock: Clock
) -> list[str]:
    """A sentence for each signal that does not answer as its rules need it: asked once, of whoever is started."""
    fleet = Fleet(started=tuple(m.id for m in snapshot.managed if m.started))
    sources = build_sources(policy, transport, environ)
    rounds = await asyncio.gather(*(source.read(fleet, clock) for source in sources))
    return [why for readings in rounds for why in _faults(readings)]


def _faults(readings: Sequence[Reading]) -> list[str]:
    """Of a signal that fails as a whole only that; else of each of its values."""
    found = [(r, why) for r in readings if (why := _fault(r))]
    whole = [why for r, why in found if "." not in r.key]
    return whole or [why for _, why in found]


def _fault(reading: Reading) -> str | None:
    """What is wrong with one reading, or None. No traffic yet is no fault of the policy."""
    if reading.gap in {None, GapKind.NO_TRAFFIC} and reading.value != 0.0:
        return None
    if reading.gap is None and "." in reading.key:
        return None  # a value of 0 is a value
    whom = "the edge" if reading.subject == EDGE else f"machine {reading.subject}"
    return f"signal {reading.key}: {reading.detail or reading.gap} ({whom})"


def unusable_folder(data: Path) -> str | None:
    """Why the data folder cannot hold journals, or None. Makes the folder where there is none."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = data / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return f"cannot write to the data folder {data}: {error.strerror}: choose another with --data"
    return None
