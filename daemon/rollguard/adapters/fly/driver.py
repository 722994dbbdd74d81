"""Fly.io as ``ports.Platform``."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rollguard import __version__
from rollguard.adapters.fly import rights as right
from rollguard.adapters.fly import wire
from rollguard.adapters.fly.capsule import capsule_of
from rollguard.adapters.fly.client import Answer, FlyClient, segment
from rollguard.adapters.fly.reading import FlyReader, its_own
from rollguard.adapters.fly.translate import release_of
from rollguard.core.model import Lease, Machine, Release, Snapshot
from rollguard.errors import BadAnswer, Conflict, Refused
from rollguard.ports import Clock, Held

SALT = secrets.token_bytes(32)
"""Where nobody keeps one: no two processes have the same."""
WAIT_S = (1, 60)
WAIT_GRACE_S = 10.0
"""How much longer than the server we wait for the end of its own waiting."""


class FlyPlatform:
    """One app on Fly.io. Writes are sent once; after ``Unavailable`` only a fresh look tells what became of one."""

    def __init__(self, app: str, client: FlyClient, clock: Clock, salt: bytes = SALT) -> None:
        """``salt`` is that of the hashes in ``capsule``; without one they compare within this process only."""
        self._app = app
        self._client = client
        self._clock = clock
        self._salt = salt
        self._reader = FlyReader(app, client)

    async def whoami(self) -> str:
        """Prove that the token opens this app: ``shop of personal``. As ``FlyReader`` says."""
        return await self._reader.whoami()

    async def snapshot(self) -> Snapshot:
        """Machines and releases, asked at the same time; nobody looks at leases."""
        at = self._clock.now()
        machines, releases = await _each([self._reader.machines(), self._reader.releases()])
        return Snapshot(at=at, machines=machines, releases=releases)

    async def machine(self, machine: str) -> Machine:
        """One machine, read afresh."""
        return await self._reader.machine(machine)

    async def leases(self, machines: Sequence[str]) -> Mapping[str, Lease]:
        """Who holds which machine; one request a machine, all at once."""
        found = await _each([self._reader.lease(machine) for machine in machines])
        return {machine: lease for machine, lease in zip(machines, found, strict=True) if lease is not None}

    async def resolve(self, image_ref: str) -> str | None:
        """The digest Fly's registry has for the reference today; None when it is gone."""
        return await self._reader.resolve(image_ref)

    async def create_release(self, image_ref: str) -> Release:
        """A pending row with the newest row's definition, or just the app's name where there is none."""
        body = {
            "app_name": self._app,
            "build_id": 0,
            "definition": await self._reader.definition(),
            "image": image_ref,
            "strategy": "ROLLING",
        }
        answer = await self._client.rest("POST", "/api/v1/releases", body)
        return release_of(wire.read(wire.MADE_RELEASE, answer.body, answer.request).release)

    async def mark_release(self, release_id: str, status: str, note: Mapping[str, str]) -> None:
        """Set the row's status. ``note`` goes into its metadata when the row comes to an end."""
        metadata: dict[str, Any] | None = None
        if status != "running":
            post_deployment = {"flyctl_version": f"rollguard/{__version__}", "error": note.get("error", "")}
            metadata = {"rollguard": dict(note), "post_deployment_info": post_deployment}
        path = f"/api/v1/releases/{segment(release_id)}"
        answer = await self._client.rest("PATCH", path, {"status": status, "metadata": metadata})
        row = wire.read(wire.RELEASE, answer.body, answer.request)
        _must_be("id", row.id, release_id, answer)
        _must_be("status", row.status, status, answer)

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
        path = self._reader.of(held.machine, "/lease")
        await self._client.machines("DELETE", path, nonce=held.nonce, welcome=(404, 409))

    async def update(
        self, held: Held, *, instance_id: str, image: str, metadata: Mapping[str, str], skip_launch: bool
    ) -> str:
        """As ``ports.Platform`` promises. The config is read as text and sent back as text but for what changes.

        ``Refused`` for an image without a digest, and for a machine whose host does not tell its config.
        """
        if "@sha256:" not in image:
            raise Refused(f"{image} is not a digest: a tag may mean another image by now")
        document, before = await self._reader.whole(held.machine)
        if before.instance_id != instance_id:
            raise Conflict(f"machine {held.machine} is at {before.instance_id or 'no version'}, not {instance_id}")
        body = update_body(document, image, metadata, skip_launch=skip_launch)
        answer = await self._client.machines("POST", self._reader.of(held.machine), body=body, nonce=held.nonce)
        after = its_own(wire.read(wire.MACHINE, answer.body, answer.request), held.machine, answer.request)
        if after.instance_id in {"", instance_id}:
            raise BadAnswer(f"instance_id: it did not change: {answer.request}")
        return after.instance_id

    async def restart(self, held: Held) -> None:
        """As ``ports.Platform`` promises: SIGTERM, the machine's own time to end, then a fresh start."""
        answer = await self._client.machines("POST", self._reader.of(held.machine, "/restart"), nonce=held.nonce)
        _must_be_ok(wire.read(wire.WAIT, answer.body, answer.request), answer)

    async def wait_started(self, machine: str, instance_id: str, timeout_s: float) -> bool:
        """Whether that very instance is started within ``timeout_s``, in whole seconds from 1 to 60.

        One that nobody knows (yet) is not. An answer about another state or instance than asked for is ``BadAnswer``.
        """
        wait_s = min(max(int(timeout_s), WAIT_S[0]), WAIT_S[1])
        query = {"state": "started", "version": instance_id, "timeout": str(wait_s)}
        path, give_up_s = self._reader.of(machine, "/wait"), wait_s + WAIT_GRACE_S
        answer = await self._client.machines("GET", path, query=query, timeout_s=give_up_s, welcome=(404, 408))
        if answer.status in {404, 408}:
            return False
        said = wire.read(wire.WAIT, answer.body, answer.request)
        _must_be_ok(said, answer)
        _must_be("state", said.state or "started", "started", answer)
        _must_be("version", said.version or instance_id, instance_id, answer)
        return True

    async def capsule(self, machine: str) -> Mapping[str, str]:
        """As ``ports.Platform`` promises; bounded as ``capsule_of`` says."""
        document, _ = await self._reader.whole(machine)
        return capsule_of(document["config"], self._salt)

    async def rights(self, machine: str | None) -> Mapping[str, str]:
        """As ``ports.Platform`` promises. A token that cannot be read at all may do nothing."""
        seen: list[Machine] = []

        async def look() -> None:
            seen.extend(await self._reader.machines())

        async def hold() -> None:
            assert machine is not None
            right.must_be_there(machine, seen)
            held = await self.acquire_lease(machine, right.DESCRIPTION, right.LEASE_S)
            await self.release_lease(held)

        asks: dict[str, Callable[[], Awaitable[object]]] = {
            "app": self._reader.whoami,
            "machines": look,
            "releases": self._reader.releases,
            "images": lambda: self.resolve(right.some_image(self._app, seen)),
        }
        return await right.missing(asks if machine is None else asks | {"lease": hold})

    async def _take_lease(self, machine: str, ttl_s: float, *, body: Any, nonce: str | None = None) -> wire.LeaseWire:
        query = {"ttl": str(math.ceil(ttl_s))}
        answer = await self._client.machines(
            "POST", self._reader.of(machine, "/lease"), query=query, body=body, nonce=nonce
        )
        lease = wire.read(wire.LEASE, answer.body, answer.request)
        if not lease.nonce:
            raise BadAnswer(f"nonce: there is none: {answer.request}")
        return lease


def update_body(
    document: Mapping[str, Any], image: str, metadata: Mapping[str, str], *, skip_launch: bool
) -> dict[str, Any]:
    """The whole config with another image and these metadata keys; conditional on the version it was made from."""
    config = document["config"]
    changed = dict(config) | {"image": image, "metadata": (config.get("metadata") or {}) | dict(metadata)}
    body = {"config": changed, "region": document.get("region"), "current_version": document["instance_id"]}
    return body | {"skip_launch": True} if skip_launch else body


def _must_be_ok(said: wire.WaitWire, answer: Answer) -> None:
    if not said.ok:
        raise BadAnswer(f"ok: false: {answer.request}")


def _must_be(field: str, said: str, wanted: str, answer: Answer) -> None:
    if said != wanted:
        raise BadAnswer(f"{field}: {said[:80]!r} in place of {wanted!r}: {answer.request}")


async def _each(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """All results in order; the first error once all have come to their end, so that nothing runs on unseen."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return list(results)
