"""From signals to sources."""

from __future__ import annotations

from dataclasses import replace

from rollguard.adapters.signals.http import HttpSource
from rollguard.adapters.signals.journey import JourneySource
from rollguard.adapters.signals.json import JsonSource
from rollguard.adapters.signals.logs import LogsSource
from rollguard.adapters.signals.registry import build_sources
from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import JourneySignal, LogsSignal, PlatformSignal, Scope, SecretRef, Step
from tests.adapters.scripted_transport import ScriptedTransport, says
from tests.adapters.signals_of import HandClock, http_signal, json_signal, read, scrape_signal


def test_every_signal_but_the_platform_gets_a_source_in_the_policys_order() -> None:
    signals = (scrape_signal(), PlatformSignal(name="machines", every_s=10.0), json_signal(), http_signal())
    policy = Policy(target=Target(name="shop", app="shop", token=SecretRef(env="T")), signals=signals, rules=())
    sources = build_sources(policy, ScriptedTransport(lambda asked: says({})), {})
    assert [type(source) for source in sources] == [ScrapeSource, JsonSource, HttpSource]
    assert [(source.name, source.every_s) for source in sources] == [
        ("traffic", 15.0),
        ("monitoring", 15.0),
        ("health", 5.0),
    ]
    assert build_sources(replace(policy, signals=()), ScriptedTransport(lambda asked: says({})), {}) == []


def test_a_journey_and_a_log_get_theirs_the_log_with_the_targets_app_and_token() -> None:
    steps = (Step(name="home", url="https://shop.test/"),)
    signals = (
        JourneySignal(name="sign-in", every_s=30.0, scopes=frozenset(Scope), timeout_s=10.0, steps=steps),
        LogsSignal(name="errors", every_s=15.0, timeout_s=5.0, match=("error",)),
    )
    policy = Policy(target=Target(name="shop", app="shop", token=SecretRef(env="T")), signals=signals, rules=())
    transport = ScriptedTransport(lambda asked: says({"data": []}))
    sources = build_sources(policy, transport, {"T": "fo1_abc"})
    assert [type(source) for source in sources] == [JourneySource, LogsSource]
    read(sources[1], HandClock())
    assert transport.asked[0].url == "https://api.fly.io/api/v1/apps/shop/logs"
    assert transport.asked[0].headers["Authorization"] == "Bearer fo1_abc"
