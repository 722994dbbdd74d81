"""The ways to reach people, as a policy names them. Secrets are references, never values."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.core.signals import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty:
    """Events v2. ``url`` is the enqueue address; change events go to ``change_url`` (empty: none are sent)."""

    routing_key: SecretRef
    url: str = "https://events.pagerduty.com/v2/enqueue"
    change_url: str = "https://events.pagerduty.com/v2/change/enqueue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """A bot that posts one message an incident to ``channel`` and tells the rest in its thread. ``url``: Web API."""

    token: SecretRef
    channel: str
    url: str = "https://slack.com/api"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubIssue:
    """One issue per problem in ``repo`` (``owner/name``), and one for each post-mortem, with these ``labels``."""

    token: SecretRef
    repo: str
    labels: tuple[str, ...] = ()
    url: str = "https://api.github.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A signed webhook (Standard Webhooks headers)."""

    url: str
    secret: SecretRef


Channel = PagerDuty | Slack | GitHubIssue | Webhook
