"""The platform's own interface, `/local/v1`: for the edge, the demo and tests. No token guards it: loopback only."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from rollguard.localfly.apps import App, AppSpec
from rollguard.localfly.faults import Faults
from rollguard.localfly.images import Image
from rollguard.localfly.incidents import INCIDENTS_MAX, Incident
from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import ApiRequest, ApiResponse, as_json, page_not_found, refusal
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.refusal import Refused
from rollguard.localfly.world import World

PREFIX = "/local/v1"
POLL_S_MAX = 30.0
SETUP_S_MAX = 60.0

Handler = Callable[..., Awaitable[ApiResponse]]


class LocalApi:
    """Answers requests below `/local/v1`."""

    def __init__(self, world: World, clock: Callable[[], float], *, pulse: Pulse, faults: Faults) -> None:
        self._world = world
        self._clock = clock
        self._pulse = pulse
        self._faults = faults
        self._routes: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
            ("GET", re.compile(r"/apps/([^/]+)/routes"), self._routes_of),
            ("GET", re.compile(r"/apps/([^/]+)/watch"), self._watch),
            ("POST", re.compile(r"/apps/([^/]+)/machines/([^/]+)/wake"), self._wake),
            ("POST", re.compile(r"/apps/([^/]+)/machines/([^/]+)/mood"), self._mood_of_machine),
            ("POST", re.compile(r"/apps/([^/]+)/mood"), self._mood_of_app),
            ("POST", re.compile(r"/apps/([^/]+)/machines/([^/]+)/idle"), self._idle),
            ("POST", re.compile(r"/apps/([^/]+)/machines/([^/]+)/host"), self._host),
            ("POST", re.compile(r"/apps/([^/]+)/volumes"), self._create_volume),
            ("POST", re.compile(r"/apps"), self._create_app),
            ("GET", re.compile(r"/images"), self._images),
            ("POST", re.compile(r"/images"), self._push),
            ("POST", re.compile(r"/images/prune"), self._prune),
            ("POST", re.compile(r"/images/tag"), self._tag),
            ("POST", re.compile(r"/tokens"), self._tokens),
            ("GET", re.compile(r"/faults"), self._show_faults),
            ("POST", re.compile(r"/faults"), self._change_faults),
            ("POST", re.compile(r"/incidents"), self._change_incidents),
        )

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """The answer to any request; never raises for what a client sent."""
        path = request.path.removeprefix(PREFIX)
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                try:
                    return await handler(request, *match.groups())
                except Refused as refused:
                    return refusal(refused)
                except (KeyError, TypeError, ValueError) as error:
                    return refusal(Refused(422, f"{type(error).__name__}: {error}"))
        return page_not_found()

    async def _routes_of(self, request: ApiRequest, name: str) -> ApiResponse:
        """The route table, once it is newer than `after` or the poll's time is over."""
        app = self._world.app(name)
        after = request.number("after", 0)
        timeout_s = min(max(request.number("timeout", 0), 0.0), POLL_S_MAX)
        await self._pulse.until(name, lambda: app.version > after, timeout_s)
        return as_json({"version": app.version, "machines": [_route(machine) for machine in app.present()]})

    async def _wake(self, request: ApiRequest, name: str, machine_id: str) -> ApiResponse:
        return as_json({"state": self._world.wake(name, machine_id, self._clock()).state})

    async def _idle(self, request: ApiRequest, name: str, machine_id: str) -> ApiResponse:
        """The proxy finds that nobody uses the machine: with autostop it goes to sleep."""
        return as_json({"state": self._world.idle(name, machine_id, self._clock()).state})

    async def _host(self, request: ApiRequest, name: str, machine_id: str) -> ApiResponse:
        """`status`: "ok", "unknown" or "unreachable"."""
        status = str(request.json()["status"])
        return as_json(
            {"host_status": self._world.set_host_status(name, machine_id, status, self._clock()).host_status}
        )

    async def _create_volume(self, request: ApiRequest, name: str) -> ApiResponse:
        """`name`, and perhaps `region` and `size_gb`."""
        return as_json({"id": self._world.create_volume(name, request.json(), self._clock()).id}, 201)

    async def _mood_of_machine(self, request: ApiRequest, name: str, machine_id: str) -> ApiResponse:
        """The body names fields of the behaviour; it holds until the virtual machine ends, or {} lifts it."""
        self._world.set_mood(name, request.json(), self._clock(), machine_id)
        return as_json({"mood": self._world.mood(name, machine_id)})

    async def _mood_of_app(self, request: ApiRequest, name: str) -> ApiResponse:
        """`behaviour` names fields; it holds for all that runs or boots, until {} lifts it."""
        mood = request.json()["behaviour"]
        self._world.set_mood(name, mood, self._clock())
        return as_json({"mood": mood})

    async def _create_app(self, request: ApiRequest) -> ApiResponse:
        """Answers once every machine of the new app serves; 504 when that takes longer than a minute."""
        spec = AppSpec.from_json(request.json())
        app = self._world.create_app(spec, self._clock())
        if not await self._pulse.until(spec.name, lambda: _all_serve(app), SETUP_S_MAX):
            raise Refused(504, f"the machines of {spec.name} do not become healthy")
        return as_json({"name": app.name, "machines": sorted(app.machines)}, 201)

    async def _watch(self, request: ApiRequest, name: str) -> ApiResponse:
        return as_json({"now": self._clock(), **view(self._world.app(name))})

    async def _images(self, request: ApiRequest) -> ApiResponse:
        return as_json({"images": [image.to_json() for image in self._world.images.all()]})

    async def _push(self, request: ApiRequest) -> ApiResponse:
        image = Image.from_json(request.json())
        self._world.images.push(image)
        return as_json({"ref": image.ref, "digest": image.digest}, 201)

    async def _prune(self, request: ApiRequest) -> ApiResponse:
        """`image`, a reference or a digest: it goes as soon as no machine has it."""
        image = self._world.prune_image(str(request.json()["image"]))
        return as_json({"digest": image.digest, "gone": self._world.images.named(image.digest) is None})

    async def _tag(self, request: ApiRequest) -> ApiResponse:
        """`ref` names the image of `digest` from now on."""
        body = request.json()
        image = self._world.move_tag(str(body["ref"]), str(body["digest"]))
        return as_json({"ref": body["ref"], "digest": image.digest})

    async def _tokens(self, request: ApiRequest) -> ApiResponse:
        """`token`, and `revoked`: true, or `read_only` and `apps` where they change."""
        body = request.json()
        token, read_only, apps = str(body["token"]), body.get("read_only"), body.get("apps")
        if not isinstance(read_only, bool | None) or not isinstance(apps, list | None):
            raise Refused(422, "read_only must be true or false, apps a list")
        if body.get("revoked") is True:
            self._world.revoke_token(token)
        else:
            self._world.limit_token(token, read_only=read_only, apps=None if apps is None else map(str, apps))
        return as_json({"token": token})

    async def _show_faults(self, request: ApiRequest) -> ApiResponse:
        return as_json(self._faults.to_json())

    async def _change_faults(self, request: ApiRequest) -> ApiResponse:
        self._faults.change(request.json())
        return as_json(self._faults.to_json())

    async def _change_incidents(self, request: ApiRequest) -> ApiResponse:
        """What the status page lists from now on; [] is a day without an incident."""
        listed = request.json()["incidents"][:INCIDENTS_MAX]
        self._world.incidents = tuple(Incident.from_json(each, self._world.ids, self._clock()) for each in listed)
        return as_json({"incidents": [incident.to_json() for incident in self._world.incidents]})


def view(app: App) -> dict[str, Any]:
    """The platform's own record of an app, independent of any guard."""
    ledger = app.ledger
    return {
        "machines": [
            {
                "id": machine.id,
                "state": machine.state,
                "digest": machine.image.digest,
                "instance_id": machine.instance_id,
                "updates": machine.updates,
                "routable": machine.routable,
            }
            for machine in app.present()
        ],
        "releases": [
            {
                "version": release.version,
                "status": release.status,
                "image_ref": release.image_ref,
                "user": release.user,
                "created_at": release.created_at,
            }
            for release in reversed(app.releases)
        ],
        "writes": ledger.writes,
        "first_write_at": ledger.first_write_at,
        "floor_violations": [violation.to_json() for violation in ledger.violations],
        "events": list(ledger.events),
    }


def _route(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "instance_id": machine.instance_id,
        "address": machine.address,
        "state": machine.state,
        "cordoned": machine.cordoned,
        "checks": machine.health,
        "digest": machine.image.digest,
        "autostart": machine.autostart,
        "region": machine.region,
    }


def _all_serve(app: App) -> bool:
    return all(machine.routable for machine in app.present())
