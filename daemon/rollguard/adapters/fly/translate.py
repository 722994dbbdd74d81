"""From Fly's words to the guard's: machines, releases, leases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rollguard.adapters.fly.wire import CHECKS_MAX, EVENTS_MAX, LABELS_MAX, LeaseWire, MachineWire, ReleaseWire
from rollguard.adapters.http import excerpt
from rollguard.core.model import Check, Exit, Lease, Machine, Release

INCIDENT_KEY = "rollguard_incident"
RELEASE_KEY = "rollguard_release"
DRILL_KEY = "rollguard_drill"
GONE = frozenset({"destroyed", "destroying", "replaced", "migrated"})
HELPER_GROUPS = frozenset({"fly_app_release_command", "fly_app_test_machine_command", "fly_app_console"})
_DEPLOY_CHECKS = "bg_deployments_compat"


def machine_of(wire: MachineWire) -> Machine:
    """The guard's view. A machine on a host that cannot be asked keeps what ``incomplete_config`` tells."""
    host_ok = wire.config_known
    config = wire.config or wire.incomplete_config or {}
    metadata = _object(config.get("metadata"))
    group = str(metadata.get("fly_process_group") or metadata.get("process_group") or "app")
    unknown = not host_ok and not metadata
    ours = unknown or metadata.get("fly_platform_version") == "v2"
    image = wire.image_ref
    services = [service for service in _list(config.get("services")) if isinstance(service, dict)]
    return Machine(
        id=wire.id,
        state=wire.state,
        instance_id=wire.instance_id,
        digest=image.digest if image else "",
        image_ref=excerpt(str(config.get("image") or ""), 300),
        group=excerpt(group, 64),
        region=wire.region,
        cordoned=bool(wire.cordoned),
        host_ok=host_ok,
        managed=ours and wire.state not in GONE and group not in HELPER_GROUPS,
        standby=bool(config.get("standbys")),
        has_checks=bool(config.get("checks")) or any(service.get("checks") for service in services),
        has_services=bool(services),
        has_volume=bool(config.get("mounts")),
        checks=tuple(
            Check(check.name, check.status)
            for check in (wire.checks or [])[:CHECKS_MAX]
            if not check.name.startswith(_DEPLOY_CHECKS)
        ),
        started_at=_started_at(wire),
        exits=_exits(wire),
        release_version=_version(metadata.get("fly_release_version")),
        labels=_labels(image.labels if image else {}),
        incident=_mark(metadata),
        drill=_optional(metadata.get(DRILL_KEY)),
        config_hash=_config_hash(wire.config),
    )


def release_of(wire: ReleaseWire) -> Release:
    """``created_at`` is 0 where the answer does not say, or says the year 1, by which it means the same."""
    return Release(
        id=wire.id,
        version=wire.version,
        status=wire.status,
        image_ref=wire.image_ref,
        created_at=_epoch_s(wire.created_at),
        user=wire.author,
        description=wire.description,
    )


def _epoch_s(at: datetime | None) -> float:
    if at is None:
        return 0.0
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def lease_of(wire: LeaseWire) -> Lease:
    """Who holds a machine, without the nonce."""
    return Lease(wire.owner, wire.description, wire.expires_at)


def _started_at(wire: MachineWire) -> float | None:
    starts = [event.timestamp / 1000 for event in wire.events or [] if event.type == "start" and event.timestamp]
    return max(starts, default=None)


def _exits(wire: MachineWire) -> tuple[Exit, ...]:
    """Newest first, as Fly lists them. One whose story is not told is left out: it is no evidence."""
    return tuple(
        Exit(at=event.timestamp / 1000, code=exit_.exit_code, requested=exit_.requested_stop, oom=exit_.oom_killed)
        for event in (wire.events or [])[:EVENTS_MAX]
        if event.type == "exit" and event.timestamp and event.request and (exit_ := event.request.exit)
    )


def _mark(metadata: Mapping[str, Any]) -> str | None:
    """The guard's own mark. Later deploys carry it on, so it counts only for the release it was made with."""
    release = metadata.get("fly_release_id")
    return _optional(metadata.get(INCIDENT_KEY)) if metadata.get(RELEASE_KEY, release) == release else None


def _version(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10 else None


def _labels(labels: Mapping[str, Any]) -> Mapping[str, str]:
    return {excerpt(name, 120): excerpt(str(value), 300) for name, value in list(labels.items())[:LABELS_MAX]}


def _config_hash(config: Mapping[str, Any] | None) -> str:
    """Changes when anything but the image and the metadata does; empty without a config."""
    if config is None:
        return ""
    rest = {name: value for name, value in config.items() if name not in {"image", "metadata"}}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _optional(value: Any) -> str | None:
    return excerpt(value, 120) if isinstance(value, str) and value else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
