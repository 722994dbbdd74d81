"""From the signals of a policy to the sources that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rollguard.adapters.signals.http import HttpSource
from rollguard.adapters.signals.journey import JourneySource
from rollguard.adapters.signals.json import JsonSource
from rollguard.adapters.signals.logs import LogsSource
from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import (
    HttpSignal,
    JourneySignal,
    JsonSignal,
    LogsSignal,
    PrometheusSignal,
    ScrapeSignal,
    Signal,
)
from rollguard.core.support import Hider, typed_in
from rollguard.ports import SignalSource, Transport


def build_sources(policy: Policy, transport: Transport, environ: Mapping[str, str]) -> list[SignalSource]:
    """One source per signal, in the policy's order. A platform signal has none: it is read off the snapshots."""
    hide = Hider(typed_in(policy)).text
    sources = (_source(signal, policy.target, transport, environ, hide) for signal in policy.signals)
    return [source for source in sources if source is not None]


def _source(
    signal: Signal, target: Target, transport: Transport, environ: Mapping[str, str], hide: Callable[[str], str]
) -> SignalSource | None:
    match signal:
        case HttpSignal():
            return HttpSource(signal, transport)
        case JsonSignal():
            return JsonSource(signal, transport)
        case ScrapeSignal():
            return ScrapeSource(signal, transport, environ)
        case PrometheusSignal():
            return PrometheusSource(signal, transport, environ)
        case JourneySignal():
            return JourneySource(signal, transport)
        case LogsSignal():
            return LogsSource(signal, target, transport, environ, hide)
    return None
