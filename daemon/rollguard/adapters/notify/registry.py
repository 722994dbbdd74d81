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

_WORDS: Mapping[type[Channel], str] = {
    PagerDuty: "pagerduty",
    Slack: "slack",
    GitHubIssue: "github",
    Webhook: "webhook",
}


def channels_of(policy: Policy) -> dict[str, Channel]:
    """Every channel by the outbox's name for it: its kind, and -2, -3 … from the second on; those that page first."""
    seen: Counter[str] = Counter()
    named: dict[str, Channel] = {}
    for channel in (*policy.page, *policy.tell, *policy.record):
        word = _WORDS[type(channel)]
        seen[word] += 1
        named[word if seen[word] == 1 else f"{word}-{seen[word]}"] = channel
    return named


def channel_kinds(policy: Policy) -> dict[str, frozenset[Kind]]:
    """What each channel has a form for."""
    return {name: _kinds(channel) for name, channel in channels_of(policy).items()}


def channel_names(policy: Policy) -> tuple[str, ...]:
    """The names of all channels."""
    return tuple(channels_of(policy))


def build_notifiers(
    policy: Policy, transport: Transport, environ: Mapping[str, str], now: Callable[[], float] = time.time
) -> dict[str, Notifier]:
    """A notifier for each channel of the policy, by name. Reads no secret yet."""
    return {name: _build(name, channel, transport, environ, now) for name, channel in channels_of(policy).items()}


def _kinds(channel: Channel) -> frozenset[Kind]:
    match channel:
        case PagerDuty():
            return pagerduty.kinds_of(channel)
        case Slack():
            return slack.KINDS
        case GitHubIssue():
            return github.KINDS
        case Webhook():
            return webhook.KINDS


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
