"""A request of each kind that a fault may meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import ApiResponse
from tests.localfly.simulated import APP, NEXT, Fly, at

MACHINES = f"/v1/apps/{APP}/machines"
ROW = {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": NEXT.ref, "strategy": "ROLLING"}
RELEASES_QUERY = (
    "query($appName: String!) { app(name: $appName) { releases: releasesUnprocessed(first: 9) { nodes { id } } } }"
)

Ask = Callable[[Fly, Machine], Awaitable[ApiResponse]]
REQUESTS: dict[str, Ask] = {
    "list_machines": lambda fly, machine: fly.call("GET", MACHINES),
    "get_machine": lambda fly, machine: fly.call("GET", at(machine)),
    "update": lambda fly, machine: fly.update(machine),
    "wait": lambda fly, machine: fly.call("GET", at(machine, "/wait?timeout=1")),
    "lease": lambda fly, machine: fly.call("POST", at(machine, "/lease?ttl=13")),
    "release_create": lambda fly, machine: fly.call("POST", "/api/v1/releases", ROW),
    "release_patch": lambda fly, machine: fly.call(
        "PATCH", f"/api/v1/releases/{fly.world.apps[APP].releases[0].id}", {"status": "failed", "metadata": None}
    ),
    "graphql": lambda fly, machine: fly.call(
        "POST", "/graphql", {"query": RELEASES_QUERY, "variables": {"appName": APP}}
    ),
}
