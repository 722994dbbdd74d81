"""A machine: what it is, what happened to it, and how it looks on the wire."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollguard.localfly.effects import Check, checks_of
from rollguard.localfly.ids import Ids
from rollguard.localfly.images import Image
from rollguard.localfly.refusal import Refused
from rollguard.localfly.store import Reference
from rollguard.localfly.times import rfc3339

EVENTS_MAX = 50
VERSIONS_MAX = 50
AT_REST = frozenset({"created", "stopped", "suspended", "destroyed"})  # nothing runs, nothing is about to
SETTLED = AT_REST | {"started", "failed"}
RESERVED_GROUPS = frozenset({"fly_app_release_command", "fly_app_test_machine_command", "fly_app_console"})


@dataclass(frozen=True, slots=True)
class Version:
    """One configuration a machine had; `instance_id` names it."""

    instance_id: str
    config: Mapping[str, Any]
    image: Image


@dataclass(slots=True)
class CheckStatus:
    """The newest result of one check; `updated_at` moves only when `status` does."""

    status: str
    output: str
    updated_at: float


@dataclass(slots=True, kw_only=True)
class Lease:
    """Who may write to a machine, until when."""

    nonce: str
    owner: str
    description: str
    expires_at: float


@dataclass(slots=True, kw_only=True)
class Machine:
    """One machine. Change it through `transitions` only; `touch` after every change."""

    app: str
    id: str
    name: str
    region: str
    created_at: float
    instance_id: str
    config: Mapping[str, Any]
    image: Image
    state: str = "created"
    cordoned: bool = False
    host_status: str = "ok"
    address: str = ""  # host:port of the virtual machine, once booted
    alive: bool = False  # a virtual machine exists, or is being started
    after_exit: str = ""  # what a requested exit is for: replace, restart, stop, suspend, destroy
    mood: Mapping[str, Any] = field(default_factory=dict)  # how the virtual machine behaves until it ends
    launches: bool = True  # whether the version being put on boots
    pulls: int = 0  # images that are being pulled for it
    restart_count: int = 0
    updates: int = 0
    updated_at: float = 0.0
    lease: Lease | None = None
    checks: dict[str, CheckStatus] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=EVENTS_MAX))
    versions: deque[Version] = field(default_factory=lambda: deque(maxlen=VERSIONS_MAX))
    wanted_checks: tuple[Check, ...] = ()
    stuck: int | None = None  # the version being put on waits for a fault to be lifted more often than this
    wire_before: bytes = b""  # as it was shown before its newest update
    _wire: bytes | None = None

    def configure(self, instance_id: str, config: Mapping[str, Any], image: Image) -> None:
        """Take a version as the current one and remember it in the history, newest first."""
        self.instance_id, self.config, self.image = instance_id, config, image
        self.wanted_checks = checks_of(config)
        self.versions.appendleft(Version(instance_id, config, image))

    def touch(self, now: float) -> None:
        """Note that something changed: the wire form is made anew when next asked for."""
        self.updated_at = now
        self._wire = None

    def record(self, ids: Ids, now: float, kind: str, status: str, source: str, **request: Any) -> None:
        """Put an event on top of the history."""
        event: dict[str, Any] = {"id": ids.ulid(now), "type": kind, "status": status, "source": source}
        event |= {"timestamp": int(now * 1000)}
        self.events.appendleft(event | ({"request": request} if request else {}))

    def revert(self) -> None:
        """Go back to the version before the current one, as if the current one had never been."""
        self.versions.popleft()
        before = self.versions[0]
        self.instance_id, self.config, self.image = before.instance_id, before.config, before.image
        self.wanted_checks = checks_of(before.config)

    def refuse_without_host(self) -> None:
        """408 while nobody can talk to the machine's host."""
        if self.host_status != "ok":
            raise Refused(408, "deadline_exceeded: timed out talking to the host")

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.config.get("metadata") or {}

    @property
    def group(self) -> str:
        """The process group; machines without one belong to "app"."""
        return self.metadata.get("fly_process_group") or self.metadata.get("process_group") or "app"

    @property
    def managed(self) -> bool:
        """Whether deploys see it."""
        return self.metadata.get("fly_platform_version") == "v2" and self.group not in RESERVED_GROUPS

    @property
    def autostart(self) -> bool:
        return any(service.get("autostart") for service in self.config.get("services") or [])

    @property
    def health(self) -> str:
        """ "passing" when every wanted check passes, "none" without checks, else "failing"; empty is failing."""
        if not self.wanted_checks:
            return "none"
        passing = sum(check.status == "passing" for check in self.checks.values())
        return "passing" if passing == len(self.wanted_checks) else "failing"

    @property
    def routable(self) -> bool:
        """Whether the proxy sends users here: healthy, started, not cordoned."""
        return self.state == "started" and not self.cordoned and self.health != "failing"

    def wire(self) -> bytes:
        """The machine as the Machines API shows it; serialised once per change."""
        if self._wire is None:
            self._wire = json.dumps(self._document(), separators=(",", ":")).encode()
        return self._wire

    def _document(self) -> dict[str, Any]:
        ref = Reference.parse(self.config["image"])
        reachable = self.host_status == "ok"
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "region": self.region,
            "instance_id": self.instance_id,
            "private_ip": f"fdaa:0:1:a7b::{self.id[:4]}",
            "host_status": self.host_status,
            "cordoned": self.cordoned,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
            "image_ref": {
                "registry": ref.registry,
                "repository": ref.repository,
                "tag": ref.tag,
                "digest": self.image.digest,
                "labels": dict(self.image.labels),
            },
            "config" if reachable else "incomplete_config": self.config,
            "checks": [
                {
                    "name": name,
                    "status": check.status,
                    "output": check.output,
                    "updated_at": rfc3339(check.updated_at),
                }
                for name, check in self.checks.items()
            ],
            "events": list(self.events),
        }
