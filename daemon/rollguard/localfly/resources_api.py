"""The rest of the Machines API: what an app has besides machines, and what the platform says of itself."""

from __future__ import annotations

from typing import Any

from rollguard.localfly import volumes
from rollguard.localfly.machines_api import Call
from rollguard.localfly.messages import ApiResponse, as_json
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.times import rfc3339
from rollguard.localfly.world import World

REGIONS = (
    ("ams", "Amsterdam, Netherlands", 52.37, 4.9, "europe"),
    ("fra", "Frankfurt, Germany", 50.17, 8.55, "europe"),
    ("iad", "Ashburn, Virginia (US)", 39.02, -77.54, "north_america"),
    ("ord", "Chicago, Illinois (US)", 41.89, -87.64, "north_america"),
    ("syd", "Sydney, Australia", -33.87, 151.2, "oceania"),
)
NEAREST = "ord"


class ResourcesApi:
    """Handlers by route, as in `MachinesApi`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def list_volumes(self, call: Call) -> ApiResponse:
        app = self._world.app(call.path["app"])
        return as_json([self._volume(call, volume_id) for volume_id in app.volumes])

    async def get_volume(self, call: Call) -> ApiResponse:
        return as_json(self._volume(call, call.path["volume"]))

    async def create_volume(self, call: Call) -> ApiResponse:
        volume = self._world.create_volume(call.path["app"], call.request.json(), call.now)
        return as_json(self._volume(call, volume.id))

    async def list_secrets(self, call: Call) -> ApiResponse:
        """Names and digests, never a value."""
        return as_json(self._world.app(call.path["app"]).vault.wire())

    async def change_secrets(self, call: Call) -> ApiResponse:
        """They reach a machine when it boots next; no machine is touched."""
        vault = self._world.app(call.path["app"]).vault
        vault.change(call.request.json().get("values"), call.now)
        return as_json(vault.wire())

    async def list_addresses(self, call: Call) -> ApiResponse:
        """One public address of each kind, as a deployed app has."""
        app = self._world.app(call.path["app"])
        created_at = rfc3339(app.releases[0].created_at)
        return as_json(
            {
                "ips": [
                    _address(f"2a09:8280:1::{app.number:x}:0", shared=False, created_at=created_at),
                    _address("66.241.124.1", shared=True, created_at=created_at),
                ]
            }
        )

    async def regions(self, call: Call) -> ApiResponse:
        listed = [
            {
                "code": code,
                "name": name,
                "latitude": latitude,
                "longitude": longitude,
                "gateway_available": True,
                "requires_paid_plan": False,
                "deprecated": False,
                "geo_region": geo_region,
            }
            for code, name, latitude, longitude, geo_region in REGIONS
        ]
        return as_json({"Regions": listed, "Nearest": NEAREST})

    async def run_command(self, call: Call) -> ApiResponse:
        """Nothing can be run on a machine that is none; better no answer than a made-up one."""
        self._world.app(call.path["app"]).machine(call.path["machine"]).refuse_without_host()
        raise Refused(501, "unimplemented: the local platform runs no commands")

    def _volume(self, call: Call, volume_id: str) -> dict[str, Any]:
        app = self._world.app(call.path["app"])
        volume = app.volumes.get(volume_id)
        if volume is None:
            raise not_found("volume")
        return volume.wire(volumes.holder(app.present(), volume_id))


def _address(ip: str, *, shared: bool, created_at: str) -> dict[str, Any]:
    return {"ip": ip, "region": "global", "service_name": "", "shared": shared, "created_at": created_at}
