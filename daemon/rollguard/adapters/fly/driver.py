"""Fly.io as ``ports.Platform``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from rollguard import __version__
from rollguard.adapters.fly import opaque, wire
from rollguard.adapters.fly.client import FlyClient, segment
from rollguard.adapters.fly.translate import lease_of, machine_of, release_of
from rollguard.core.model import Lease, Machine, Release, Snapshot
from rollguard.errors import BadAnswer, Conflict, Refused, Unavailable
from rollguard.ports import Clock, Held

T = TypeVar("T")

RELEASES_READ = 25
WAIT_S = (1, 60)
WAIT_GRACE_S = 10.0
"""How much longer than the server we wait for the end of its own waiting."""

RELEASES_QUERY = """query($appName: String!, $limit: Int!) { app(name: $appName) {
  releases: releasesUnprocessed(first: $limit) { nodes {
    id version description reason status imageRef stable user { id email name } createdAt } } } }"""
DEFINITION_QUERY = """query FlyctlConfigCurrentRelease($appName: String!) { app(name: $appName) {
  currentReleaseUnprocessed { configDefinition } } }"""
IMAGE_QUERY = """query($appName: String!, $imageRef: String!) { app(name: $appName) {
  id image(ref: $imageRef) { id digest ref } } }"""


class FlyPlatform:
    """One app on Fly.io. Writes are sent once; after ``Unavailable`` only a fresh look tells what became of one."""

    def __init__(self, app: str, client: FlyClient, clock: Clock) -> None:
        self._app = app
        self._client = client
        self._clock = clock
        self._path = f"/v1/apps/{segment(app)}"

    async def whoami(self) -> str:
        """Prove that the token opens this app: ``shop of personal``.

        Raises ``Refused`` with a sentence for people, or ``Unavailable`` when the interface cannot be reached.
        """
        try:
            answer = await self._client.machines("GET", self._path, welcome=(401, 403, 404))
        except Unavailable as error:
            raise Unavailable(
                f"the Machines API at {self._client.machines_url} cannot be used now: {error}",
                retry_after_s=error.retry_after_s,
            ) from None
        if answer.status == 401:
            raise Refused(f"Fly does not accept this token for {self._app}: it is wrong, revoked or expired")
        if answer.status in {403, 404}:
            raise Refused(f"no app {self._app} for this token: unknown app, or a token of another organization")
        app = wire.read(wire.APP, answer.body, f"GET {self._path}")
        return f"{app.name} of {app.organization.slug if app.organization else 'an unknown organization'}"

    async def snapshot(self) -> Snapshot:
        """Machines and releases, asked at the same time; nobody looks at leases."""
        at = self._clock.now()
        machines, releases = await _together(self._machines(), self._releases())
        return Snapshot(at=at, machines=machines, releases=releases)

    async def machine(self, machine: str) -> Machine:
        """One machine, read afresh."""
        path = self._of(machine)
        answer = await self._client.machines("GET", path)
        return machine_of(wire.read(wire.MACHINE, answer.body, f"GET {path}"))

    async def leases(self, machines: Sequence[str]) -> Mapping[str, Lease]:
        """Who holds which machine; one request a machine, all at once."""
        found = await _each([self._lease(machine) for machine in machines])
        return {machine: lease for machine, lease in zip(machines, found, strict=True) if lease is not None}

    async def resolve(self, image_ref: str) -> str | None:
        """The digest Fly's registry has for the reference today; None when it is gone."""
        data = await self._client.graphql(IMAGE_QUERY, {"appName": self._app, "imageRef": image_ref})
        image = self._app_data(data).get("image")
        if image is None:
            return None
        digest = wire.read(wire.IMAGE, image, f"the image {image_ref}").digest
        return digest or None

    async def create_release(self, image_ref: str) -> Release:
        """A pending row with the newest row's definition, or just the app's name where there is none."""
        data = await self._client.graphql(DEFINITION_QUERY, {"appName": self._app})
        current = self._app_data(data).get("currentReleaseUnprocessed")
        definition = current.get("configDefinition") if isinstance(current, dict) else None
        body = {
            "app_name": self._app,
            "build_id": 0,
            "definition": definition if isinstance(definition, dict) and definition else {"app": self._app},
            "image": image_ref,
            "strategy": "ROLLING",
        }
        request = "/api/v1/releases"
        answer = await self._client.rest("POST", request, body)
        document = opaque.load(answer.body, f"POST {request}")
        row = document.get("release") if isinstance(document, dict) else None
        return release_of(wire.read(wire.RELEASE, row, f"POST {request}"))

    async def mark_release(self, release_id: str, status: str, note: Mapping[str, str]) -> None:
        """Set the row's status. ``note`` goes into its metadata when the row comes to an end."""
        metadata: dict[str, Any] | None = None
        if status != "running":
            post_deployment = {"flyctl_version": f"rollguard/{__version__}", "error": note.get("error", "")}
            metadata = {"rollguard": dict(note), "post_deployment_info": post_deployment}
        path = f"/api/v1/releases/{segment(release_id)}"
        await self._client.rest("PATCH", path, {"status": status, "metadata": metadata})

    async def acquire_lease(self, machine: str, description: str, ttl_s: float) -> Held:
        """Hold a machine nobody else holds; ``Conflict`` names the other holder."""
        body = {"description": description, "ttl": math.ceil(ttl_s)}
        lease = await self._take_lease(machine, ttl_s, body=body)
        instance_id = lease.version or (await self.machine(machine)).instance_id
        return Held(machine, lease.nonce, lease.expires_at, instance_id)

    async def refresh_lease(self, held: Held, ttl_s: float) -> Held:
        """The same lease for longer; ``Conflict`` when it is no longer the same."""
        lease = await self._take_lease(held.machine, ttl_s, body={"ttl": math.ceil(ttl_s)}, nonce=held.nonce)
        if lease.nonce != held.nonce:
            raise Conflict(f"the lease of machine {held.machine} was lost: another one is there now")
        return Held(held.machine, lease.nonce, lease.expires_at, held.instance_id)

    async def release_lease(self, held: Held) -> None:
        """Give it back. One that is gone already, or followed by somebody else's, is given back."""
        await self._client.machines("DELETE", self._of(held.machine, "/lease"), nonce=held.nonce, welcome=(404, 409))

    async def update(
        self, held: Held, *, instance_id: str, image: str, metadata: Mapping[str, str], skip_launch: bool
    ) -> str:
        """As ``ports.Platform`` promises. The config is read as text and sent back as text but for what changes.

        ``Refused`` for an image without a digest, and for a machine whose host does not tell its config.
        """
        if "@sha256:" not in image:
            raise Refused(f"{image} is not a digest: a tag may mean another image by now")
        path = self._of(held.machine)
        answer = await self._client.machines("GET", path)
        document = opaque.load(answer.body, f"GET {path}")
        before = wire.read(wire.MACHINE, document, f"GET {path}")
        if before.host_status != "ok" or not before.config:
            raise Refused(f"the host of machine {held.machine} is {before.host_status}: its config is not known")
        if before.instance_id != instance_id:
            raise Conflict(f"machine {held.machine} is at {before.instance_id or 'no version'}, not {instance_id}")
        body = update_body(document, image, metadata, skip_launch=skip_launch)
        answer = await self._client.machines("POST", path, body=body, nonce=held.nonce)
        after = wire.read(wire.MACHINE, answer.body, f"POST {path}")
        if after.instance_id in {"", instance_id}:
            raise BadAnswer(f"instance_id did not change: POST {path}")
        return after.instance_id

    async def restart(self, held: Held) -> None:
        """As ``ports.Platform`` promises: SIGTERM, the machine's own time to end, then a fresh start."""
        await self._client.machines("POST", self._of(held.machine, "/restart"), nonce=held.nonce)

    async def wait_started(self, machine: str, instance_id: str, timeout_s: float) -> bool:
        """Whether that very instance is started within ``timeout_s``, in whole seconds from 1 to 60."""
        wait_s = min(max(int(timeout_s), WAIT_S[0]), WAIT_S[1])
        query = {"state": "started", "version": instance_id, "timeout": str(wait_s)}
        answer = await self._client.machines(
            "GET", self._of(machine, "/wait"), query=query, timeout_s=wait_s + WAIT_GRACE_S, welcome=(408,)
        )
        return answer.status != 408

    async def _machines(self) -> tuple[Machine, ...]:
        path = f"{self._path}/machines"
        answer = await self._client.machines("GET", path)
        found = wire.read(wire.MACHINES, answer.body, f"GET {path}")
        if not found:
            raise BadAnswer(f"no machine at all, which is not believed: GET {path}")
        machines = sorted(map(machine_of, found), key=lambda machine: machine.id)
        if len({machine.id for machine in machines}) != len(machines):
            raise BadAnswer(f"the same machine twice: GET {path}")
        return tuple(machines)

    async def _releases(self) -> tuple[Release, ...]:
        data = await self._client.graphql(RELEASES_QUERY, {"appName": self._app, "limit": RELEASES_READ})
        releases = self._app_data(data).get("releases")
        nodes = releases.get("nodes") if isinstance(releases, dict) else None
        rows = wire.read(wire.RELEASES, nodes, "the releases of the app")
        return tuple(sorted(map(release_of, rows), key=lambda release: release.version, reverse=True))

    async def _lease(self, machine: str) -> Lease | None:
        path = self._of(machine, "/lease")
        answer = await self._client.machines("GET", path, welcome=(404,))
        if answer.status == 404:
            return None
        return lease_of(_lease_wire(answer.body, f"GET {path}"))

    async def _take_lease(self, machine: str, ttl_s: float, *, body: Any, nonce: str | None = None) -> wire.LeaseWire:
        path = self._of(machine, "/lease")
        query = {"ttl": str(math.ceil(ttl_s))}
        answer = await self._client.machines("POST", path, query=query, body=body, nonce=nonce)
        lease = _lease_wire(answer.body, f"POST {path}")
        if not lease.nonce:
            raise BadAnswer(f"a lease without a nonce: POST {path}")
        return lease

    def _app_data(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        app = data.get("app")
        if not isinstance(app, dict):
            raise BadAnswer(f"no app {self._app} in the answer of GraphQL")
        return app

    def _of(self, machine: str, what: str = "") -> str:
        return f"{self._path}/machines/{segment(machine)}{what}"


def update_body(
    document: Mapping[str, Any], image: str, metadata: Mapping[str, str], *, skip_launch: bool
) -> dict[str, Any]:
    """The whole config with another image and these metadata keys; conditional on the version it was made from."""
    config = document["config"]
    changed = dict(config) | {"image": image, "metadata": (config.get("metadata") or {}) | dict(metadata)}
    body = {"config": changed, "region": document.get("region"), "current_version": document["instance_id"]}
    return body | {"skip_launch": True} if skip_launch else body


def _lease_wire(body: bytes, request: str) -> wire.LeaseWire:
    """The lease, with Fly's wrapper around it (as its servers send it) or without (as its specification says)."""
    document = opaque.load(body, request)
    inner = document.get("data") if isinstance(document, dict) and isinstance(document.get("data"), dict) else document
    return wire.read(wire.LEASE, inner, request)


async def _together(one: Awaitable[T], other: Awaitable[Any]) -> tuple[T, Any]:
    first, second = await _each([one, other])
    return first, second


async def _each(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """All results in order; the first error once all have come to their end, so that nothing runs on unseen."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
