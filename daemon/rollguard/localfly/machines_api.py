"""The Machines API: what `https://api.machines.dev` answers, over the world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollguard.localfly import leases
from rollguard.localfly.access import Access
from rollguard.localfly.apps import App
from rollguard.localfly.faults import Faults
from rollguard.localfly.machines import EVENTS_MAX, SETTLED, Machine
from rollguard.localfly.messages import ApiRequest, ApiResponse, as_json, no_content, raw_json
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.registry import Caller
from rollguard.localfly.transitions import state_of
from rollguard.localfly.world import World

WAIT_S = (1, 60)
EVENTS_DEFAULT = 20
OK = {"ok": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One admitted request: who asks, for what, and when."""

    request: ApiRequest
    path: Mapping[str, str]  # the variable parts: app, machine, …
    access: Access
    now: float
    fault: str = ""  # what goes wrong with it, where the handler must see to that itself

    @property
    def owner(self) -> str:
        return self.access.owner

    @property
    def apps(self) -> frozenset[str]:
        """Those the caller may see."""
        return self.access.apps

    @property
    def caller(self) -> Caller:
        return Caller(self.owner, self.request.headers.get("fly-machine-lease-nonce", ""))

    @property
    def target(self) -> tuple[str, str]:
        """App and machine of the path."""
        return self.path["app"], self.path["machine"]


class MachinesApi:
    """Handlers by route; each takes a Call, and raises `Refused` for what is not to be."""

    def __init__(self, world: World, pulse: Pulse, faults: Faults) -> None:
        self._world = world
        self._pulse = pulse
        self._faults = faults

    async def get_app(self, call: Call) -> ApiResponse:
        return as_json(_app(self._world.app(call.path["app"])))

    async def list_apps(self, call: Call) -> ApiResponse:
        apps = [_app(self._world.app(name)) for name in sorted(call.apps)]
        return as_json({"total_apps": len(apps), "apps": apps})

    async def list_machines(self, call: Call) -> ApiResponse:
        """Every machine that is not destroyed, filtered; destroyed ones with `include_deleted`."""
        app, asked = self._world.app(call.path["app"]), call.request
        machines = list(app.machines.values()) if _yes(asked, "include_deleted") else app.present()
        for name, values in asked.query.items():
            if name.startswith("metadata."):
                machines = [m for m in machines if m.metadata.get(name[9:]) in values]
        if region := asked.first("region"):
            machines = [m for m in machines if m.region == region]
        if states := _commas(asked, "state"):
            machines = [m for m in machines if m.state in states]
        show = _with_lease if _yes(asked, "include_leases") else _plain
        shown = [show(machine, call.now) for machine in machines]
        found = {"empty": [], "one missing": shown[1:]}.get(call.fault, shown)
        return raw_json(b"[" + b",".join(found) + b"]")

    async def create(self, call: Call) -> ApiResponse:
        machine = self._world.create_machine(call.path["app"], call.request.json(), call.caller, call.now)
        lease = leases.held(machine, call.now)
        return raw_json(_extended(machine, {"nonce": lease.nonce}) if lease else machine.wire())

    async def get(self, call: Call) -> ApiResponse:
        machine = self._machine(call)
        if call.fault == "old" and machine.wire_before:
            return raw_json(machine.wire_before)
        show = _with_lease if _yes(call.request, "include_leases") else _plain
        return raw_json(show(machine, call.now))

    async def update(self, call: Call) -> ApiResponse:
        stuck = self._faults.lifts if call.fault == "stuck" else None
        machine = self._world.update(*call.target, call.request.json(), call.caller, call.now, stuck=stuck)
        return raw_json(machine.wire())

    async def destroy(self, call: Call) -> ApiResponse:
        stop = {"signal": "SIGKILL"} if _yes(call.request, "force") or _yes(call.request, "kill") else {}
        self._world.take_down(*call.target, "destroy", call.caller, call.now, **stop)
        return as_json(OK)

    async def start(self, call: Call) -> ApiResponse:
        before = self._world.start(*call.target, call.caller, call.now)
        return as_json({"previous_state": before, "migrated": False, "new_host": ""})

    async def stop(self, call: Call) -> ApiResponse:
        body = call.request.json()
        stop = {key: body[key] for key in ("signal", "timeout") if isinstance(body.get(key), str)}
        self._world.take_down(*call.target, "stop", call.caller, call.now, **stop)
        return as_json(OK)

    async def suspend(self, call: Call) -> ApiResponse:
        self._world.take_down(*call.target, "suspend", call.caller, call.now)
        return as_json(OK)

    async def restart(self, call: Call) -> ApiResponse:
        asked = call.request
        stop = {key: asked.first(key) for key in ("signal", "timeout") if asked.first(key)}
        if _yes(asked, "force_stop"):
            stop["signal"] = "SIGKILL"
        self._world.take_down(*call.target, "restart", call.caller, call.now, **stop)
        return as_json(OK)

    async def cordon(self, call: Call) -> ApiResponse:
        self._world.cordon(*call.target, True, call.caller, call.now)
        return as_json(OK)

    async def uncordon(self, call: Call) -> ApiResponse:
        self._world.cordon(*call.target, False, call.caller, call.now)
        return as_json(OK)

    async def signal(self, call: Call) -> ApiResponse:
        signal = call.request.json().get("signal")
        if not isinstance(signal, str):
            raise Refused(400, "invalid_argument: signal is required")
        self._world.signal(*call.target, signal, call.caller, call.now)
        return as_json(OK)

    async def wait(self, call: Call) -> ApiResponse:
        """Block until the machine, or that version of it, is in one of the states; 408 when it takes too long.

        With `from_event_id`, not before something has happened to the machine since that event.
        """
        timeout_s = call.request.number("timeout", WAIT_S[1])
        if not WAIT_S[0] <= timeout_s <= WAIT_S[1]:
            raise Refused(
                400,
                "invalid_argument: invalid WaitMachineRequest.Timeout: value must be inside range [1s, 1m0s]",
            )
        states = _commas(call.request, "state") or {"started"}
        wanted = states | SETTLED if "settled" in states else states
        version = call.request.first("version") or call.request.first("instance_id")
        after = call.request.first("from_event_id")
        machine = self._machine(call)

        def reached() -> bool:
            news = not after or (machine.events and machine.events[0]["id"] != after)
            return bool(news and machine.host_status == "ok" and state_of(machine, version) in wanted)

        if not await self._pulse.until(call.path["app"], reached, timeout_s):
            raise Refused(
                408,
                "deadline_exceeded: machine failed to reach desired state, "
                f"{', '.join(sorted(states))}, currently {state_of(machine, version)}",
            )
        event_id = machine.events[0]["id"] if machine.events else ""
        return as_json({"ok": True, "event_id": event_id, "state": machine.state, "version": machine.instance_id})

    async def versions(self, call: Call) -> ApiResponse:
        history = self._machine(call).versions
        return as_json([{"version": v.instance_id, "user_config": v.config} for v in history])

    async def events(self, call: Call) -> ApiResponse:
        limit = int(call.request.number("limit", EVENTS_DEFAULT))
        if not 1 <= limit <= EVENTS_MAX:
            raise Refused(400, f"invalid_argument: limit must be between 1 and {EVENTS_MAX}")
        return as_json(list(self._machine(call).events)[:limit])

    async def ps(self, call: Call) -> ApiResponse:
        machine = self._machine(call)
        machine.refuse_without_host()
        if machine.state != "started":
            raise Refused(412, f"failed_precondition: machine is {machine.state}")
        services = machine.config.get("services") or []
        sockets = [{"proto": "tcp", "address": f"0.0.0.0:{s.get('internal_port')}"} for s in services]
        process = {"pid": 1, "stime": 1, "rtime": 1, "command": "/app/server", "directory": "/app"}
        return as_json([{**process, "cpu": 0, "rss": 64_000_000, "listen_sockets": sockets}])

    async def get_lease(self, call: Call) -> ApiResponse:
        machine = self._machine(call)
        lease = leases.somebodys(call.now) if call.fault == "409" else leases.held(machine, call.now)
        if lease is None:
            raise not_found("lease")
        return as_json({"status": "success", "data": leases.wire(machine, lease)})

    async def acquire_lease(self, call: Call) -> ApiResponse:
        self._pretend_held(call)
        body = call.request.json()
        wanted = body.get("ttl")
        ttl_s = call.request.number("ttl", wanted if isinstance(wanted, int) else leases.TTL_S_DEFAULT)
        description = str(body.get("description") or "")
        lease = self._world.acquire_lease(*call.target, ttl_s, description, call.caller, call.now)
        return as_json({"status": "success", "data": leases.wire(self._machine(call), lease)}, 201)

    async def release_lease(self, call: Call) -> ApiResponse:
        self._pretend_held(call)
        self._world.release_lease(*call.target, call.caller, call.now)
        return as_json({"status": "success", "data": OK})

    async def get_metadata(self, call: Call) -> ApiResponse:
        return as_json(self._machine(call).metadata)

    async def set_metadata_key(self, call: Call) -> ApiResponse:
        value = call.request.json().get("value")
        return self._set_metadata(call, {call.path["key"]: value})

    async def delete_metadata_key(self, call: Call) -> ApiResponse:
        return self._set_metadata(call, {call.path["key"]: None})

    async def patch_metadata(self, call: Call) -> ApiResponse:
        body = call.request.json()
        return self._set_metadata(call, body.get("metadata"), str(body.get("machine_version") or ""))

    def _set_metadata(self, call: Call, changes: Any, version: str = "") -> ApiResponse:
        if not isinstance(changes, dict) or not all(isinstance(v, str | None) for v in changes.values()):
            raise Refused(400, "invalid_argument: metadata must be strings")
        self._world.set_metadata(*call.target, changes, call.caller, call.now, version)
        return no_content()

    def _pretend_held(self, call: Call) -> None:
        if call.fault == "409":
            leases.refuse(self._machine(call), leases.somebodys(call.now))

    def _machine(self, call: Call) -> Machine:
        return self._world.app(call.path["app"]).machine(call.path["machine"])


def _app(app: App) -> dict[str, Any]:
    return {
        "id": app.name,
        "name": app.name,
        "internal_numeric_id": app.number,
        "network": "default",
        "status": "deployed",
        "machine_count": len(app.present()),
        "volume_count": len(app.volumes),
        "organization": {"name": app.org, "slug": app.org, "internal_numeric_id": 7},
        "cname_target": "",
        "app_role": "",
    }


def _plain(machine: Machine, now: float) -> bytes:
    return machine.wire()


def _with_lease(machine: Machine, now: float) -> bytes:
    """With the lease in force under "lease": Fly documents the parameter, but not where it puts the answer."""
    lease = leases.held(machine, now)
    return _extended(machine, {"lease": leases.wire(machine, lease)}) if lease else machine.wire()


def _extended(machine: Machine, more: Mapping[str, Any]) -> bytes:
    return machine.wire()[:-1] + b"," + json.dumps(more).encode()[1:]


def _yes(request: ApiRequest, name: str) -> bool:
    return request.first(name).lower() in {"1", "true"}


def _commas(request: ApiRequest, name: str) -> set[str]:
    return {part for value in request.query.get(name, ()) for part in value.split(",") if part}
