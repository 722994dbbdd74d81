"""An app: its machines, its releases, and how one is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rollguard.localfly.ledger import Ledger
from rollguard.localfly.logs import LogBook
from rollguard.localfly.machines import Machine
from rollguard.localfly.refusal import not_found
from rollguard.localfly.releases import Release
from rollguard.localfly.vault import Vault
from rollguard.localfly.volumes import Volume

INTERNAL_PORT = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """What to set up: an app whose machines all run `image` as release v1."""

    name: str
    image: str
    org: str = "personal"
    tokens: Mapping[str, str] = field(default_factory=dict)  # token: owner
    checks: tuple[Mapping[str, Any], ...] = ()  # service checks in Fly's words
    floor: float = 0.75  # share of healthy machines nobody should go below
    machines: int = 4
    region: str = "ord"
    group: str = "app"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The spec a dict describes. TypeError on unknown or missing names."""
        return cls(**{**data, "checks": tuple(data.get("checks") or ())})

    def machine_config(self, release_id: str) -> dict[str, Any]:
        """The config its first machines get, as `fly deploy` would write it."""
        return {
            "image": self.image,
            "env": {"PRIMARY_REGION": self.region, "FLY_PROCESS_GROUP": self.group},
            "init": {},
            "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 512},
            "metadata": {
                "fly_platform_version": "v2",
                "fly_process_group": self.group,
                "fly_release_id": release_id,
                "fly_release_version": "1",
                "fly_flyctl_version": "0.4.87",
            },
            "services": [
                {
                    "protocol": "tcp",
                    "internal_port": INTERNAL_PORT,
                    "autostop": False,
                    "autostart": True,
                    "min_machines_running": 2,
                    "ports": [
                        {"port": 80, "handlers": ["http"], "force_https": True},
                        {"port": 443, "handlers": ["http", "tls"]},
                    ],
                    "checks": [dict(check) for check in self.checks],
                }
            ],
            "restart": {"policy": "on-failure", "max_retries": 10},
        }

    def definition(self) -> dict[str, Any]:
        """Its fly.toml as JSON: what flyctl makes `machine_config` of, so that a deploy changes nothing else."""
        return {
            "app": self.name,
            "primary_region": self.region,
            "deploy": {"strategy": "rolling"},
            "http_service": {
                "internal_port": INTERNAL_PORT,
                "force_https": True,
                "auto_stop_machines": False,
                "auto_start_machines": True,
                "min_machines_running": 2,
                "checks": [{key: value for key, value in check.items() if key != "type"} for check in self.checks],
            },
            "restart": [{"policy": "on-failure", "retries": 10}],
        }


@dataclass(slots=True, kw_only=True)
class App:
    """One app. `version` grows with every change of a machine, for those who wait for one."""

    name: str
    org: str
    number: int
    floor: float
    ledger: Ledger
    machines: dict[str, Machine] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)  # oldest first
    volumes: dict[str, Volume] = field(default_factory=dict)
    vault: Vault = field(default_factory=Vault)
    logs: LogBook = field(default_factory=LogBook)
    mood: Mapping[str, Any] = field(default_factory=dict)  # how all of its code behaves, whatever the image
    version: int = 1

    def machine(self, machine_id: str) -> Machine:
        """The machine of that ID; 404 when there never was one."""
        try:
            return self.machines[machine_id]
        except KeyError:
            raise not_found("machine") from None

    def present(self) -> list[Machine]:
        """Every machine that is not destroyed."""
        return [machine for machine in self.machines.values() if machine.state != "destroyed"]
