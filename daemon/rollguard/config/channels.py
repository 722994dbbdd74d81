"""Whom a policy file tells, and the core channels that come of it."""

from __future__ import annotations

from rollguard.config.complaints import Complaints
from rollguard.config.problems import listed
from rollguard.config.scalars import ChannelOrOff, EnvName, RepoOrOff, Text, Url, UrlOrOff
from rollguard.config.section import Section, doc, need
from rollguard.config.signals import secret
from rollguard.config.yamltext import Path
from rollguard.core import channels as core


class PagerDuty(Section):
    """A PagerDuty service, by its Events v2 integration."""

    routing_key_env: EnvName | None = doc("Environment variable that holds the routing key.")
    routing_key_file: Text | None = doc("File that holds the routing key.")
    url: Url = doc("Where events go.", default="https://events.pagerduty.com/v2/enqueue")
    change_url: UrlOrOff = doc(
        "Where change events go, such as deploys and rollbacks. Empty: nowhere.",
        default="https://events.pagerduty.com/v2/change/enqueue",
    )


class Webhook(Section):
    """A signed webhook, with Standard Webhooks headers."""

    url: Url = need("Where pages go.")
    secret_env: EnvName | None = doc("Environment variable that holds the signing secret.")
    secret_file: Text | None = doc("File that holds the signing secret.")


class Slack(Section):
    """A Slack bot: one message an incident, the rest in its thread."""

    token_env: EnvName | None = doc("Environment variable that holds the bot's token.")
    token_file: Text | None = doc("File that holds the bot's token.")
    channel: ChannelOrOff = need("Channel, such as `#engineering`. Empty: off.")
    url: Url = doc("Slack's Web API.", default="https://slack.com/api")


class GitHubIssue(Section):
    """Issues in a GitHub repository: one per problem, one per post-mortem."""

    token_env: EnvName | None = doc("Environment variable that holds the token.")
    token_file: Text | None = doc("File that holds the token.")
    repo: RepoOrOff = need("Repository, `owner/name`. Empty: off.")
    labels: tuple[Text, ...] = doc("Labels of the issues; open ones with these labels are adopted.", default=())
    url: Url = doc("GitHub's REST API.", default="https://api.github.com")


class Channel(Section):
    """One way to reach a person: `pagerduty`, `slack`, `github_issue` or `webhook`."""

    pagerduty: PagerDuty | None = doc("A PagerDuty service.")
    slack: Slack | None = doc("A Slack bot.")
    github_issue: GitHubIssue | None = doc("Issues in a GitHub repository.")
    webhook: Webhook | None = doc("A signed webhook.")


class Notify(Section):
    """Whom to tell."""

    page: tuple[Channel, ...] = doc("Who is woken; all of them.", default=())
    tell: tuple[Channel, ...] = doc("Where the team reads along.", default=())
    record: tuple[Channel, ...] = doc("Where it is kept.", default=())


KINDS = ("pagerduty", "slack", "github_issue", "webhook")


def to_channels(written: tuple[Channel, ...], group: str, complaints: Complaints) -> tuple[core.Channel, ...]:
    """The channels of ``notify.GROUP`` that are sound and not off."""
    found = (_channel(one, ("notify", group, index), complaints) for index, one in enumerate(written))
    return tuple(channel for channel in found if channel is not None)


def _channel(one: Channel, path: Path, complaints: Complaints) -> core.Channel | None:
    given = [kind for kind in KINDS if getattr(one, kind) is not None]
    if len(given) != 1:
        complaints.value(path, f"a channel is exactly one of {listed(KINDS)}")
        return None
    within = (*path, given[0])
    if (duty := one.pagerduty) is not None:
        key = secret("routing_key", duty.routing_key_env, duty.routing_key_file, within, complaints)
        return core.PagerDuty(routing_key=key, url=duty.url, change_url=duty.change_url) if key else None
    if (slack := one.slack) is not None:
        token = secret("token", slack.token_env, slack.token_file, within, complaints)
        return core.Slack(token=token, channel=slack.channel, url=slack.url) if token and slack.channel else None
    if (hub := one.github_issue) is not None:
        token = secret("token", hub.token_env, hub.token_file, within, complaints)
        issue = core.GitHubIssue(token=token, repo=hub.repo, labels=hub.labels, url=hub.url) if token else None
        return issue if hub.repo else None
    hook = one.webhook
    assert hook is not None
    signing = secret("secret", hook.secret_env, hook.secret_file, within, complaints)
    return core.Webhook(url=hook.url, secret=signing) if signing else None
