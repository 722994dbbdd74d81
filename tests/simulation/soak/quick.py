"""The local platform with what ten thousand seeds do not need left out: it answers the same, and does less for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from selectors import SelectorKey
from typing import Any, Never

from rollguard.engine.lag import Lag
from rollguard.localfly.api import Api
from rollguard.localfly.http1 import Request
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.routing import Load, Machine, Refuse, Serve, Verdict, choose
from rollguard.localfly.simulated_app import FORCE, Answer, SimulatedApp, _routed
from tests.simulation.trouble import MovableClock, Watches
from tests.virtual_time import EPOCH, JumpingSelector, VirtualTimeLoop

BRIEF_S = 0.9
"""Shorter latencies than that make no difference to any rule of the soak's policy."""
HOME = Request("GET", "/", [])


class QuickSelector(JumpingSelector):
    """Never asks the operating system: nothing of a seed is outside this process."""

    def heard(self) -> list[tuple[SelectorKey, int]]:
        return []


def quick_loop() -> VirtualTimeLoop:
    """What a seed is lived through on."""
    return VirtualTimeLoop(QuickSelector)


class NeverLate(Lag):
    """The loop's own time stands still while it works: there is no lateness to be felt by a pulse."""

    async def mind_forever(self) -> Never:
        """Nothing to measure."""
        while True:
            await asyncio.Event().wait()


class QuickClock(MovableClock):
    """Knows its loop."""

    def __init__(self, watches: Watches) -> None:
        super().__init__(watches)
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        return EPOCH + self._loop.time() + self._ahead_s


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


class QuickApp(SimulatedApp):
    """Answers for its home page only, and makes its route table anew only when something changed."""

    _table: list[Machine] | None = None

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        if "/prometheus/" in url:
            return await super().answer(method, url, headers, body)
        return await self._proxy(HOME, (headers or {}).get(FORCE))

    def at_once(self, headers: Mapping[str, str]) -> Answer | None:
        """What the home page answers, where that takes no more than a brief moment; None: it has to be waited for."""
        verdict = self._choose(headers.get(FORCE))
        if isinstance(verdict, Refuse):
            return verdict.status, {}, b""
        inside = self._host.app_of(verdict.machine.id) if isinstance(verdict, Serve) else None
        if inside is None or inside.behaviour.latency_s + inside.behaviour.added_latency_s > BRIEF_S:
            return None
        self._served += 1
        self._loads[verdict.machine.id] = Load(0, self._served)
        share = 1.0 if inside.behaviour.broken_page == HOME.path else inside.behaviour.error_share
        status = 500 if share > 0.0 and inside._dice.random() < share else 200
        if self.crowd.rps:
            self.crowd.answered(verdict.machine.id, verdict.machine.region or "", status, 0.1)
            self.crowd.seen(status, 0.1)
        return status, {}, b""

    def _choose(self, forced: str | None) -> Verdict:
        if self._table is None:
            self._table = [_routed(machine) for machine in self._app.present()]
        asked = self._table if forced is None else [m for m in self._table if m.id == forced]
        return choose(asked, self._loads, forced=forced)

    def _changed(self, app: str) -> None:
        self._table = None
        if self.crowd.rps:
            super()._changed(app)
