"""Which handler answers which path, what can go wrong with it, and which rate limit holds for it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rollguard.localfly.machines_api import Call, MachinesApi
from rollguard.localfly.messages import ApiResponse
from rollguard.localfly.releases_api import ReleasesApi
from rollguard.localfly.resources_api import ResourcesApi
from rollguard.localfly.watching_api import WatchingApi

Handler = Callable[[Call], Awaitable[ApiResponse]]

APP = "/v1/apps/{app}"
MACHINE = APP + "/machines/{machine}"
FAULTS = {  # the kind of fault that a handler's requests may meet
    "list_machines": "list_machines",
    "get": "get_machine",
    "update": "update",
    "wait": "wait",
    "get_lease": "lease",
    "acquire_lease": "lease",
    "release_lease": "lease",
    "create_release": "release_create",
    "patch_release": "release_patch",
    "graphql": "graphql",
}
PUBLIC = frozenset({"incidents", "graphql"})  # GraphQL refuses strangers itself, with a 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One line of the table. `action` is what the Machines API limits the rate of; "" has no limit."""

    pattern: re.Pattern[str]
    handler: Handler
    fault: str
    action: str
    public: bool


def routes(
    machines: MachinesApi, resources: ResourcesApi, releases: ReleasesApi, watching: WatchingApi, graphql: Handler
) -> dict[str, Sequence[Route]]:
    """The routes by method, in the order in which they are tried."""

    table: tuple[tuple[str, str, str, Handler], ...] = (
        ("GET", "/v1/apps", "list_apps", machines.list_apps),
        ("GET", APP, "get_app", machines.get_app),
        ("GET", APP + "/machines", "list_machines", machines.list_machines),
        ("POST", APP + "/machines", "create", machines.create),
        ("GET", MACHINE, "get", machines.get),
        ("POST", MACHINE, "update", machines.update),
        ("DELETE", MACHINE, "destroy", machines.destroy),
        ("GET", MACHINE + "/wait", "wait", machines.wait),
        ("GET", MACHINE + "/versions", "versions", machines.versions),
        ("GET", MACHINE + "/events", "events", machines.events),
        ("GET", MACHINE + "/ps", "ps", machines.ps),
        ("GET", MACHINE + "/lease", "get_lease", machines.get_lease),
        ("POST", MACHINE + "/lease", "acquire_lease", machines.acquire_lease),
        ("DELETE", MACHINE + "/lease", "release_lease", machines.release_lease),
        ("GET", MACHINE + "/metadata", "get_metadata", machines.get_metadata),
        ("PUT", MACHINE + "/metadata", "patch_metadata", machines.patch_metadata),
        ("PATCH", MACHINE + "/metadata", "patch_metadata", machines.patch_metadata),
        ("POST", MACHINE + "/metadata/{key}", "set_metadata_key", machines.set_metadata_key),
        ("DELETE", MACHINE + "/metadata/{key}", "delete_metadata_key", machines.delete_metadata_key),
        ("POST", MACHINE + "/start", "start", machines.start),
        ("POST", MACHINE + "/stop", "stop", machines.stop),
        ("POST", MACHINE + "/suspend", "suspend", machines.suspend),
        ("POST", MACHINE + "/restart", "restart", machines.restart),
        ("POST", MACHINE + "/cordon", "cordon", machines.cordon),
        ("POST", MACHINE + "/uncordon", "uncordon", machines.uncordon),
        ("POST", MACHINE + "/signal", "signal", machines.signal),
        ("GET", APP + "/volumes", "list_volumes", resources.list_volumes),
        ("POST", APP + "/volumes", "create_volume", resources.create_volume),
        ("GET", APP + "/volumes/{volume}", "get_volume", resources.get_volume),
        ("GET", APP + "/ip_assignments", "list_addresses", resources.list_addresses),
        ("GET", APP + "/secrets", "list_secrets", resources.list_secrets),
        ("POST", APP + "/secrets", "change_secrets", resources.change_secrets),
        ("GET", "/v1/platform/regions", "regions", resources.regions),
        ("POST", MACHINE + "/exec", "run_command", resources.run_command),
        ("GET", "/api/v1/apps/{app}/releases", "list_releases", releases.list_releases),
        ("GET", "/api/v1/apps/{app}/releases/current", "current_release", releases.current),
        ("GET", "/api/v1/releases/all_current", "all_current", releases.all_current),
        ("POST", "/api/v1/releases", "create_release", releases.create),
        ("PATCH", "/api/v1/releases/{release}", "patch_release", releases.patch),
        ("GET", "/api/v1/organizations/{org}", "organization", releases.organization),
        ("POST", "/api/v1/builds", "build", releases.build),
        ("POST", "/api/v1/builds/finish", "build", releases.build),
        ("GET", "/api/v1/apps/{app}/logs", "logs", watching.logs),
        ("GET", "/v1/incidents", "incidents", watching.incidents),
        ("POST", "/graphql", "graphql", graphql),
    )
    found: dict[str, list[Route]] = {}
    for method, template, name, handler in table:
        route = Route(
            pattern=re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)),
            handler=handler,
            fault=FAULTS.get(name, ""),
            action=name if template.startswith(APP) else "",
            public=name in PUBLIC,
        )
        found.setdefault(method, []).append(route)
    return dict(found)
