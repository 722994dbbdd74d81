"""Releases over REST, and the few other answers of `https://api.fly.io/api/v1` that a deployer asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollguard.localfly.machines_api import Call
from rollguard.localfly.messages import ApiResponse, as_json
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.times import rfc3339
from rollguard.localfly.world import World

LIMIT_DEFAULT = 25


class ReleasesApi:
    """Handlers by route, as in `MachinesApi`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def list_releases(self, call: Call) -> ApiResponse:
        """Newest first."""
        limit = max(1, int(call.request.number("limit", LIMIT_DEFAULT)))
        newest = self._world.app(call.path["app"]).releases[: -limit - 1 : -1]
        return as_json({"releases": [release.rest() for release in newest]})

    async def current(self, call: Call) -> ApiResponse:
        """The newest row, whatever became of it."""
        releases = self._world.app(call.path["app"]).releases
        if not releases:
            raise not_found("release")
        return as_json(releases[-1].rest())

    async def all_current(self, call: Call) -> ApiResponse:
        apps = [self._world.app(name) for name in sorted(call.apps)]
        return as_json({app.name: rfc3339(app.releases[-1].created_at) for app in apps if app.releases})

    async def create(self, call: Call) -> ApiResponse:
        body = call.request.json()
        app = _field(body, "app_name", str)
        if app not in call.apps:
            raise not_found("app")
        definition = _field(body, "definition", dict)
        strategy = str(body.get("strategy") or "ROLLING")
        image = _field(body, "image", str)
        release = self._world.create_release(app, image, definition, strategy, call.owner, call.now)
        return as_json({"release": release.rest()}, 201)

    async def patch(self, call: Call) -> ApiResponse:
        release = self._world.releases.get(call.path["release"])
        if release is None or release.app not in call.apps:
            raise not_found("release")
        body = call.request.json()
        metadata = body.get("metadata")
        if not isinstance(metadata, dict | None):
            raise Refused(422, "metadata must be an object")
        status = _field(body, "status", str)
        return as_json(self._world.patch_release(release.id, status, metadata, call.owner, call.now).rest())

    async def organization(self, call: Call) -> ApiResponse:
        slug = call.path["org"]
        organization = {
            "id": f"org_{slug}",
            "internal_numeric_id": 7,
            "slug": slug,
            "raw_slug": slug,
            "name": slug,
            "paid_plan": False,
            "personal": True,
            "billing_status": "CURRENT",
            "billable": True,
            "remote_builder_image": "",
            "provisions_beta_extensions": False,
        }
        return as_json({"organization": organization})

    async def build(self, call: Call) -> ApiResponse:
        """Nothing is ever built here; a deployer only wants a number."""
        status = call.request.json().get("status") or "started"
        return as_json({"id": 1, "status": status, "wallclock_time_ms": 0})


def _field(body: dict[str, Any], name: str, kind: Callable[..., Any]) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or not value:  # type: ignore[arg-type]
        raise Refused(422, f"{name} is required")
    return value
