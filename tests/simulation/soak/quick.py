"""The local platform with what ten thousand seeds do not need left out: it answers the same, and does less for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from rollguard.localfly.api import Api
from rollguard.localfly.effects import Boot
from rollguard.localfly.host import SimulatedHost
from rollguard.localfly.hotdash import HotDash
from rollguard.localfly.http1 import Request
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.routing import Machine, Verdict, choose
from rollguard.localfly.simulated_app import FORCE, Answer, SimulatedApp, _routed

BRIEF_S = 0.9
"""Shorter latencies than that make no difference to any rule of the soak's policy."""
HOME = Request("GET", "/", [])


class QuickApi(Api):
    """Finds its routes by heart, and makes up no request IDs."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._by_heart: dict[tuple[str, str], Any] = {}

    async def handle(self, request: ApiRequest) -> ApiResponse:
        return await self._answer(request)

    def _find(self, request: ApiRequest) -> Any:
        key = request.method, request.path
        if key not in self._by_heart:
            self._by_heart[key] = super()._find(request)
        return self._by_heart[key]

    def limited(self, request: ApiRequest) -> tuple[str, str] | None:
        """By which action and of what the platform counts a request, where it counts it at all."""
        found = self._find(request)
        if found is None or not found[0].action:
            return None
        route, path = found
        return route.action, path.get("machine") or path["app"]


class QuickHost(SimulatedHost):
    """Its apps do not sleep for a brief moment."""

    def _boot(self, boot: Boot) -> HotDash:
        app = super()._boot(boot)
        app._sleep = _unless_brief
        return app


async def _unless_brief(seconds: float) -> None:
    if seconds > BRIEF_S:
        await asyncio.sleep(seconds)


class QuickApp(SimulatedApp):
    """Answers for its home page only, and makes its route table anew only when something changed."""

    _table: list[Machine] | None = None

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        if "/prometheus/" in url:
            return await super().answer(method, url, headers, body)
        answer = await self._proxy(HOME, (headers or {}).get(FORCE))
        if self.crowd.rps:
            self.crowd.seen(answer[0], 0.1)
        return answer

    def _choose(self, forced: str | None) -> Verdict:
        if self._table is None:
            self._table = [_routed(machine) for machine in self._app.present()]
        asked = self._table if forced is None else [m for m in self._table if m.id == forced]
        return choose(asked, self._loads, forced=forced)

    def _changed(self, app: str) -> None:
        self._table = None
        if self.crowd.rps:
            super()._changed(app)
