"""The guard's policy in the soak: the example's intervals and values, with fewer signals."""

from __future__ import annotations

from rollguard.core.policy import (
    Action,
    Crashed,
    Failing,
    Interlocks,
    Migration,
    Policy,
    Quorum,
    Ratio,
    Rollback,
    Rule,
    Target,
    Verify,
)
from rollguard.core.signals import HttpSignal, Matcher, PlatformSignal, Scope, ScrapeSignal, SecretRef, Selector, Signal
from tests.simulation.soak.drawn import Drawn
from tests.simulation.stage import APP

URL = f"https://{APP}.fly.dev/"
METRICS = f'https://metrics.test/prometheus/hotdash/federate?match[]={{app="{APP}"}}'


def policy_of(drawn: Drawn) -> Policy:
    """The example's intervals and values, with fewer signals: every machine and the edge, the platform, the traffic."""
    home = HttpSignal(
        name="home",
        every_s=5.0,
        url=URL,
        scopes=frozenset({Scope.MACHINE, Scope.EDGE}),
        timeout_s=2.0,
        ok_status=frozenset({200}),
    )
    signals: list[Signal] = [home, PlatformSignal(name="machines", every_s=5.0)]
    rules = [
        Rule(
            name="not-responding",
            condition=Failing(signal="home", k=3),
            then=Action.ROLLBACK,
            quorum=Quorum(machines=0.5, or_edge=True),
        ),
        Rule(
            name="crash-loop",
            condition=Crashed(signal="machines", k=2, within_s=300.0),
            then=Action.ROLLBACK,
            quorum=Quorum(machines=0.5),
        ),
    ]
    if drawn.traffic:
        responses = Selector(name="fly_app_http_responses_count", matchers=(Matcher("app", "=", APP),))
        errors = Selector(name=responses.name, matchers=(*responses.matchers, Matcher("status", "=~", "5..")))
        counters = {"errors": errors, "requests": responses}
        signals.append(ScrapeSignal(name="traffic", every_s=15.0, url=METRICS, timeout_s=10.0, counters=counters))
        ratio = Ratio(
            bad="traffic.errors", total="traffic.requests", over_s=30.0, limit=0.1, above=True, min_count=50, for_s=15.0
        )
        rules.append(Rule(name="errors-blatant", condition=ratio, then=Action.ROLLBACK))
    return Policy(
        target=Target(name=APP, app=APP, token=SecretRef(env="FLY_API_TOKEN")),
        signals=tuple(signals),
        rules=tuple(rules),
        mode=drawn.mode,
        interlocks=Interlocks(
            migration=Migration(label="rollguard.migration", allow=("none", "compatible")),
            control=("https://one.control.test/", "https://two.control.test/") if drawn.control else (),
        ),
        rollback=Rollback(go_on_unclear=drawn.go_on_unclear, restart_sick=drawn.restart_sick),
        verify=Verify(settle_s=300.0, require=("home",)),
    )
