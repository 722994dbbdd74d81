"""From the channels of a policy to the notifiers that serve them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from rollguard.adapters.notify import github, pagerduty, slack, webhook
from rollguard.core.channels import Channel, GitHubIssue, PagerDuty, Slack, Webhook
from rollguard.core.pages import Kind
from rollguard.core.policy import Policy
from rollguard.ports import Notifier, Transport

_KINDS: Mapping[type[Channel], tuple[str, frozenset[Kind]]] = {
    PagerDuty: ("pagerduty", pagerduty.KINDS),
    Slack: ("slack", slack.KINDS),
    GitHubIssue: ("github", github.KINDS),
    Webhook: ("webhook", webhook.KINDS),
}


def channels_of(policy: Policy) -> dict[str, Channel]:
    """Every channel by the outbox's name for it: its kind, and -2, -3 … from the second on; those that page first."""
    seen: Counter[str] = Counter()
    named: dict[str, Channel] = {}
    for channel in (*policy.page, *policy.tell, *policy.record):
        kind, _ = _KINDS[type(channel)]
        seen[kind] += 1
        named[kind if seen[kind] == 1 else f"{kind}-{seen[kind]}"] = channel
    return named


def channel_kinds(policy: Policy) -> dict[str, frozenset[Kind]]:
    """What each channel has a form for."""
    return {name: _KINDS[type(channel)][1] for name, channel in channels_of(policy).items()}


def channel_names(policy: Policy) -> tuple[str, ...]:
    """The names of all channels."""
    return tuple(channels_of(policy))


def build_notifiers(
    policy: Policy, transport: Transport, environ: Mapping[str, str], now: Callable[[], float] = time.time
) -> dict[str, Notifier]:
    """A notifier for each channel of the policy, by name. Reads no secret yet."""
    return {name: _build(name, channel, transport, environ, now) for name, channel in channels_of(policy).items()}


def _build(
    name: str, channel: Channel, transport: Transport, environ: Mapping[str, str], now: Callable[[], float]
) -> Notifier:
    match channel:
        case PagerDuty():
            return pagerduty.PagerDutyNotifier(name, channel, transport, environ)
        case Slack():
            return slack.SlackNotifier(name, channel, transport, environ)
        case GitHubIssue():
            return github.GitHubNotifier(name, channel, transport, environ)
        case Webhook():
            return webhook.WebhookNotifier(name, channel, transport, environ, now)
