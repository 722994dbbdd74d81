"""Volumes: storage on one host, which pins the machine that mounts it there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.times import rfc3339

if TYPE_CHECKING:
    from rollguard.localfly.apps import App
    from rollguard.localfly.machines import Machine

NAME_CHARS_MAX = 30
SIZE_GB_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume. Which machine has it follows from the machines' configs."""

    id: str
    name: str
    region: str
    size_gb: int
    created_at: float

    def wire(self, holder: Machine | None) -> dict[str, Any]:
        """As the Machines API shows it, mounted by `holder` or by nobody."""
        return {
            "id": self.id,
            "name": self.name,
            "state": "created",
            "region": self.region,
            "size_gb": self.size_gb,
            "zone": "5e1f",
            "encrypted": True,
            "attached_machine_id": holder.id if holder else None,
            "attached_alloc_id": None,
            "host_status": holder.host_status if holder else "ok",
            "created_at": rfc3339(self.created_at),
        }


def asked(body: Mapping[str, Any], volume_id: str, now: float) -> Volume:
    """The volume that a request for a new one describes; 422 for one there cannot be."""
    name, region, size_gb = body.get("name"), body.get("region", "ord"), body.get("size_gb", 1)
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARS_MAX or not isinstance(region, str):
        raise Refused(422, "invalid_argument: a volume needs a name and a region")
    if not isinstance(size_gb, int) or isinstance(size_gb, bool) or not 1 <= size_gb <= SIZE_GB_MAX:
        raise Refused(422, f"invalid_argument: size_gb must be between 1 and {SIZE_GB_MAX}")
    return Volume(id=volume_id, name=name, region=region, size_gb=size_gb, created_at=now)


def mounted(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The IDs of the volumes that a config mounts."""
    return tuple(str(mount.get("volume")) for mount in config.get("mounts") or ())


def holder(machines: Iterable[Machine], volume_id: str) -> Machine | None:
    """The machine that mounts the volume."""
    return next((machine for machine in machines if volume_id in mounted(machine.config)), None)


def refuse_unfit(app: App, config: Mapping[str, Any], region: str) -> None:
    """What keeps a new machine of `config` from being: a volume that is not there, elsewhere, or somebody's."""
    for volume_id in mounted(config):
        volume = app.volumes.get(volume_id)
        if volume is None:
            raise not_found("volume")
        if volume.region != region:
            raise Refused(422, f"invalid_argument: volume {volume_id} is in {volume.region}")
        if found := holder(app.present(), volume_id):
            raise Refused(412, f"failed_precondition: volume {volume_id} is attached to machine {found.id}")


def refuse_changed(machine: Machine, config: Mapping[str, Any]) -> None:
    """An update leaves a machine's volumes as they are: deployers destroy and create where they differ."""
    if mounted(machine.config) != mounted(config):
        raise Refused(412, "failed_precondition: the mounts of a machine cannot be changed")
