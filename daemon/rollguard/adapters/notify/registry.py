"""From the channels of a policy to the notifiers that serve them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from rollguard.adapters.notify.pagerduty import PagerDutyNotifier
from rollguard.adapters.notify.webhook import WebhookNotifier
from rollguard.core.channels import Channel, PagerDuty, Webhook
from rollguard.core.policy import Policy
from rollguard.ports import Notifier, Transport


def channel_names(policy: Policy) -> tuple[str, ...]:
    """The outbox's name of each channel in the order of the policy: its kind, and -2, -3 … from the second on."""
    seen: Counter[str] = Counter()
    names = []
    for channel in policy.page:
        kind = _kind(channel)
        seen[kind] += 1
        names.append(kind if seen[kind] == 1 else f"{kind}-{seen[kind]}")
    return tuple(names)


def build_notifiers(
    policy: Policy, transport: Transport, environ: Mapping[str, str], now: Callable[[], float] = time.time
) -> dict[str, Notifier]:
    """A notifier for each channel of the policy, by name. Reads no secret yet."""
    return {
        name: _build(name, channel, transport, environ, now)
        for name, channel in zip(channel_names(policy), policy.page, strict=True)
    }


def _kind(channel: Channel) -> str:
    match channel:
        case PagerDuty():
            return "pagerduty"
        case Webhook():
            return "webhook"


def _build(
    name: str, channel: Channel, transport: Transport, environ: Mapping[str, str], now: Callable[[], float]
) -> Notifier:
    match channel:
        case PagerDuty():
            return PagerDutyNotifier(name, channel, transport, environ)
        case Webhook():
            return WebhookNotifier(name, channel, transport, environ, now)
