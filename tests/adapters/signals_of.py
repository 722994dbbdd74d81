"""Signals, a clock and a round of reading, in few words."""

from __future__ import annotations

import asyncio
from typing import Any

from rollguard.core.model import Reading
from rollguard.core.signals import HttpSignal, JsonSignal, JsonValue, Matcher, Scope, ScrapeSignal, SecretRef, Selector
from rollguard.ports import Fleet, SignalSource

NOON = 1_787_313_600.0
BOTH = frozenset(Scope)


class HandClock:
    """``ports.Clock`` that is moved by hand."""

    def __init__(self, at: float = NOON) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def drift_s(self) -> float:
        return 0.0

    def reanchor(self) -> None:
        """It is always right."""


def http_signal(**but: Any) -> HttpSignal:
    usual: dict[str, Any] = {
        "name": "health",
        "every_s": 5.0,
        "url": "https://shop.test/health",
        "scopes": BOTH,
        "timeout_s": 4.0,
        "ok_status": frozenset({200}),
    }
    return HttpSignal(**usual | but)


def json_signal(*values: JsonValue, **but: Any) -> JsonSignal:
    usual: dict[str, Any] = {
        "name": "monitoring",
        "every_s": 15.0,
        "url": "https://shop.test/api/monitoring/health",
        "scopes": frozenset({Scope.MACHINE}),
        "timeout_s": 5.0,
        "ok_status": frozenset({200, 503}),
    }
    return JsonSignal(values=values, **usual | but)


RESPONSES = Selector("responses", (Matcher("app", "=", "shop"),))
ERRORS = Selector("responses", (Matcher("app", "=", "shop"), Matcher("status", "=~", "5..")))
SECONDS = Selector("seconds_bucket", (Matcher("app", "=", "shop"),))


def scrape_signal(**but: Any) -> ScrapeSignal:
    usual: dict[str, Any] = {
        "name": "traffic",
        "every_s": 15.0,
        "url": 'https://prom.test/federate?match[]={app="shop"}',
        "timeout_s": 10.0,
        "counters": {"errors": ERRORS, "requests": RESPONSES},
        "token": SecretRef(env="METRICS_TOKEN"),
    }
    return ScrapeSignal(**usual | but)


def read(source: SignalSource, clock: HandClock, *started: str) -> list[Reading]:
    """One round."""
    return list(asyncio.run(_read(source, clock, started)))


async def _read(source: SignalSource, clock: HandClock, started: tuple[str, ...]) -> Any:
    return await source.read(Fleet(started), clock)
