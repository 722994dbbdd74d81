"""From signals to sources."""

from __future__ import annotations

from dataclasses import replace

from rollguard.adapters.signals.http import HttpSource
from rollguard.adapters.signals.json import JsonSource
from rollguard.adapters.signals.registry import build_sources
from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import PlatformSignal, SecretRef
from tests.adapters.scripted_transport import ScriptedTransport, says
from tests.adapters.signals_of import http_signal, json_signal, scrape_signal


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
