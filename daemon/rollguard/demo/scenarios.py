"""What can be shown: a release, what must become of it, and how soon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rollguard.core.policy import Failing, HttpSignal, JsonSignal, Policy, Ratio
from rollguard.demo.referee import FAST, LEFT_ALONE, ONCE, ROLLED_BACK
from rollguard.localfly.images import Behaviour

SLACK_S = 2.0
GOOD = Behaviour(latency_s=0.08)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One show. ``limit_s`` reads out of the policy how soon the guard must write; ``ends_in_s`` bounds all of it."""

    name: str
    about: str
    expected: str
    release: Behaviour
    limit_s: Callable[[Policy], float | None]
    ends_in_s: float
    kills_guard: bool = False
    waits_for_verdict: bool = True

    @property
    def is_bad(self) -> bool:
        """Whether the new release is one to go back from."""
        return self.expected != LEFT_ALONE


def by_rate_s(policy: Policy) -> float:
    """The window of the rule over the machines' counters, and one scrape, and two seconds."""
    rule = next(rule for rule in policy.rules if rule.name == "errors-blatant")
    assert isinstance(rule.condition, Ratio)
    scrape = policy.signal(rule.condition.bad.partition(".")[0])
    return rule.condition.over_s + rule.condition.for_s + scrape.every_s + SLACK_S


def by_probe_s(policy: Policy) -> float:
    """As many probes in a row as the rule over the pages asks for, and one probe's timeout, and two seconds."""
    rule = next(rule for rule in policy.rules if rule.name == "pages-fail")
    assert isinstance(rule.condition, Failing)
    probe = policy.signal(rule.condition.signal)
    assert isinstance(probe, HttpSignal | JsonSignal)
    return rule.condition.k * probe.every_s + probe.timeout_s + SLACK_S


ERRORS = Scenario(
    name="errors",
    about="30 % of the new release's answers are 500; its health checks stay green",
    expected=ROLLED_BACK,
    release=replace(GOOD, error_share=0.3),
    limit_s=by_rate_s,
    ends_in_s=115.0,
)
SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        ERRORS,
        Scenario(
            name="down",
            about="every page of the new release is a 500; its health checks stay green",
            expected=FAST,
            release=replace(GOOD, error_share=1.0),
            limit_s=by_probe_s,
            ends_in_s=115.0,
        ),
        Scenario(
            name="good",
            about="the new release is fine",
            expected=LEFT_ALONE,
            release=replace(GOOD, latency_s=0.07),
            limit_s=lambda policy: None,
            ends_in_s=180.0,
        ),
        replace(
            ERRORS,
            name="killed",
            about="as errors, but the guard is killed in the middle of the rollback and started again",
            expected=ONCE,
            kills_guard=True,
            ends_in_s=180.0,
        ),
    )
}
DEFAULT = ERRORS.name
