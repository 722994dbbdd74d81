"""One test message through every channel: what arrives today also arrives at night."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollguard.adapters.notify.registry import build_notifiers
from rollguard.core import text
from rollguard.core.messages import OPERATIONS
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Policy
from rollguard.errors import GuardError, Unavailable
from rollguard.ports import Notifier, Transport

SEND_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one channel's test. ``problem`` is empty where it was told, and told that it is over."""

    target: str
    channel: str
    problem: str
    took_s: float


async def try_channels(
    policy: Policy, transport: Transport, environ: Mapping[str, str], only: str | None = None
) -> list[Tried]:
    """Tell every channel of the policy, or ``only`` one, something that says that it is a test; then that it is over.

    It opens an alert, a message and an issue as an incident would, at the lowest severity, and closes them again.
    """
    notifiers = build_notifiers(policy, transport, environ)
    chosen = [notifier for name, notifier in notifiers.items() if only in (None, name)]
    return list(await asyncio.gather(*(_try(notifier, policy) for notifier in chosen)))


async def _try(notifier: Notifier, policy: Policy) -> Tried:
    began = time.monotonic()
    page, problem = _page(policy, notifier.name), ""
    try:
        thread = await _send(notifier, page)
    except GuardError as error:
        problem = str(error)
    else:
        over = replace(page, summary=f"{page.target}: TEST over; it needed nothing", at=time.time(), resolve=True)
        try:
            await _send(notifier, over, thread)
        except GuardError as error:
            problem = f"it was told, but not that it is over; close it by hand: {error}"
    took_s = round(time.monotonic() - began, 3)
    return Tried(target=policy.target.name, channel=notifier.name, problem=problem, took_s=took_s)


async def _send(notifier: Notifier, page: Page, thread: str = "") -> str:
    try:
        async with asyncio.timeout(SEND_S):
            return await notifier.send(page, thread)
    except TimeoutError:
        raise Unavailable(f"{notifier.name} did not answer within {SEND_S:g} s") from None


def _page(policy: Policy, channel: str) -> Page:
    target, now = policy.target.name, time.time()
    return Page(
        key=f"rollguard/{target}/test-{text.stamp(now)}-{channel}",
        target=target,
        summary=f"{target}: TEST: rollguard can reach you here. Nothing is wrong, nothing is to be done",
        severity=Severity.INFO,
        at=now,
        details=(("channel", channel), ("policy", policy.path), ("sent by", "rollguard notify test")),
        link=f"{OPERATIONS}#pages-are-not-delivered",
        about="test",
    )
