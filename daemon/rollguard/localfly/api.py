"""The platform's interfaces without sockets: Machines API, GraphQL and REST behind one `handle`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from rollguard.localfly import graphql_api
from rollguard.localfly.access import Access
from rollguard.localfly.api_routes import Route, routes
from rollguard.localfly.fault_table import TABLE
from rollguard.localfly.faults import Faults
from rollguard.localfly.limits import Limits
from rollguard.localfly.machines_api import Call, MachinesApi
from rollguard.localfly.messages import (
    AnswerLost,
    ApiRequest,
    ApiResponse,
    as_json,
    page_not_found,
    refusal,
)
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.refusal import Refused
from rollguard.localfly.releases_api import ReleasesApi
from rollguard.localfly.resources_api import ResourcesApi
from rollguard.localfly.watching_api import WatchingApi
from rollguard.localfly.world import World


class Api:
    """Answers as Fly.io would. Time comes from `clock` (epoch seconds); waiting is asyncio's only."""

    def __init__(
        self, world: World, clock: Callable[[], float], *, pulse: Pulse | None = None, faults: Faults | None = None
    ) -> None:
        self._world = world
        self._clock = clock
        self.faults = faults or Faults()
        self._limits = Limits()
        machines = MachinesApi(world, pulse or Pulse(world), self.faults)
        self._routes = routes(machines, ResourcesApi(world), ReleasesApi(world), WatchingApi(world), self._graphql)

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """The answer to any request, whatever it is. Raises `AnswerLost`, and nothing else, where a fault says so."""
        response = await self._answer(request)
        request_id = f"{self._world.ids.ulid(self._clock())}-local"
        return replace(response, headers={**response.headers, "fly-request-id": request_id})

    async def _answer(self, request: ApiRequest) -> ApiResponse:
        found = self._find(request)
        if found is None:
            return page_not_found()
        route, path = found
        try:
            access = Access.of(request.headers.get("authorization", ""), self._world.tokens)
            if self.faults.guard_api_delay_s and self.faults.meet(access.owner):
                await asyncio.sleep(self.faults.guard_api_delay_s)
            if not route.public:
                access.admit(request.method, path.get("app"), self._world.apps)
            if route.action and self.faults.rate_limits:
                self._limits.take(route.action, path.get("machine") or path["app"], self._clock())
            return await self._carry_out(route, Call(request=request, path=path, access=access, now=self._clock()))
        except Refused as refused:
            return refusal(refused)

    def _find(self, request: ApiRequest) -> tuple[Route, Mapping[str, str]] | None:
        for route in self._routes.get(request.method, ()):
            if match := route.pattern.fullmatch(request.path):
                return route, match.groupdict()
        return None

    async def _carry_out(self, route: Route, call: Call) -> ApiResponse:
        """What the handler answers, or what a fault makes of it."""
        name = route.fault and self.faults.meeting(route.fault, call.path.get("machine", ""), call.owner)
        if not name:
            return await route.handler(call)
        fault = TABLE[route.fault][name]
        says = fault.says
        if fault.acts:
            try:
                response = await route.handler(replace(call, fault=name))
            except Refused as refused:
                response, says = refusal(refused), None  # a refused request has no effect that a fault could hide
        if fault.lost:
            raise AnswerLost(fault.acts)
        answer = says or response
        return replace(answer, body=answer.body[: -max(2, len(answer.body) // 3)]) if fault.cut else answer

    async def _graphql(self, call: Call) -> ApiResponse:
        """GraphQL says no to strangers in its own way."""
        return as_json(graphql_api.answer(self._world, call.request.json(), call.access, call.now))
