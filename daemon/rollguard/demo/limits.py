"""How soon the guard must write, read out of the policy in force; two seconds are for writing itself."""

from __future__ import annotations

from rollguard.core.deploys import DEAD_AFTER_S, YOUNG_ROW_S
from rollguard.core.policy import Condition, Crashed, Failing, Policy, Ratio
from rollguard.core.signals import HttpSignal, JsonSignal

SLACK_S = 2.0
BY_COMPARISON_S = 240.0
AGREED_S = 300.0


def by_rate_s(policy: Policy) -> float:
    """The window of the rule over the machines' counters, and one scrape."""
    condition = _condition(policy, "errors-blatant")
    assert isinstance(condition, Ratio)
    scrape = policy.signal(condition.bad.partition(".")[0])
    return condition.over_s + condition.for_s + scrape.every_s + SLACK_S


def by_probe_s(policy: Policy) -> float:
    """As many probes in a row as the rule over the pages asks for, and one probe's timeout."""
    condition = _condition(policy, "pages-fail")
    assert isinstance(condition, Failing)
    probe = policy.signal(condition.signal)
    assert isinstance(probe, HttpSignal | JsonSignal)
    return condition.k * probe.every_s + probe.timeout_s + SLACK_S


def by_crash_s(policy: Policy) -> float:
    """The time within which so many crashes are a loop, and one look at the platform."""
    condition = _condition(policy, "crash-loop")
    assert isinstance(condition, Crashed)
    return condition.within_s + policy.signal(condition.signal).every_s + SLACK_S


def by_report_s(policy: Policy) -> float:
    """The next look at the platform."""
    return policy.platform_every_s + SLACK_S


def by_dead_deploy_s(policy: Policy) -> float:
    """A release row nobody works on any more counts as dead after a while; then as by rate."""
    return YOUNG_ROW_S + DEAD_AFTER_S + by_rate_s(policy)


def by_comparison_s(policy: Policy) -> float:
    """Four minutes: being slower shows in the distribution of many requests, not in one."""
    return BY_COMPARISON_S


def by_consent_s(policy: Policy) -> float:
    """Four minutes until the page, and one for the person."""
    return AGREED_S


def _condition(policy: Policy, name: str) -> Condition:
    return next(rule.condition for rule in policy.rules if rule.name == name)
