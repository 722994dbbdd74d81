"""What an app on Fly.io is now: machines, releases, images and leases. Writes nothing.

What is told with the same bytes as the time before is not read again: neither the releases nor any single machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rollguard.adapters.fly import opaque, wire
from rollguard.adapters.fly.client import Answer, FlyClient, segment
from rollguard.adapters.fly.listing import Listing
from rollguard.adapters.fly.translate import lease_of, machine_of, release_of
from rollguard.core.model import Lease, Machine, Release
from rollguard.errors import BadAnswer, Refused, Unavailable

RELEASES_READ = 25
RELEASES_QUERY = """query($appName: String!, $limit: Int!) { app(name: $appName) {
  releases: releasesUnprocessed(first: $limit) { nodes {
    id version description reason status imageRef stable user { id email name } createdAt } } } }"""
DEFINITION_QUERY = """query FlyctlConfigCurrentRelease($appName: String!) { app(name: $appName) {
  currentReleaseUnprocessed { configDefinition } } }"""
IMAGE_QUERY = """query($appName: String!, $imageRef: String!) { app(name: $appName) {
  id image(ref: $imageRef) { id digest ref } } }"""


class FlyReader:
    """One app, read through ``client``. Every answer outside the known shapes is ``BadAnswer``."""

    def __init__(self, app: str, client: FlyClient) -> None:
        self._app = app
        self._client = client
        self.path = f"/v1/apps/{segment(app)}"
        self._listing = Listing(_machine_of)
        self._releases_told: tuple[bytes, tuple[Release, ...]] | None = None

    async def whoami(self) -> str:
        """Prove that the token opens this app: ``shop of personal``.

        Raises ``Refused`` with a sentence for people, or ``Unavailable`` when the interface cannot be reached.
        """
        try:
            answer = await self._client.machines("GET", self.path, welcome=(401, 403, 404))
        except Unavailable as error:
            raise Unavailable(
                f"the Machines API at {self._client.machines_url} cannot be used now: {error}",
                retry_after_s=error.retry_after_s,
            ) from None
        if answer.status == 401:
            raise Refused(f"Fly does not accept this token for {self._app}: it is wrong, revoked or expired")
        if answer.status in {403, 404}:
            raise Refused(f"no app {self._app} for this token: unknown app, or a token of another organization")
        app = wire.read(wire.APP, answer.body, answer.request)
        if app.name != self._app:
            raise BadAnswer(f"name: {app.name} was not asked for: {answer.request}")
        return f"{app.name} of {app.organization.slug if app.organization else 'an unknown organization'}"

    async def machines(self) -> tuple[Machine, ...]:
        """All machines, by ID; never none."""
        answer = await self._client.machines("GET", f"{self.path}/machines")
        found = sorted(self._listing.read(answer.body, answer.request), key=lambda machine: machine.id)
        if not found:
            raise BadAnswer(f"no machine at all, which is not believed: {answer.request}")
        for one, next_ in itertools.pairwise(found):
            if one.id == next_.id:
                raise BadAnswer(f"id: {one.id} is told twice: {answer.request}")
        return tuple(found)

    async def releases(self) -> tuple[Release, ...]:
        """The newest rows, newest first."""
        answer = await self._client.graphql(RELEASES_QUERY, {"appName": self._app, "limit": RELEASES_READ})
        if self._releases_told is None or self._releases_told[0] != answer.body:
            self._releases_told = answer.body, _releases_of(answer)
        return self._releases_told[1]

    async def machine(self, machine: str) -> Machine:
        """One machine, read afresh."""
        answer = await self._client.machines("GET", self.of(machine))
        return machine_of(its_own(wire.read(wire.MACHINE, answer.body, answer.request), machine, answer.request))

    async def whole(self, machine: str) -> tuple[dict[str, Any], wire.MachineWire]:
        """One machine as it was told, numbers as text, and what we read of it.

        ``Refused`` where its host does not tell its config.
        """
        answer = await self._client.machines("GET", self.of(machine))
        document = opaque.load(answer.body, answer.request)
        read = its_own(wire.read(wire.MACHINE, document, answer.request), machine, answer.request)
        if not read.config_known:
            raise Refused(f"the host of machine {machine} is {read.host_status}: its config is not known")
        return document, read

    async def lease(self, machine: str) -> Lease | None:
        """Who holds the machine, if anybody does."""
        answer = await self._client.machines("GET", self.of(machine, "/lease"), welcome=(404,))
        return None if answer.status == 404 else lease_of(wire.read(wire.LEASE, answer.body, answer.request))

    async def resolve(self, image_ref: str) -> str | None:
        """The digest Fly's registry has for the reference today; None when it is gone."""
        answer = await self._client.graphql(IMAGE_QUERY, {"appName": self._app, "imageRef": image_ref})
        image = wire.read(wire.IMAGE, answer.body, answer.request).data.app.image
        return (image.digest or None) if image else None

    async def definition(self) -> Mapping[str, Any]:
        """The newest row's definition, numbers as text; just the app's name where there is none."""
        answer = await self._client.graphql(DEFINITION_QUERY, {"appName": self._app})
        document: Any = opaque.load(answer.body, answer.request)
        for name in ("data", "app"):
            document = document.get(name) if isinstance(document, dict) else None
            if not isinstance(document, dict):
                raise BadAnswer(f"{name}: not an object: {answer.request}")
        current = document.get("currentReleaseUnprocessed")
        definition = current.get("configDefinition") if isinstance(current, dict) else None
        return definition if isinstance(definition, dict) and definition else {"app": self._app}

    def of(self, machine: str, what: str = "") -> str:
        """The path of one machine."""
        return f"{self.path}/machines/{segment(machine)}{what}"


def _machine_of(document: Any, place: int, request: str) -> Machine:
    return machine_of(wire.read(wire.MACHINE, document, request, f"{place}."))


def its_own(machine: wire.MachineWire, asked: str, request: str) -> wire.MachineWire:
    """The machine, if it is the one that was asked for."""
    if machine.id != asked:
        raise BadAnswer(f"id: {machine.id} was not asked for: {request}")
    return machine


def _releases_of(answer: Answer) -> tuple[Release, ...]:
    rows = wire.read(wire.RELEASES, answer.body, answer.request).data.app.releases.nodes
    _no_two_alike("id", [row.id for row in rows], answer.request)
    _no_two_alike("version", [row.version for row in rows], answer.request)
    return tuple(sorted(map(release_of, rows), key=lambda release: release.version, reverse=True))


def _no_two_alike(field: str, values: Sequence[object], request: str) -> None:
    if len(set(values)) != len(values):
        raise BadAnswer(f"data.app.releases.nodes.{field}: the same one twice: {request}")
