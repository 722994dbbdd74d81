"""The platform's interfaces without sockets: Machines API, GraphQL and REST behind one `handle`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from rollguard.localfly import graphql_api
from rollguard.localfly.faults import Faults
from rollguard.localfly.machines_api import Call, MachinesApi
from rollguard.localfly.messages import ApiRequest, ApiResponse, as_json, page_not_found, refusal
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.releases_api import ReleasesApi
from rollguard.localfly.watching_api import WatchingApi
from rollguard.localfly.world import World

Handler = Callable[[Call], Awaitable[ApiResponse]]

APP = "/v1/apps/{app}"
MACHINE = APP + "/machines/{machine}"


class Api:
    """Answers as Fly.io would. Time comes from `clock` (epoch seconds); waiting is asyncio's only."""

    def __init__(
        self, world: World, clock: Callable[[], float], *, pulse: Pulse | None = None, faults: Faults | None = None
    ) -> None:
        self._world = world
        self._clock = clock
        self.faults = faults or Faults()
        machines = MachinesApi(world, pulse or Pulse(world), self.faults)
        watching = WatchingApi(world)
        self._for_strangers = (self._graphql, watching.incidents)
        self._routes = _routes(machines, ReleasesApi(world), watching, self._graphql)

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """The answer to any request; never raises for what a client sent."""
        response = await self._answer(request)
        request_id = f"{self._world.ids.ulid(self._clock())}-local"
        return replace(response, headers={**response.headers, "fly-request-id": request_id})

    async def _answer(self, request: ApiRequest) -> ApiResponse:
        found = self._find(request)
        if found is None:
            return page_not_found()
        handler, path = found
        try:
            owner, apps = self._who(request)
            if self.faults.guard_api_delay_s and self.faults.meet(owner):
                await asyncio.sleep(self.faults.guard_api_delay_s)
            if handler not in self._for_strangers:
                self._admit(owner, path.get("app"), apps)
            return await handler(Call(request=request, path=path, owner=owner, apps=apps, now=self._clock()))
        except Refused as refused:
            return refusal(refused)

    def _find(self, request: ApiRequest) -> tuple[Handler, Mapping[str, str]] | None:
        for pattern, handler in self._routes.get(request.method, ()):
            if match := pattern.fullmatch(request.path):
                return handler, match.groupdict()
        return None

    def _who(self, request: ApiRequest) -> tuple[str, frozenset[str]]:
        """The owner of the first known token ("" if none is), and the apps that all of them together may see."""
        credentials = request.headers.get("authorization", "")
        tokens = credentials.removeprefix("Bearer ").removeprefix("FlyV1 ").split(",")
        known = [self._world.tokens[token.strip()] for token in tokens if token.strip() in self._world.tokens]
        if not known:
            return "", frozenset()
        return known[0][0], frozenset[str]().union(*(apps for _, apps in known))

    def _admit(self, owner: str, app: str | None, apps: frozenset[str]) -> None:
        if not owner:
            raise Refused(401, "Authenticate: token validation error")
        if app is None or app in apps:
            return
        if app in self._world.apps:
            raise Refused(403, "unauthorized: token is not for this app")
        raise not_found("app")

    async def _graphql(self, call: Call) -> ApiResponse:
        """GraphQL says no to strangers in its own way."""
        return as_json(graphql_api.answer(self._world, call.request.json(), call.owner, call.apps))


def _routes(
    machines: MachinesApi, releases: ReleasesApi, watching: WatchingApi, graphql: Handler
) -> dict[str, list[tuple[re.Pattern[str], Handler]]]:
    async def nothing(call: Call) -> ApiResponse:
        return as_json([])

    async def no_addresses(call: Call) -> ApiResponse:
        return as_json({"ips": []})

    table: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/v1/apps", machines.list_apps),
        ("GET", APP, machines.get_app),
        ("GET", APP + "/volumes", nothing),
        ("GET", APP + "/ip_assignments", no_addresses),
        ("GET", APP + "/machines", machines.list_machines),
        ("POST", APP + "/machines", machines.create),
        ("GET", MACHINE, machines.get),
        ("POST", MACHINE, machines.update),
        ("DELETE", MACHINE, machines.destroy),
        ("GET", MACHINE + "/wait", machines.wait),
        ("GET", MACHINE + "/versions", machines.versions),
        ("GET", MACHINE + "/events", machines.events),
        ("GET", MACHINE + "/ps", machines.ps),
        ("GET", MACHINE + "/lease", machines.get_lease),
        ("POST", MACHINE + "/lease", machines.acquire_lease),
        ("DELETE", MACHINE + "/lease", machines.release_lease),
        ("GET", MACHINE + "/metadata", machines.get_metadata),
        ("PUT", MACHINE + "/metadata", machines.patch_metadata),
        ("PATCH", MACHINE + "/metadata", machines.patch_metadata),
        ("POST", MACHINE + "/metadata/{key}", machines.set_metadata_key),
        ("DELETE", MACHINE + "/metadata/{key}", machines.delete_metadata_key),
        ("POST", MACHINE + "/start", machines.start),
        ("POST", MACHINE + "/stop", machines.stop),
        ("POST", MACHINE + "/suspend", machines.suspend),
        ("POST", MACHINE + "/restart", machines.restart),
        ("POST", MACHINE + "/cordon", machines.cordon),
        ("POST", MACHINE + "/uncordon", machines.uncordon),
        ("POST", MACHINE + "/signal", machines.signal),
        ("GET", "/api/v1/apps/{app}/releases", releases.list_releases),
        ("GET", "/api/v1/apps/{app}/releases/current", releases.current),
        ("GET", "/api/v1/releases/all_current", releases.all_current),
        ("POST", "/api/v1/releases", releases.create),
        ("PATCH", "/api/v1/releases/{release}", releases.patch),
        ("GET", "/api/v1/organizations/{org}", releases.organization),
        ("POST", "/api/v1/builds", releases.build),
        ("POST", "/api/v1/builds/finish", releases.build),
        ("GET", "/api/v1/apps/{app}/logs", watching.logs),
        ("GET", "/v1/incidents", watching.incidents),
        ("POST", "/graphql", graphql),
    )
    routes: dict[str, list[tuple[re.Pattern[str], Handler]]] = {}
    for method, template, handler in table:
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
        routes.setdefault(method, []).append((pattern, handler))
    return routes
